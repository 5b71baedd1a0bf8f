"""A client's request in llama-server's words: one or more upstream requests, and how to read their answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from modelkit.engines.llama_host.tools import Forced, forced_tools

Kind = Literal["chat", "text"]


@dataclass(frozen=True)
class Part:
    """One upstream request: `count` choices of one prompt, the first of them the client's choice `offset`."""

    body: bytes
    prompt: int
    offset: int


@dataclass(frozen=True)
class Asked:
    """What the client wants to read.

    `top_logprobs` is None when it wants no log-probabilities. llama-server is always asked for a stream: so a folded
    answer and a streamed one are the same text, and usage comes for every choice.
    """

    kind: Kind
    stream: bool
    include_usage: bool
    parts: tuple[Part, ...]
    top_logprobs: int | None = None
    forced: Forced | None = None
    parallel_calls: bool = True
    choices: int = 1
    model: str | None = None  # what the answer calls the model, where adapters make several of one

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.kind == "chat" else "/v1/completions"

    @property
    def plain(self) -> bool:
        """Whether most events can pass as they are."""
        return len(self.parts) == 1 and self.choices == 1 and self.forced is None


def ask(kind: Kind, body: dict[str, Any], slots: int) -> Asked:
    """The upstream requests for `body`, which the contract has already checked."""
    body = dict(body)
    stream = bool(body.pop("stream", False))
    options = body.pop("stream_options", None) or {}
    count = int(body.pop("n", None) or 1)
    include_usage = stream and bool(options.get("include_usage"))
    prompts: list[Any] = [None]
    forced, top = None, None
    parallel = body.get("parallel_tool_calls") is not False
    if kind == "chat":
        if body.get("logprobs"):
            top = int(body.get("top_logprobs") or 0)
            body["top_logprobs"] = max(1, top)  # with 0 llama-server gives no log-probabilities at all
        forced = forced_tools(body)
    else:
        prompts = _prompts(body.pop("prompt", ""))
        if body.get("logprobs") is not None and body["logprobs"] is not False:
            top = int(body["logprobs"])
            body["logprobs"] = max(1, top)
    model = str(body["model"]) if "lora" in body else None
    body["stream"] = True
    if include_usage or not stream or count * len(prompts) > 1:
        body["stream_options"] = {"include_usage": True}
    return Asked(kind, stream, include_usage, tuple(_parts(body, prompts, count, slots)), top, forced, parallel,
                 count * len(prompts), model)


def _parts(body: dict[str, Any], prompts: list[Any], count: int, slots: int) -> list[Part]:
    """llama-server takes at most as many choices at once as it has slots, and shares their prompt's work."""
    parts = []
    for number, prompt in enumerate(prompts):
        for offset in range(0, count, slots):
            one = dict(body) if prompt is None else {**body, "prompt": prompt}
            if (group := min(slots, count - offset)) > 1:
                one["n"] = group
            if offset and isinstance(one.get("seed"), int) and one["seed"] >= 0:
                one["seed"] = (one["seed"] + offset) & 0xFFFFFFFF  # llama-server counts up within a group
            parts.append(Part(json.dumps(one).encode(), number, number * count + offset))
    return parts


def _prompts(prompt: Any) -> list[Any]:
    """OpenAI's four forms of a prompt as a list of prompts, each a text or a list of token ids."""
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return prompt
    return [prompt]
