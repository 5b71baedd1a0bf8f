"""`vllm serve`'s command line to a Modelfile, by the engine's own flag tables.

Facts of the flags are of vLLM 0.29 to 0.33 (`vllm serve --help=all`, `engine/arg_utils.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelkit.engines.vllm import OURS
from modelkit.exchange import flags, meanings
from modelkit.exchange.draft import Draft
from modelkit.exchange.flags import Arguments, Given
from modelkit.exchange.meanings import Meaning, each, lost, parameter, serve, switch, tokens, unneeded
from modelkit.exchange.shell import Command
from modelkit.language.quantization import precision

_ITSELF = "modelkit says it itself"
_CACHES = {"auto": "auto", "float16": "f16", "bfloat16": "bf16", "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8"}
_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "seed": "seed",
             "repetition_penalty": "repeat_penalty", "presence_penalty": "presence_penalty",
             "frequency_penalty": "frequency_penalty", "max_new_tokens": "num_predict", "max_tokens": "num_predict"}


def into(draft: Draft, command: Command, folder: Path) -> None:
    """Everything that a command line says, put into a draft or into its account."""
    given = _with_config(flags.read("vllm", command.words), draft, folder)
    _model(draft, given, command, folder)
    draft.put("ENGINE", "vllm", said="vllm serve", staged=True)
    for one in sorted(given.flags, key=lambda one: one.name == "--host"):  # what it may be depends on the key
        if one.name == "--chat-template":
            _chat_template(draft, one, folder, command.mounts)
        elif one.name == "--host":
            meanings.address(draft, one, command)
        elif one.name == "--lora-modules":
            _adapters(draft, one, folder, command.mounts)
        elif one.name not in ("--model", "--revision"):
            meaning = MEANINGS.get(one.name) or (_ours if one.name in OURS else _other)
            meaning(draft, one)
    if given.last("--generation-config") is None:
        draft.account.approximated("--generation-config auto", "vLLM takes sampling defaults from the model's own "
                                   "`generation_config.json`; here they are the Modelfile's PARAMETERs")
    meanings.surroundings(draft, command)


def _with_config(given: Arguments, draft: Draft, folder: Path) -> Arguments:
    """`--config FILE` holds flags too, and the command line's own win (vLLM 0.32, `utils/argparse_utils.py`)."""
    from modelkit.exchange.documents import parse
    from modelkit.failure import Failure

    config = given.last("--config")
    if config is None:
        return given
    try:
        said = parse((folder / config.value).read_text("utf-8"), config.value).value
    except (OSError, ValueError, Failure):
        said = None
    if not isinstance(said, dict):
        draft.account.lost(config.said, "it cannot be read here")
        return given
    words: list[str] = []
    for key, value in said.items():
        if value is False or value is None:
            continue
        words.append(f"--{key}")
        if value is not True:
            words += [_word(one) for one in value] if isinstance(value, list) else [_word(value)]
    model = [f"--model={said['model']}"] if isinstance(said.get("model"), str) else []
    more = flags.read("vllm", [*model, *words])
    kept = tuple(one for one in given.flags if one is not config)
    return Arguments(given.alone, (*more.flags, *kept))


