"""A chat completion's answer as one of Anthropic's messages: its blocks, and the events of a stream in order."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from modelkit.contract import anthropic_errors
from modelkit.contract.chat_reader import Arguments, Call, Done, Failed, Said, Text, Thought
from modelkit.contract.translation import Event

_DELTAS = {"text": "text_delta", "thinking": "thinking_delta"}


class MessageWriter:
    """One message. `stops` and `limit` are the client's own stop sequences and `max_tokens`; `tag` makes the ids."""

    def __init__(self, model: str | None, stops: Collection[str] = (), limit: int = 0, tag: str | None = None) -> None:
        self.tag = tag or secrets.token_hex(12)
        self.model, self.stops, self.limit = model, stops, limit
        self.blocks: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None  # the block that goes on
        self.arguments = ""  # of the call that goes on
        self.reason: str | None = None
        self.stop: str | None = None
        self.usage: dict[str, Any] = {**_usage({}), "output_tokens": 0}

    def whole(self) -> dict[str, Any]:
        return {"id": f"msg_{self.tag}", "type": "message", "role": "assistant", "model": self.model,
                "content": list(self.blocks), "stop_reason": self.reason, "stop_sequence": self.stop,
                "usage": self.usage}

    def begin(self) -> list[Event]:
        """The prompt's tokens are counted by the engine; it says them at the end."""
        return [{"type": "message_start", "message": self.whole()}]

    def say(self, said: Said) -> list[Event]:
        match said:
            case Thought(text):
                return self._text("thinking", text)
            case Text(text):
                return self._text("text", text) if text else []
            case Call(index, id, name):
                return self._add({"type": "tool_use", "id": id or f"toolu_{self.tag}{index:02x}", "name": name,
                                  "input": {}})
            case Arguments(_, text):
                self.arguments += text
                return [self._delta(type="input_json_delta", partial_json=text)]
            case Done():
                return self._done(said)
            case Failed(error):
                return [anthropic_errors.of(error)]

    def _delta(self, **delta: Any) -> Event:
        return {"type": "content_block_delta", "index": len(self.blocks) - 1, "delta": delta}

    def _add(self, block: dict[str, Any]) -> list[Event]:
        """A new block, after the end of the one before."""
        events = self._close()
        self.open = block
        self.blocks.append(block)
        return [*events, {"type": "content_block_start", "index": len(self.blocks) - 1, "content_block": dict(block)}]

    def _text(self, kind: str, text: str) -> list[Event]:
        events: list[Event] = []
        if self.open is None or self.open["type"] != kind:
            signed = {"signature": ""} if kind == "thinking" else {}
            events = self._add({"type": kind, kind: "", **signed})
        assert self.open is not None
        self.open[kind] += text
        return [*events, self._delta(type=_DELTAS[kind], **{kind: text})]

    def _close(self) -> list[Event]:
        """The end of the block that goes on, if there is one."""
        block, self.open = self.open, None
        if block is None:
            return []
        if block["type"] == "tool_use":
            block["input"], self.arguments = _object(self.arguments), ""
        return [{"type": "content_block_stop", "index": len(self.blocks) - 1}]

    def _done(self, said: Done) -> list[Event]:
        events = self._close()
        self.usage = _usage(said.usage)
        if said.reason == "content_filter":
            self.reason = "refusal"
        elif said.reason == "length":
            full = said.usage and self.usage["output_tokens"] < self.limit
            self.reason = "model_context_window_exceeded" if full else "max_tokens"
        elif any(block["type"] == "tool_use" for block in self.blocks):
            self.reason = "tool_use"
        elif said.stop in self.stops:
            self.reason, self.stop = "stop_sequence", said.stop
        else:
            self.reason = "end_turn"
        delta = {"stop_reason": self.reason, "stop_sequence": self.stop}
        return [*events, {"type": "message_delta", "delta": delta, "usage": self.usage}, {"type": "message_stop"}]


def _object(arguments: str) -> dict[str, Any]:
    """What the text of a call says; nothing where the answer ended in its middle."""
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _usage(said: Mapping[str, Any]) -> dict[str, Any]:
    """What was read from a cache is not counted twice."""
    cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {"input_tokens": said.get("prompt_tokens", 0) - cached, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached, "output_tokens": said.get("completion_tokens", 0)}
