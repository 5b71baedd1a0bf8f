"""What a request means, as data: compiled from a Modelfile, read by the middleware. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "modelkit.profile/1"


@dataclass(frozen=True)
class Limits:
    """What one request may ask for at most; beyond it is a 400 (413 for the body)."""

    body_bytes: int = 8 * 1024 * 1024
    messages: int = 2048
    choices: int = 16  # n
    stop: int = 16  # stop strings of the client
    stop_length: int = 1024  # characters of one stop string
    top_logprobs: int = 20
    tools: int = 128
    prompts: int = 64  # of one /v1/completions request
    inputs: int = 2048  # of one /v1/embeddings request
    documents: int = 1024  # of one /v1/rerank request
    images: int = 16  # of one conversation
    image_pixels: int = 32 * 1024 * 1024  # of one image: what its header promises
    logit_bias: int = 1024
    schema_bytes: int = 64 * 1024


@dataclass(frozen=True)
class Profile:
    """One stage's meaning.

    `defaults` holds request fields by their OpenAI or vLLM names (`temperature top_p top_k min_p seed
    repetition_penalty presence_penalty frequency_penalty`); a field that the client sends wins. `max_tokens` is a
    default, never a cap; None leaves the answer bounded by the context alone. `dialect` names the engine whose
    request fields the middleware writes: `vllm`, `llamacpp` (our own), `sglang`, `tensorrt-llm` or `llama-server`.

    `template_variables` are `chat_template_kwargs` that a client need not send; those that it sends win.

    `adapters` are model names in the order in which the engine has the adapters. One that is called as the profile
    itself is part of the model: `name` is then the base with it.

    `task` is what the model is served for: `chat` (which includes completions), `embed` or `rerank`. `matryoshka` says
    to which lengths its vectors may be cut: none, any, or the ones that are named. `images` says that it sees.
    """

    name: str
    dialect: str
    context_length: int
    system: str | None = None
    messages: tuple[dict[str, str], ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    adapters: tuple[str, ...] = ()
    task: str = "chat"
    matryoshka: bool | tuple[int, ...] = False
    images: bool = False
    tool_parser: str | None = None
    reasoning_parser: str | None = None
    template_variables: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def models(self) -> tuple[str, ...]:
        """Every model name that is served, the profile's own first."""
        return tuple(dict.fromkeys((self.name, *self.adapters)))

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **json.loads(json.dumps(asdict(self)))}  # lists, as they are read back

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Profile:
        """The profile of `as_json`. Raises ValueError on another schema, TypeError on unknown fields."""
        fields = dict(value)
        if fields.pop("schema", None) != SCHEMA:
            raise ValueError(f"not a {SCHEMA} document")
        fields["limits"] = Limits(**fields.get("limits", {}))
        for name in ("messages", "stop", "adapters"):
            fields[name] = tuple(fields.get(name, ()))
        if isinstance(fields.get("matryoshka"), list):
            fields["matryoshka"] = tuple(fields["matryoshka"])
        return cls(**fields)

    @classmethod
    def loads(cls, text: str) -> Profile:
        return cls.from_json(json.loads(text))