def _word(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _model(draft: Draft, given: Arguments, command: Command, folder: Path) -> None:
    said = given.last("--model")
    model = given.alone[0] if given.alone else said.value if said else ""
    for word in given.alone[1:]:
        draft.account.lost(word, "it stands alone, and vLLM takes one model")
    if not model:
        return
    reference = meanings.reference(model, folder, command.mounts)
    revision = given.last("--revision")
    if revision is not None and reference.startswith("hf.co/"):
        reference = f"{reference}@{revision.value}"
    elif revision is not None:
        draft.account.lost(revision.said, "a path has no revisions")
    draft.base(reference, said=model)


def _chat_template(draft: Draft, given: Given, folder: Path, mounts: tuple[str, ...]) -> None:
    if re.search(r"[{}\n]", given.value):  # vLLM takes such a text for the template itself
        meanings.template(draft, given, given.value)
    else:
        meanings.template_file(draft, given, folder, mounts)


def _names(draft: Draft, given: Given) -> None:
    first, *others = given.values or ("",)
    draft.name(first, said=given.said)
    for other in others:
        draft.account.lost(f"{given.word} {other}", "a model has one name here")


def _adapters(draft: Draft, given: Given, folder: Path, mounts: tuple[str, ...]) -> None:
    for module in given.values:
        name, _, path = module.partition("=")
        if module.startswith("{"):
            said = flags.as_json(Given(given.word, given.name, (module,))) or {}
            name, path = str(said.get("name", "")), str(said.get("path", ""))
        if not name or not path:
            draft.account.lost(f"{given.word} {module}", "it is not `name=path`")
            continue
        place = meanings.reference(path, folder, mounts)
        draft.put("ADAPTER", f"{place} AS {name}", said=f"{given.word} {module}", again=True)


def _generation(draft: Draft, given: Given) -> None:
    for key, value in (flags.as_json(given) or {}).items():
        said = f"{given.word} {key}={value}"
        name = _SAMPLING.get(key)
        if name is None or not isinstance(value, (int, float)):
            draft.account.lost(said, "there is no PARAMETER for it")
        else:
            draft.parameter(name, value, said=said)


def _generation_source(draft: Draft, given: Given) -> None:
    if given.value == "vllm":
        draft.account.unneeded(given.said, "what the model's own files say of sampling is not asked here either")
    else:
        draft.account.approximated(given.said, "sampling defaults of the model's own files are not taken over: "
                                   "write them as PARAMETERs")


def _quantization(draft: Draft, given: Given) -> None:
    word = {"awq_marlin": "awq", "gptq_marlin": "gptq"}.get(given.value, given.value)
    if given.value in ("compressed-tensors", "fbgemm_fp8", "modelopt"):
        draft.account.unneeded(given.said, "the model's own files say how its weights are kept")
    elif (row := precision(word)) is not None and row.form == "safetensors":
        draft.put("QUANTIZE", row.name, said=given.said, staged=True)
    else:
        draft.account.lost(given.said, "QUANTIZE has no word for it")


def _speculative(draft: Draft, given: Given) -> None:
    said = flags.as_json(given)
    if said is None:
        draft.account.lost(given.said, "it is not a JSON object")
        return
    method = said.get("method", "draft_model" if "model" in said else None)
    draft.serve("speculative", method, said=given.said)
    if isinstance(model := said.get("model"), str):
        draft.put("DRAFT", meanings.reference(model, Path()), said=given.said)
    if (number := said.get("num_speculative_tokens")) is not None:
        draft.parameter("draft_num_predict", number, said=given.said)
    for key in sorted(said.keys() - {"method", "model", "num_speculative_tokens"}):
        draft.account.approximated(f"{given.word} {key}={said[key]}", "modelkit chooses it")


def _ours(draft: Draft, given: Given) -> None:
    draft.account.lost(given.said, "a Modelfile may not set it: it says what a request means, or where vLLM listens")


def _other(draft: Draft, given: Given) -> None:
    """FLAG, for a flag that vLLM has; what no version of it has would end the engine at its start."""
    if given.flag is None and not re.fullmatch(r"--[a-z-]+\..+", given.word):
        near = flags.nearest("vllm", given.name)
        draft.account.lost(given.said, "no version of vLLM that modelkit knows has this flag"
                           + (f"; did you mean `{near}`?" if near else ""))
    elif given.word == given.name or given.word.startswith("--"):
        meanings.as_flag(draft, given)
    else:  # `-cc`: the long word says more
        meanings.as_flag(draft, Given(given.name, given.name, given.values, given.flag))


MEANINGS: Mapping[str, Meaning] = {
    "--served-model-name": _names,
    "--max-model-len": parameter("num_ctx", tokens),
    "--max-num-seqs": serve("max_concurrency"),
    "--gpu-memory-utilization": serve("gpu_memory"),
    "--tensor-parallel-size": serve("tensor_parallel"),
    "--pipeline-parallel-size": serve("pipeline_parallel"),
    "--data-parallel-size": serve("replicas", why="--data-parallel-size, as copies of the engine"),
    "--kv-cache-dtype": serve("kv_cache", meanings.choose(_CACHES)),
    "--enable-prefix-caching": switch("prefix_caching"),
    "--tool-call-parser": serve("tool_parser"),
    "--reasoning-parser": serve("reasoning_parser"),
    "--override-generation-config": _generation,
    "--generation-config": _generation_source,
    "--default-chat-template-kwargs": meanings.template_variables,
    "--quantization": _quantization,
    "--speculative-config": _speculative,
    "--api-key": meanings.api_key,
    "--port": serve("port"),
    "--dtype": lost("modelkit says it itself, by the weights and the device"),
    "--load-format": lost("weights are safetensors here, never pickles"),
    "--trust-remote-code": lost("code of a model's repository is never run here"),
    "--tokenizer": lost("the tokenizer is the model's own"),
    "--seed": lost("it seeds the engine, not a request: `PARAMETER seed` does that"),
    "--hf-token": lost("a secret is never in a Modelfile: set HF_TOKEN for `modelkit pull`"),
    "--download-dir": unneeded("the store keeps models: $MODELKIT_HOME moves it"),
    "--tokenizer-revision": unneeded("the tokenizer comes with the model, at the same revision"),
    "--code-revision": unneeded("code of a model's repository is never run here"),
    "--max-logprobs": unneeded("20 may always be asked for"),
    **each(unneeded("the contract chooses it for each request"), ("--enable-auto-tool-choice", "--response-role")),
    **each(unneeded("the adapters' own files say it"), ("--enable-lora", "--max-lora-rank", "--max-loras")),
    **each(unneeded(_ITSELF), ("--uds", "--disable-fastapi-docs", "--disable-uvicorn-access-log",
                               "--uvicorn-log-level", "--shutdown-timeout")),
    **each(unneeded("`modelkit logs` and the address's own metrics say it"),
           ("--enable-log-requests", "--disable-log-stats", "--log-config-file", "--max-log-len")),
    **each(lost("TLS and browsers are the business of what stands in front of the address"),
           ("--ssl-keyfile", "--ssl-certfile", "--ssl-ca-certs", "--ssl-cert-reqs", "--ssl-ciphers",
            "--allowed-origins", "--allowed-methods", "--allowed-headers", "--allow-credentials", "--root-path")),
}
"""What flags mean. Of the others, those that modelkit says itself (`vllm.OURS`) are dropped, and the rest is FLAGs."""
