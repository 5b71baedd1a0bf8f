"""LM Studio's model.yaml: a model, where its weights are, and how it is loaded and asked.

Facts: lmstudio.ai/docs/app/modelyaml (draft 1.0), the configuration keys of the `lmstudio` package 1.5
(`_kv_config.py`), and per-model files for those that only the program writes (`systemPrompt`, the llama penalties).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelkit.exchange.documents import Parsed, parse
from modelkit.exchange.draft import Draft
from modelkit.exchange.losses import Account, one_line
from modelkit.exchange.sources import Imported, Source
from modelkit.failure import Failure

Meaning = Callable[[Draft, Any, str], None]

PARAMETERS = {
    "llm.prediction.temperature": "temperature", "llm.prediction.topKSampling": "top_k",
    "llm.prediction.topPSampling": "top_p", "llm.prediction.minPSampling": "min_p",
    "llm.prediction.repeatPenalty": "repeat_penalty", "llm.prediction.maxPredictedTokens": "num_predict",
    "llm.prediction.llama.presencePenalty": "presence_penalty",
    "llm.prediction.llama.frequencyPenalty": "frequency_penalty",
    "llm.prediction.llama.cpuThreads": "num_thread", "llm.load.contextLength": "num_ctx",
    "llm.load.llama.evalBatchSize": "num_batch", "llm.load.llama.tryMmap": "use_mmap", "llm.load.seed": "seed",
    "llm.prediction.speculativeDecoding.numDraftTokensExact": "draft_num_predict",
    "embedding.load.contextLength": "num_ctx",
}
"""LM Studio's keys that are a PARAMETER."""

CHECKBOXES = frozenset(("llm.prediction.topPSampling", "llm.prediction.minPSampling", "llm.prediction.repeatPenalty",
                        "llm.prediction.maxPredictedTokens", "llm.prediction.llama.presencePenalty",
                        "llm.prediction.llama.frequencyPenalty", "llm.load.seed",
                        "llm.load.llama.kCacheQuantizationType", "llm.load.llama.vCacheQuantizationType"))
"""Keys whose value is `{checked, value}`."""

_UNNEEDED = {
    "llm.load.llama.flashAttention": "the engine chooses it", "llm.load.offloadKVCacheToGpu": "the engine chooses it",
    "llm.load.llama.useFp16ForKVCache": "`SERVE kv_cache` says it where it matters",
    "llm.load.llama.keepModelInMemory": "a model stays until `modelkit down`",
    "llm.prediction.reasoning.parsing": "`SERVE reasoning_parser` says it where the model's family does not",
}
_PRESENTATION = ("metadataOverrides", "tags", "suggestions")


def read(source: Source) -> tuple[Imported, ...]:
    """The one model of the file."""
    parsed = parse(source.text, source.name)
    account = Account(line=parsed.line("model"))
    draft = Draft("LM Studio's model.yaml", "llama.cpp", "dev", account)
    name = parsed.mapping().get("model")
    if not isinstance(name, str):
        raise Failure("import-shape", f"{source.name} has no `model: publisher/name`",
                      hint="is it LM Studio's model.yaml?")
    draft.name(source.called or name, said=f"model: {name}")
    _base(parsed, draft)
    for part in ("operation", "load"):
        for line, key, value in _fields(parsed, part, source.name):
            account.line = line
            _field(draft, key, value)
    _caches(parsed, draft, source.name)
    _custom(parsed, draft)
    for key in parsed.mapping().keys() - {"model", "base", "config", "customFields"}:
        account.line = parsed.line(key)
        if key in _PRESENTATION:
            account.unneeded(key, "it is what LM Studio shows of the model")
        else:
            account.lost(key, "it is not a part that is known")
    return (Imported(name, draft.settled(), account.graded),)


def _base(parsed: Parsed, draft: Draft) -> None:
    """The entry with GGUF files, from which both engines can be served; the others are its forms for other engines."""
    said = parsed.mapping().get("base")
    draft.account.line = parsed.line("base")
    if isinstance(said, str):
        draft.account.approximated(f"base: {said}", "taken for a repository of Hugging Face's")
        draft.base(f"hf.co/{said}", said=f"base: {said}")
        return
    entries = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    entries.sort(key=lambda one: "gguf" not in f"{_key(one)} {_reference(one)}".lower())
    taken = False
    for entry in entries:
        key, reference = _key(entry), _reference(entry)
        if taken or reference is None:
            draft.account.lost(f"base {key}", "a Modelfile has one base, whose forms are made from it" if taken else
                               "it names no repository of Hugging Face's")
        else:
            draft.base(reference, said=f"base {key}")
            taken = True


def _key(entry: Mapping[str, Any]) -> str:
    key = entry.get("key")
    return key if isinstance(key, str) else ""


def _reference(entry: Mapping[str, Any]) -> str | None:
    sources = entry.get("sources")
    for one in sources if isinstance(sources, list) else []:
        if isinstance(one, dict) and one.get("type") == "huggingface":
            user, repo = one.get("user"), one.get("repo")
            if isinstance(user, str) and isinstance(repo, str):
                return f"hf.co/{user}/{repo}"
    return None


