"""A plan as `llama-server`'s own words, for a llama-server that knows nothing of modelkit.

Facts of llama.cpp b11549 (`common/arg.cpp`): sampling flags are defaults of requests, `--ctx-size` is for all slots.
"""

from __future__ import annotations

import json

from modelkit.engines import table
from modelkit.engines.flags import canonical
from modelkit.engines.llama_settings import SETTINGS, speculation
from modelkit.exchange import flags as reading
from modelkit.exchange.losses import Account
from modelkit.exchange.subjects import Subject
from modelkit.planning.plan import Plan

_SAMPLING = {"temperature": "--temp", "top_k": "--top-k", "top_p": "--top-p", "min_p": "--min-p", "seed": "--seed",
             "repetition_penalty": "--repeat-penalty", "presence_penalty": "--presence-penalty",
             "frequency_penalty": "--frequency-penalty"}
_SKIPPED = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty",
            "num_predict", "seed", "num_ctx", "num_batch", "serve.max_concurrency", "template", "draft",
            "draft_num_predict", "serve.speculative", "serve.kv_cache", "serve.thinking", "serve.task",
            "serve.pooling", "main_gpu", "adapters", "projector")
_BATCH = 512


def words(subject: Subject, plan: Plan, account: Account) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The model, and the flags in groups that belong together."""
    from modelkit.exchange.serving import lowered_words

    slots = plan.max_concurrency
    batch = plan.setting("num_batch")
    flags: list[tuple[str, ...]] = [("--alias", plan.name), ("--ctx-size", str(plan.context_length * slots)),
                                    ("--parallel", str(slots))]
    if batch is not None:
        flags.append(("--batch-size", str(batch.value), "--ubatch-size", str(min(int(batch.value), _BATCH))))
    by_name = ("quantize",) if subject.base.kind == "hf" else ()  # the pick of the repository's file
    flags += lowered_words(table.lower(SETTINGS, plan), account, (*_SKIPPED, *by_name))
    flags += _sampling(plan)
    flags += _process(subject, plan, account)
    flags += _task(plan)
    flags += _author(subject, account)
    return _model(subject, account), flags


def _model(subject: Subject, account: Account) -> tuple[str, ...]:
    base, said = subject.base, subject.said
    assert said.base is not None
    text, quantize = said.base.value, said.quantize.value.name if said.quantize else ""
    if base.kind == "path" and text.lower().endswith(".gguf"):
        return ("--model", text)
    if base.kind == "hf":
        if base.revision:
            account.lost(f"FROM {text}", f"llama-server takes no revision: `@{base.revision}` is left out")
        if "gguf" not in f"{base.repo} {base.pick}".lower():
            account.approximated(f"FROM {text}", "llama-server fetches repositories that have GGUF files only")
        file = base.pick.lower().endswith(".gguf")
        repo = f"{base.repo}:{base.pick or quantize}" if (base.pick or quantize) and not file else base.repo
        return ("--hf-repo", repo, *(("--hf-file", base.pick) if file else ()))
    if base.kind == "https":
        return ("--model-url", base.text.partition("#")[0])
    if base.kind == "oci" and base.host == "docker.io" and not base.digest:
        return ("--docker-repo", f"{base.name}:{base.tag}")
    file_name = base.file_name.partition(":")[0].partition("@")[0] or "model"
    path = f"./{file_name if file_name.endswith('.gguf') else f'{file_name}.gguf'}"
    account.lost(f"FROM {text}", f"llama-server cannot fetch it: `modelkit convert {text} --to gguf -o {path}` does")
    return ("--model", path)


def _sampling(plan: Plan) -> list[tuple[str, ...]]:
    defaults = plan.profile.get("defaults", {})
    found = [(flag, str(defaults[field])) for field, flag in _SAMPLING.items() if field in defaults]
    if plan.profile.get("max_tokens") is not None:
        found.append(("--predict", str(plan.profile["max_tokens"])))
    return list(found)


def _process(subject: Subject, plan: Plan, account: Account) -> list[tuple[str, ...]]:
    """What one setting says with two flags, or with a file's own text."""
    found: list[tuple[str, ...]] = []
    cache = plan.setting("serve.kv_cache")
    if cache is not None and cache.value != "auto":
        kind = "q8_0" if cache.value == "fp8" else str(cache.value)
        if kind != cache.value:
            account.approximated("SERVE kv_cache fp8", "llama.cpp has no fp8; q8_0 has its size")
        found.append(("--cache-type-k", kind, "--cache-type-v", kind))
    if (gpu := plan.setting("main_gpu")) is not None:
        found.append(("--split-mode", "none", "--main-gpu", str(gpu.value)))
    if plan.chat_template is not None:
        found.append(("--chat-template", plan.chat_template))
    elif plan.setting("template") is not None:
        account.lost("TEMPLATE", "it is not Jinja")
    if subject.said.projector is not None:
        found.append(("--mmproj", subject.said.projector.value))
    thinking = plan.setting("serve.thinking")
    if thinking is not None and thinking.value != "auto":
        variables = {"enable_thinking": thinking.value == "true"} if thinking.value in ("true", "false") else \
            {"reasoning_effort": thinking.value}
        account.approximated(f"SERVE thinking {thinking.value}", "where the model's chat template has this variable")
        found.append(("--chat-template-kwargs", json.dumps(variables)))
    found += [(flag, value) for flag, value, _ in speculation(plan)]
    if not speculation(plan) and (asked := plan.setting("serve.speculative")) is not None and asked.value != "off":
        account.lost(f"SERVE speculative {asked.value}", "llama.cpp guesses ahead by `ngram` or with a DRAFT")
    whole = [one.value.reference for one in subject.said.adapters if one.value.name is None]
    for one in subject.said.adapters:
        if one.value.name is not None:
            account.lost(f"ADAPTER {one.value.reference} AS {one.value.name}", "llama-server serves no adapter by its "
                         "own name")
    return [*found, *([("--lora", whole[-1])] if whole else [])]


def _task(plan: Plan) -> list[tuple[str, ...]]:
    if plan.task == "rerank":
        return [("--reranking",)]
    if plan.task != "embed":
        return []
    pooling = plan.setting("serve.pooling")
    return [("--embedding",), *([("--pooling", str(pooling.value))] if pooling and pooling.value != "auto" else [])]


def _author(subject: Subject, account: Account) -> list[tuple[str, ...]]:
    """FLAGs that llama-server has: those of modelkit's own engine have other names."""
    found: list[tuple[str, ...]] = []
    for one in subject.said.flags:
        flag, value = one.value.flag, one.value.value
        given = reading.read("llama-server", [flag])
        if given.flags and given.flags[0].flag is not None:
            found.append((flag,) if value is None else (flag, value))
        else:
            account.lost(f"FLAG {flag}", f"llama-server has no `{canonical(flag)}`")
    return found
