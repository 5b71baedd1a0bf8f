"""LM Studio's model.yaml (draft 1.0) for a stage. The keys are those that `lmstudio.py` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from modelkit.exchange.lmstudio import CHECKBOXES, PARAMETERS
from modelkit.exchange.losses import Account
from modelkit.exchange.serving import planned
from modelkit.exchange.subjects import Exported, Subject
from modelkit.exchange.unsaid import unsaid
from modelkit.language.engine_words import DEFAULT_ENGINE
from modelkit.language.quantization import named_in
from modelkit.planning.plan import Plan
from modelkit.platforms.yaml import dump

_KEYS = {name: key for key, name in reversed(PARAMETERS.items()) if key.startswith("llm.")}
_ALWAYS = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty")
"""What LM Studio has defaults of its own for."""

_FIELDS = {"repeat_penalty": "repetition_penalty"}
_SERVE = {
    "port": "`lms server start --port` says it", "host": "`lms server start` says it",
    "keep_alive": "`lms load --ttl` says it", "api_key": "LM Studio has tokens of its own",
    "max_concurrency": "LM Studio asks for it when a model is loaded",
}

Field = dict[str, Any]


def write(subjects: Sequence[Subject]) -> Exported:
    """One model."""
    (subject,) = subjects
    account = Account()
    engine = subject.said.engine
    plan = planned(subject, engine.value.name if engine is not None else DEFAULT_ENGINE[subject.said.kind])
    said: dict[str, Any] = {"model": _name(subject, account), "base": _base(subject, account)}
    operation, load = list(_operation(subject, plan, account)), list(_load(subject, plan, account))
    said["config"] = {"operation": {"fields": operation}, "load": {"fields": load}}
    thinking = subject.said.serve.get("thinking")
    if thinking is not None and thinking.value in ("true", "false"):
        said["customFields"] = [{
            "key": "enableThinking", "displayName": "Enable Thinking", "type": "boolean",
            "description": "Whether the model thinks before it answers", "defaultValue": thinking.value == "true",
            "effects": [{"type": "setJinjaVariable", "variable": "enable_thinking"}]}]
    there = ("kv_cache", *(["thinking"] if "customFields" in said else []))
    unsaid(subject, account, "LM Studio", _SERVE, there)
    return Exported(dump(said), account.graded)


def _name(subject: Subject, account: Account) -> str:
    """`publisher/model`: LM Studio takes no other shape."""
    name = subject.name.replace(":", "-")
    shaped = name if name.count("/") == 1 else f"local/{name.replace('/', '-')}"
    if shaped != subject.name:
        account.approximated(f"NAME {subject.name}", f"a name there is `publisher/model`: `{shaped}`")
    return shaped


def _base(subject: Subject, account: Account) -> str | list[dict[str, Any]]:
    base, said = subject.base, subject.said
    assert said.base is not None
    text = said.base.value
    if said.quantize is not None and said.quantize.value.name not in ("none", named_in(text)):
        account.lost(f"QUANTIZE {said.quantize.value.name}", "LM Studio asks which of a repository's files to fetch")
    if base.kind != "hf":
        name = re.sub(r"[^A-Za-z0-9._-]", "-", subject.name)
        account.lost(f"FROM {text}", f"LM Studio fetches from Hugging Face: `lms import FILE --copy --user-repo "
                     f"local/{name}` takes a GGUF file")
        return f"local/{name}"
    for pin in filter(None, (base.pick, base.revision)):
        account.lost(f"FROM {text}", f"which file or revision is LM Studio's to ask: `{pin}` is left out")
    user, _, repo = base.repo.partition("/")
    return [{"key": base.repo.lower(), "sources": [{"type": "huggingface", "user": user, "repo": repo}]}]


def _operation(subject: Subject, plan: Plan, account: Account) -> Iterator[Field]:
    said, defaults = subject.said, plan.profile.get("defaults", {})
    if said.system is not None:
        yield _field("llm.prediction.systemPrompt", said.system.value)
    for name in (*_ALWAYS, "presence_penalty", "frequency_penalty"):
        field = _FIELDS.get(name, name)
        if field in defaults and (name in _ALWAYS or name in said.parameters):
            yield _field(_KEYS[name], defaults[field])
    if plan.profile.get("max_tokens") is not None:
        yield _field(_KEYS["num_predict"], plan.profile["max_tokens"])
        account.approximated("PARAMETER num_predict", "a cap there, here a default")
    if "num_thread" in said.parameters:
        yield _field(_KEYS["num_thread"], said.parameters["num_thread"].value)
    if said.stop:
        yield _field("llm.prediction.stopStrings", [one.value for one in said.stop])
    if plan.chat_template is not None:
        yield _field("llm.prediction.promptTemplate", {
            "type": "jinja", "stopStrings": [], "jinjaPromptTemplate": {"template": plan.chat_template}})
    elif said.template is not None:
        account.lost("TEMPLATE", "it is not Jinja")
    if said.draft is not None:
        account.lost(f"DRAFT {said.draft.value}", "LM Studio names a model that it has")
    for message in said.messages:
        account.lost(f"MESSAGE {message.value.role} {message.value.content}", "LM Studio has no few-shot messages")
    for adapter in said.adapters:
        account.lost(f"ADAPTER {adapter.value.reference}", "LM Studio has no adapters")
    for licence in said.licenses[:1]:
        account.lost(f"LICENSE {licence.value}", "model.yaml has no field for it")


def _load(subject: Subject, plan: Plan, account: Account) -> Iterator[Field]:
    said = subject.said
    yield _field(_KEYS["num_ctx"], plan.context_length)
    for name in ("num_batch", "use_mmap", "seed"):
        if name in said.parameters:
            yield _field(_KEYS[name], said.parameters[name].value)
    if "seed" in said.parameters:
        account.approximated("PARAMETER seed", "of the model when it is loaded, not of a request")
    layers = said.parameters.get("num_gpu")
    if layers is not None and layers.value == 0:
        yield _field("llm.load.llama.acceleration.offloadRatio", 0)
    elif layers is not None and layers.value != -1:
        account.lost(f"PARAMETER num_gpu {layers.value}", "a share of the layers there, not a number")
    cache = said.serve.get("kv_cache")
    if cache is not None and cache.value in ("f16", "q8_0", "q4_0"):
        for which in "kv":
            yield _field(f"llm.load.llama.{which}CacheQuantizationType", cache.value)
    elif cache is not None and cache.value != "auto":
        account.lost(f"SERVE kv_cache {cache.value}", "it is not one of LM Studio's")
    for name in ("num_keep", "main_gpu", "typical_p", "repeat_last_n", "draft_num_predict"):
        if name in said.parameters:
            account.lost(f"PARAMETER {name} {said.parameters[name].value}", "there is no field for it")


def _field(key: str, value: Any) -> Field:
    return {"key": key, "value": {"checked": True, "value": value} if key in CHECKBOXES else value}
