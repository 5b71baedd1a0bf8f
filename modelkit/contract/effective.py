"""What an engine really has, asked of the engine itself: no profile and no plan is consulted. Standard library only.

`GET /modelkit/effective` answers it, to whoever may list the models. What an engine does not say is None.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

ROOM = "/modelkit/"
"""Paths of modelkit itself, between the contract and what stands behind it. No client has any of them but `PATH`."""

PATH = ROOM + "effective"
SCHEMA = "modelkit.effective/1"


@dataclass(frozen=True)
class Effective:
    """One engine as it runs. Lengths are in tokens; `template` is the digest of the chat template's text."""

    version: str | None = None
    model: str | None = None  # a path or a repository
    revision: str | None = None
    context_length: int | None = None  # of one conversation
    max_concurrency: int | None = None
    template: str | None = None
    adapters: tuple[str, ...] | None = None
    kv_cache: str | None = None
    kv_tokens: int | None = None  # room of the whole attention cache
    tensor_parallel: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Effective:
        """The state of `as_json`; fields of a later release are left out. Raises ValueError on anything else."""
        if value.get("schema") != SCHEMA:
            raise ValueError(f"not a {SCHEMA} document")
        known: dict[str, Any] = {name: value.get(name) for name in cls.__dataclass_fields__}
        if known["adapters"] is not None:
            known["adapters"] = tuple(known["adapters"])
        return cls(**known)


@dataclass(frozen=True)
class Reader:
    """How one engine is asked: `path` of its own API, whose answer also says whether this client may know."""

    path: str
    read: Callable[[Any, Mapping[str, Any]], Effective]


def template_digest(text: str | None) -> str | None:
    """Of a chat template's text; a final line break is not part of it, for files get one."""
    return None if text is None else "sha256:" + hashlib.sha256(text.rstrip("\n").encode()).hexdigest()


def _vllm(app: Any, answer: Mapping[str, Any]) -> Effective:
    """vLLM's API server holds the whole configuration that its engine was started with (0.29 to 0.33)."""
    state = getattr(app, "state", None)
    config = getattr(state, "vllm_config", None)
    model, cache = getattr(config, "model_config", None), getattr(config, "cache_config", None)
    blocks, size = getattr(cache, "num_gpu_blocks", None), getattr(cache, "block_size", None)
    listed = [one for one in answer.get("data", ()) if isinstance(one, Mapping)]
    return Effective(
        version=getattr(sys.modules.get("vllm"), "__version__", None),
        model=_text(getattr(model, "model", None)), revision=_text(getattr(model, "revision", None)),
        context_length=_whole(getattr(model, "max_model_len", None)),
        max_concurrency=_whole(getattr(getattr(config, "scheduler_config", None), "max_num_seqs", None)),
        template=template_digest(_vllm_template(getattr(state, "serving_tokenization", None))),
        adapters=tuple(sorted(str(one["id"]) for one in listed if one.get("parent"))),
        kv_cache=_text(getattr(cache, "cache_dtype", None)),
        kv_tokens=blocks * size if isinstance(blocks, int) and isinstance(size, int) else None,
        tensor_parallel=_whole(getattr(getattr(config, "parallel_config", None), "tensor_parallel_size", None)))


def _vllm_template(tokenization: Any) -> str | None:
    """The template that was said, else the tokenizer's own, as vLLM chooses between them."""
    said = getattr(tokenization, "chat_template", None)
    if said is None and (tokenizer := getattr(getattr(tokenization, "renderer", None), "get_tokenizer", None)):
        said = getattr(tokenizer(), "chat_template", None)
    if isinstance(said, Mapping):
        said = said.get("default")
    return said if isinstance(said, str) else None


def _llama_server(app: Any, answer: Mapping[str, Any]) -> Effective:
    """llama-server says it at `/props` (b11434), which its host has under another name."""
    settings, build = answer.get("default_generation_settings"), _text(answer.get("build_info"))
    return Effective(
        version=None if build in (None, "b0-unknown") else build,  # the wheel does not know its build
        model=_text(answer.get("model_path")),
        context_length=_whole(settings.get("n_ctx")) if isinstance(settings, Mapping) else None,
        max_concurrency=_whole(answer.get("total_slots")),
        template=template_digest(_text(answer.get("chat_template"))))


def _llamacpp(app: Any, answer: Mapping[str, Any]) -> Effective:
    """Our own engine says it in these words."""
    adapters = answer.get("adapters")
    return Effective(
        version=_text(answer.get("version")), model=_text(answer.get("model")),
        context_length=_whole(answer.get("context_length")), max_concurrency=_whole(answer.get("max_concurrency")),
        template=_text(answer.get("template")), kv_cache=_text(answer.get("kv_cache")),
        adapters=tuple(sorted(map(str, adapters))) if isinstance(adapters, list) else None,
        kv_tokens=_whole(answer.get("kv_tokens")))


def _sglang(app: Any, answer: Mapping[str, Any]) -> Effective:
    """SGLang says what it resolved its arguments to (0.5.23, `build_server_info`)."""
    loras = answer.get("lora_paths") or ()
    names = [one.get("lora_name") if isinstance(one, Mapping) else None for one in loras]
    return Effective(
        version=_text(answer.get("version")), model=_text(answer.get("model_path")),
        revision=_text(answer.get("revision")), context_length=_whole(answer.get("context_length")),
        max_concurrency=_whole(answer.get("max_running_requests")),
        adapters=tuple(sorted(map(str, names))) if all(names) else None,
        kv_cache=_text(answer.get("kv_cache_dtype")), kv_tokens=_whole(answer.get("max_total_num_tokens")),
        tensor_parallel=_whole(answer.get("tp_size")))


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


READERS: Mapping[str, Reader] = {"vllm": Reader("/v1/models", _vllm), "sglang": Reader("/server_info", _sglang),
                                 "llamacpp": Reader("/modelkit/state", _llamacpp),
                                 "llama-server": Reader("/modelkit/props", _llama_server)}
"""By the profile's dialect."""
