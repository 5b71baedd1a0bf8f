"""A plan as `vllm serve`'s own words, for a vLLM that knows nothing of modelkit.

Facts of vLLM 0.32: `--override-generation-config` takes seven sampling fields and `max_new_tokens`, which is a cap
there (`config/model.py`, `get_diff_sampling_param`); `--chat-template` takes a text that holds braces as it is
(`renderers/chat_utils.py`).
"""

from __future__ import annotations

import json

from modelkit.engines import pooling, vllm
from modelkit.engines.vllm_settings import speculation
from modelkit.exchange.losses import Account
from modelkit.exchange.subjects import Subject
from modelkit.planning.plan import Plan

_FIELDS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
_SKIPPED = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
            "num_predict", "seed", "num_ctx", "template", "draft", "draft_num_predict", "serve.speculative",
            "serve.max_concurrency", "serve.thinking", "serve.replicas", "adapters")


def words(subject: Subject, plan: Plan, account: Account) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The model, and the flags in groups that belong together."""
    from modelkit.exchange.serving import lowered_words

    flags: list[tuple[str, ...]] = [("--served-model-name", plan.name), ("--max-model-len", str(plan.context_length)),
                                    ("--max-num-seqs", str(plan.max_concurrency))]
    model, revision = _model(subject, account)
    flags += revision
    flags += lowered_words(vllm.lower(plan), account, _SKIPPED)
    if plan.setting("serve.gpu_memory") is None:
        flags.append(("--gpu-memory-utilization", "0.9"))
    replicas = plan.setting("serve.replicas")
    if replicas is not None and int(replicas.value) > 1:
        flags.append(("--data-parallel-size", str(replicas.value)))
    if plan.setting("serve.tool_parser") is not None:
        flags.append(("--enable-auto-tool-choice",))
    if plan.task == "chat":
        flags += _generation(plan, account)
    flags += [(word.flag, str(word.value)) for word in pooling.vllm_words(plan)]
    flags += _template(plan, account)
    flags += _thinking(plan, account)
    flags += _speculative(plan, account)
    flags += _adapters(subject, account)
    flags += [(one.value.flag,) if one.value.value is None else (one.value.flag, one.value.value)
              for one in subject.said.flags]
    return model, flags


def _model(subject: Subject, account: Account) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    base, said = subject.base, subject.said.base
    assert said is not None
    if base.kind == "hf":
        if "gguf" in base.repo.lower():
            account.lost(f"FROM {said.value}", "vLLM loads safetensors, and by its name this repository has GGUF: "
                         "name the one that they were made from")
        elif base.pick:
            account.lost(f"FROM {said.value}", f"vLLM loads safetensors: the repository's own, not `{base.pick}`")
        return (base.repo,), [("--revision", base.revision)] if base.revision else []
    if base.kind == "path" and not said.value.lower().endswith(".gguf"):
        return (said.value,), []
    folder = f"./{subject.name.replace('/', '-').replace(':', '-')}"
    account.lost(f"FROM {said.value}", f"vLLM loads safetensors: `modelkit convert {said.value} --to safetensors "
                 f"-o {folder}` makes them")
    return (folder,), []


def _generation(plan: Plan, account: Account) -> list[tuple[str, ...]]:
    """Sampling defaults: the Modelfile's alone, as modelkit itself starts vLLM."""
    defaults = plan.profile["defaults"]
    said = {field: defaults[field] for field in _FIELDS if field in defaults}
    if plan.profile.get("max_tokens") is not None:
        said["max_new_tokens"] = plan.profile["max_tokens"]
        account.approximated("PARAMETER num_predict", "a cap there, where clients may not ask for more")
    if plan.setting("seed") is not None:
        account.lost("PARAMETER seed", "vLLM takes it from a request only")
    return [("--generation-config", "vllm"), ("--override-generation-config", json.dumps(said))]


def _template(plan: Plan, account: Account) -> list[tuple[str, ...]]:
    if plan.setting("template") is None:
        return []
    if plan.chat_template is None:
        account.lost("TEMPLATE", "it is not Jinja")
        return []
    return [("--chat-template", plan.chat_template)]


def _thinking(plan: Plan, account: Account) -> list[tuple[str, ...]]:
    said = plan.setting("serve.thinking")
    if said is None or said.value == "auto":
        return []
    variables = plan.profile.get("template_variables") or (
        {"enable_thinking": said.value == "true"} if said.value in ("true", "false") else
        {"reasoning_effort": said.value})
    account.approximated(f"SERVE thinking {said.value}", "where the model's chat template has this variable")
    return [("--default-chat-template-kwargs", json.dumps(variables))]


def _speculative(plan: Plan, account: Account) -> list[tuple[str, ...]]:
    config, problem = speculation(plan)
    if problem:
        account.lost("SERVE speculative", problem)
    return [] if config is None else [("--speculative-config", config)]


def _adapters(subject: Subject, account: Account) -> list[tuple[str, ...]]:
    modules: list[str] = []
    for one in subject.said.adapters:
        reference = one.value.reference
        if one.value.name is None:
            account.lost(f"ADAPTER {reference}", "vLLM serves an adapter under a name of its own: write `AS name`")
        else:
            modules.append(f"{one.value.name}={reference.removeprefix('hf.co/').removeprefix('hf://')}")
            account.approximated(f"ADAPTER {reference} AS {one.value.name}", "vLLM loads PEFT's form, and its rank is "
                                 "taken for at most 64")
    return [("--enable-lora", "--max-lora-rank", "64", "--lora-modules", *modules)] if modules else []
