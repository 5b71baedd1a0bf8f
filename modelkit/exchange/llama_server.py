"""`llama-server`'s command line to a Modelfile, by the engine's own flag tables.

Facts of the flags are of llama.cpp b10434 to b11549 (`common/arg.cpp`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from modelkit.engines.llama_words import lowered_flag
from modelkit.exchange import flags, meanings
from modelkit.exchange.draft import Draft
from modelkit.exchange.flags import Arguments, Given
from modelkit.exchange.meanings import Meaning, each, lost, parameter, serve, unneeded
from modelkit.exchange.shell import Command
from modelkit.language.checking.references import is_projector

_CACHES = {"f16": "f16", "bf16": "bf16", "q8_0": "q8_0", "q4_0": "q4_0"}
_MODELS = ("--model", "--hf-repo", "--hf-file", "--model-url", "--docker-repo")
_ALL_LAYERS = 99
"""What people write for "all layers": more than models have."""


def into(draft: Draft, command: Command, folder: Path) -> None:
    """Everything that a command line says, put into a draft or into its account."""
    given = flags.read("llama-server", command.words)
    for word in given.alone:
        draft.account.lost(word, "it stands alone, and llama-server takes flags only")
    _model(draft, given, command, folder)
    _room(draft, given)
    _cache(draft, given)
    for one in sorted(given.flags, key=lambda one: one.name == "--host"):  # what it may be depends on the key
        if one.name in ("--chat-template-file", "--mmproj", "--lora", "--lora-scaled"):
            _FILES[one.name](draft, one, folder, command.mounts)
        elif one.name == "--host":
            meanings.address(draft, one, command)
        elif one.name not in _TOGETHER:
            MEANINGS.get(one.name, _other)(draft, one)
    own = not draft.has("FLAG")
    draft.put("ENGINE", "llama.cpp" if own else "llama-server", said="llama-server", staged=True,
              why="" if own else "modelkit's own engine has other flags than llama-server")
    meanings.surroundings(draft, command)


def _model(draft: Draft, given: Arguments, command: Command, folder: Path) -> None:
    said = {name: one for name in _MODELS if (one := given.last(name)) is not None and one.value}
    used = ("--hf-repo", "--hf-file") if next(iter(said), "") == "--hf-repo" else tuple(said)[:1]
    for name, other in said.items():
        if name not in used:
            draft.account.lost(other.said, f"the model is what `{said[used[0]].said}` names")
    if (one := said.get("--model")) is not None:
        path = meanings.on_host(one.value, command.mounts)
        draft.base(path if re.match(r"[/~.]|[A-Za-z]:", path) else f"./{path}", said=one.said)
    elif (one := said.get("--hf-repo")) is not None:
        repository, _, pick = one.value.partition(":")
        file = said.get("--hf-file")
        pick = file.value if file is not None else pick
        draft.base(f"hf.co/{repository}" + (f":{pick}" if pick else ""), said=one.said)
    elif (one := said.get("--docker-repo")) is not None:
        draft.base(docker_reference(one.value), said=one.said)
    elif (one := said.get("--model-url")) is not None:
        draft.base(one.value, said=one.said)


def docker_reference(name: str) -> str:
    """A model of Docker's as FROM names it: `ai/smollm2` is on Docker Hub.

    >>> docker_reference("smollm2:360M"), docker_reference("hf.co/org/repo:Q8_0")
    ('oci://docker.io/ai/smollm2:360M', 'hf.co/org/repo:Q8_0')
    """
    if re.match(r"(hf|huggingface)\.co/", name):
        return name
    head, slash, _ = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return f"oci://{name}"
    return f"oci://docker.io/{name if slash else f'ai/{name}'}"


def _room(draft: Draft, given: Arguments) -> None:
    """`--ctx-size` is for all slots together where their number is said, `num_ctx` for one conversation."""
    size, slots = given.last("--ctx-size"), given.last("--parallel")
    number = int(slots.value) if slots is not None and re.fullmatch(r"[1-9][0-9]{0,4}", slots.value) else 0
    if slots is not None and number:
        draft.serve("max_concurrency", number, said=slots.said)
    if (unified := given.last("--kv-unified")) is not None:
        draft.account.unneeded(unified.said, "`num_ctx` is what one conversation has")
    if size is None or size.value == "0":
        return
    if not re.fullmatch(r"[0-9]{1,9}", size.value):
        draft.account.lost(size.said, "it is not a number of tokens")
    elif number > 1 and (unified is None or unified.negated):
        draft.parameter("num_ctx", int(size.value) // number, said=size.said,
                        why=f"{size.said} is shared by {number} conversations")
    else:
        draft.parameter("num_ctx", int(size.value), said=size.said)


def _cache(draft: Draft, given: Arguments) -> None:
    keys, values = given.last("--cache-type-k"), given.last("--cache-type-v")
    if keys is not None and values is not None and keys.value == values.value and keys.value in _CACHES:
        draft.serve("kv_cache", keys.value, said=f"{keys.said} {values.said}")
        return
    for one in (keys, values):
        if one is not None:
            draft.account.lost(one.said, "`SERVE kv_cache` keeps keys and values alike, as "
                               f"{', '.join(_CACHES)}")


def _template(draft: Draft, given: Given, folder: Path, mounts: tuple[str, ...]) -> None:
    meanings.template_file(draft, given, folder, mounts)


def _projector(draft: Draft, given: Given, folder: Path, mounts: tuple[str, ...]) -> None:
    path = meanings.on_host(given.value, mounts)
    path = path if re.match(r"[/~.]|[A-Za-z]:", path) else f"./{path}"
    if is_projector(path):
        draft.put("FROM", path, said=given.said, again=True)
    else:
        draft.account.lost(given.said, "a second FROM is a projector if its file's name says so: `mmproj` in it")


def _lora(draft: Draft, given: Given, folder: Path, mounts: tuple[str, ...]) -> None:
    """llama-server adds all of them to the base at once; here one is part of the model, others have names."""
    for part in given.value.split(","):
        path, _, scale = part.partition(":") if given.name == "--lora-scaled" else (part, "", "1")
        said = f"{given.word} {part}"
        if scale not in ("", "1", "1.0"):
            draft.account.lost(said, "an adapter's own scale is used, whole")
        elif draft.has("ADAPTER"):
            draft.account.lost(said, "one adapter is part of the model; `ADAPTER … AS name` serves more by name")
        else:
            place = meanings.on_host(path, mounts)
            draft.put("ADAPTER", place if re.match(r"[/~.]|[A-Za-z]:", place) else f"./{place}", said=said)


def _names(draft: Draft, given: Given) -> None:
    first, *others = given.value.split(",")
    draft.name(first, said=given.said)
    for other in others:
        draft.account.lost(f"{given.word} {other}", "a model has one name here")


def _layers(draft: Draft, given: Given) -> None:
    if given.value in ("all", "auto") or (given.value.isdecimal() and int(given.value) >= _ALL_LAYERS):
        draft.account.unneeded(given.said, "as many layers as fit are on the GPU unless `num_gpu` says less")
    else:
        draft.parameter("num_gpu", given.value, said=given.said)


def _threads(draft: Draft, given: Given) -> None:
    if not given.value.startswith("-"):
        draft.parameter("num_thread", given.value, said=given.said)


def _load_mode(draft: Draft, given: Given) -> None:
    if given.value in ("none", "mmap"):
        draft.parameter("use_mmap", given.value == "mmap", said=given.said)
    elif given.value != "auto":
        _other(draft, given)


def _mmap(draft: Draft, given: Given) -> None:
    draft.parameter("use_mmap", not given.negated and given.word != "--no-mmap", said=given.said)


def _built_in_template(draft: Draft, given: Given) -> None:
    if "{" in given.value:
        meanings.template(draft, given, given.value)
    else:
        draft.account.lost(given.said, "built-in templates go by names of llama.cpp's own: the model's own is used")


def _thinking(draft: Draft, given: Given) -> None:
    words = {"on": "true", "off": "false", "auto": "auto", "0": "false", "-1": "auto", "default": "auto"}
    if given.name == "--reasoning-budget" and given.value not in words:
        _other(draft, given)
    else:
        draft.serve("thinking", words.get(given.value, given.value), said=given.said)


def _speculation(draft: Draft, given: Given) -> None:
    kinds = {"draft-simple": "draft_model", "ngram-simple": "ngram"}
    if given.value in kinds:
        draft.serve("speculative", kinds[given.value], said=given.said)
    elif given.value != "none":
        draft.account.lost(given.said, "`SERVE speculative` is `ngram` or `draft_model` on llama.cpp")


def _draft(draft: Draft, given: Given) -> None:
    path = given.value if given.name == "--spec-draft-model" else f"hf.co/{given.value}"
    draft.put("DRAFT", path if re.match(r"[/~.]|[A-Za-z]:|hf\.co/", path) else f"./{path}", said=given.said)


def _pooling(draft: Draft, given: Given) -> None:
    if given.value == "rank":
        draft.serve("task", "rerank", said=given.said)
    elif given.value == "none":
        draft.account.lost(given.said, "embeddings are one vector a text")
    else:
        draft.serve("pooling", given.value, said=given.said)


def _key_file(draft: Draft, given: Given) -> None:
    draft.serve("api_key", f"file:{given.value}", said=given.said)


def _other(draft: Draft, given: Given) -> None:
    """FLAG, for what llama-server has and modelkit neither says itself nor keeps shut."""
    name = PurePosixPath(given.name).name
    if given.flag is None:
        near = flags.nearest("llama-server", name)
        draft.account.lost(given.said, "no build of llama-server that modelkit knows has this flag"
                           + (f"; did you mean `{near}`?" if near else ""))
        return
    lowered = lowered_flag((given.name, *given.values), "path")
    if lowered.verdict == "lost":
        draft.account.lost(given.said, lowered.reason)
    else:
        word = given.word if given.word.startswith("--") else given.name
        meanings.as_flag(draft, Given(word, given.name, given.values, given.flag, given.negated))


_FILES = {"--chat-template-file": _template, "--mmproj": _projector, "--lora": _lora, "--lora-scaled": _lora}
_TOGETHER = frozenset((*_MODELS, "--ctx-size", "--parallel", "--cache-type-k", "--cache-type-v", "--kv-unified"))

MEANINGS: Mapping[str, Meaning] = {
    "--alias": _names,
    "--batch-size": parameter("num_batch"),
    "--ubatch-size": unneeded("`num_batch` says both"),
    "--gpu-layers": _layers,
    "--main-gpu": parameter("main_gpu"),
    "--threads": _threads,
    "--load-mode": _load_mode,
    **each(_mmap, ("--mmap", "--no-mmap")),
    "--temp": parameter("temperature"),
    "--top-k": parameter("top_k"),
    "--top-p": parameter("top_p"),
    "--min-p": parameter("min_p"),
    "--typical": parameter("typical_p"),
    "--repeat-penalty": parameter("repeat_penalty"),
    "--repeat-last-n": parameter("repeat_last_n"),
    "--presence-penalty": parameter("presence_penalty"),
    "--frequency-penalty": parameter("frequency_penalty"),
    "--seed": parameter("seed"),
    "--predict": parameter("num_predict"),
    "--keep": parameter("num_keep"),
    "--reverse-prompt": parameter("stop"),
    "--chat-template": _built_in_template,
    "--chat-template-kwargs": meanings.template_variables,
    **each(_thinking, ("--reasoning", "--reasoning-budget", "--reasoning-effort")),
    "--reasoning-format": unneeded("reasoning is always told from the answer"),
    "--embedding": lambda draft, given: draft.serve("task", "embed", said=given.said),
    "--rerank": lambda draft, given: draft.serve("task", "rerank", said=given.said),
    "--pooling": _pooling,
    "--spec-type": _speculation,
    **each(_draft, ("--spec-draft-model", "--spec-draft-hf")),
    **each(parameter("draft_num_predict"), ("--spec-draft-n-max", "--draft-max", "--draft", "--draft-n")),
    "--cache-prompt": meanings.switch("prefix_caching"),
    "--sleep-idle-seconds": serve("keep_alive"),
    "--api-key": meanings.api_key,
    "--api-key-file": _key_file,
    "--port": serve("port"),
    "--jinja": unneeded("chat templates are always Jinja here"),
    "--hf-token": lost("a secret is never in a Modelfile: set HF_TOKEN for `modelkit pull`"),
    **each(lost("TLS is the business of what stands in front of the address"), ("--ssl-key-file", "--ssl-cert-file")),
    **each(unneeded("modelkit says it itself"), ("--metrics", "--slots", "--ui", "--props", "--cont-batching",
                                                 "--log-disable", "--log-file", "--verbose", "--verbosity",
                                                 "--log-timestamps", "--log-prefix", "--log-colors", "--offline")),
}
"""What flags mean. The others are FLAGs, but for those that modelkit says itself or keeps shut."""