def _fields(parsed: Parsed, part: str, name: str) -> Iterator[tuple[int | None, str, Any]]:
    """The keys and values of `config.operation` or `config.load`, unchecked ones left out."""
    line = parsed.line("config", part, "fields")
    said = parsed.mapping("config", part).get("fields", [])
    if not isinstance(said, list):
        raise Failure("import-shape", f"{name}:{line}: `config.{part}.fields` is not a list")
    for one in said:
        if not isinstance(one, dict) or not isinstance(one.get("key"), str):
            raise Failure("import-shape", f"{name}:{line}: `config.{part}.fields` holds something without a `key`")
        value = one.get("value")
        if isinstance(value, dict) and "checked" in value:
            if not value["checked"]:
                continue
            value = value.get("value")
        yield line, one["key"], value


def _field(draft: Draft, key: str, value: Any) -> None:
    said = f"{key}: {one_line(str(value), 60)}" if isinstance(value, (str, int, float)) else key
    if key in PARAMETERS:
        draft.parameter(PARAMETERS[key], value, said=said)
    elif key in _MEANINGS:
        _MEANINGS[key](draft, value, said)
    elif key in _UNNEEDED:
        draft.account.unneeded(said, _UNNEEDED[key])
    elif not key.endswith("CacheQuantizationType"):
        draft.account.lost(said, "there is no setting for it")


def _caches(parsed: Parsed, draft: Draft, name: str) -> None:
    """Keys and values have a precision each there, and one here."""
    found = {key: value for _, key, value in _fields(parsed, "load", name) if key.endswith("CacheQuantizationType")}
    if len(found) == 2 and len(set(map(str, found.values()))) == 1:
        value = next(iter(found.values()))
        draft.serve("kv_cache", value, said=f"kCacheQuantizationType, vCacheQuantizationType: {value}")
    else:
        for key, value in found.items():
            draft.account.lost(f"{key}: {value}", "`SERVE kv_cache` keeps keys and values alike")


def _stops(draft: Draft, value: Any, said: str) -> None:
    for one in value if isinstance(value, list) else [value]:
        draft.parameter("stop", one, said=f"{said} {one}")


def _system(draft: Draft, value: Any, said: str) -> None:
    draft.put("SYSTEM", str(value), said=said)


def _template(draft: Draft, value: Any, said: str) -> None:
    text = value.get("jinjaPromptTemplate", {}).get("template") if isinstance(value, dict) and \
        isinstance(value.get("jinjaPromptTemplate"), dict) else None
    if isinstance(text, str):
        draft.put("TEMPLATE", text, said=said)
    else:
        draft.account.lost(said, "it is not Jinja: the model's own template is used")


def _offload(draft: Draft, value: Any, said: str) -> None:
    if value in ("off", 0):
        draft.parameter("num_gpu", 0, said=said)
    elif value in ("max", 1):
        draft.account.unneeded(said, "as many layers as fit are on the GPU unless `num_gpu` says less")
    else:
        draft.account.lost(said, "`num_gpu` is a number of layers, and how many the model has is not known here")


def _draft_model(draft: Draft, value: Any, said: str) -> None:
    draft.put("DRAFT", f"hf.co/{value}", said=said)


def _overflow(draft: Draft, value: Any, said: str) -> None:
    if value == "stopAtLimit":
        draft.account.unneeded(said, "an answer ends where the context does")
    else:
        draft.account.lost(said, "a conversation that is too long is an error, here and in production")


def _thinking(draft: Draft, value: Any, said: str) -> None:
    draft.serve("thinking", value, said=said)


def _custom(parsed: Parsed, draft: Draft) -> None:
    """`customFields`: a switch of the template for thinking is the language's own."""
    said = parsed.mapping().get("customFields")
    draft.account.line = parsed.line("customFields")
    for one in said if isinstance(said, list) else []:
        field = one if isinstance(one, dict) else {}
        key, default = str(field.get("key", "")), field.get("defaultValue")
        effects = [effect for effect in field.get("effects") or [] if isinstance(effect, dict)]
        names = {str(effect.get("variable")) for effect in effects if effect.get("type") == "setJinjaVariable"}
        switch = names & {"enable_thinking", "thinking"} and isinstance(default, bool)
        if switch or ("reasoning_effort" in names and default in ("low", "medium", "high")):
            draft.serve("thinking", default, said=f"customFields {key}")
        else:
            draft.account.lost(f"customFields {key}", "clients choose by their requests, not by fields of the model")


_MEANINGS: Mapping[str, Meaning] = {
    "llm.prediction.systemPrompt": _system, "llm.prediction.stopStrings": _stops,
    "llm.prediction.promptTemplate": _template, "llm.prediction.contextOverflowPolicy": _overflow,
    "llm.prediction.reasoning.enableThinking": _thinking,
    "llm.prediction.speculativeDecoding.draftModel": _draft_model,
    "llm.load.llama.acceleration.offloadRatio": _offload,
}
