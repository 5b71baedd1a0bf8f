"""A chat completion's answer as a response: its items, and the events of a stream in OpenAI's order."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any

from modelkit.contract.chat_reader import Arguments, Call, Done, Failed, Said, Text, Thought
from modelkit.contract.errors import ContractError
from modelkit.contract.translation import Event


class ResponseWriter:
    """One response. `echo` is what it says about its request; `tag` makes its ids."""

    def __init__(self, echo: Mapping[str, Any], tag: str | None = None, created: int | None = None) -> None:
        self.tag = tag or secrets.token_hex(16)
        self.echo = echo
        self.created = int(time.time()) if created is None else created
        self.items: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None  # the item that goes on
        self.status = "in_progress"
        self.error: dict[str, Any] | None = None
        self.usage: dict[str, Any] | None = None
        self.reason: str | None = None  # why it is incomplete
        self._number = 0

    def whole(self) -> dict[str, Any]:
        details = {"reason": self.reason} if self.reason else None
        return {"id": f"resp_{self.tag}", "object": "response", "created_at": self.created, "status": self.status,
                "error": self.error, "incomplete_details": details, **self.echo, "output": list(self.items),
                "usage": self.usage}

    def begin(self) -> list[Event]:
        return [self._event("response.created", response=self.whole()),
                self._event("response.in_progress", response=self.whole())]

    def say(self, said: Said) -> list[Event]:
        match said:
            case Thought(text):
                return self._text("reasoning", text, ())
            case Text(text, logprobs):
                return self._text("message", text, logprobs)
            case Call(index, id, name):
                return self._call(index, id, name)
            case Arguments(_, text):
                return self._arguments(text)
            case Done():
                return self._done(said)
            case Failed(error):
                return self._failed(error)

    def _event(self, kind: str, **fields: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}

    def _of_item(self, kind: str, item: dict[str, Any], **fields: Any) -> Event:
        return self._event(f"response.{kind}", item_id=item["id"], output_index=self.items.index(item), **fields)

    def _add(self, prefix: str, fields: Mapping[str, Any]) -> list[Event]:
        """A new item, after the end of the one before."""
        events = self._close("completed")
        self.open = {"id": f"{prefix}_{self.tag}{len(self.items):02x}", **fields, "status": "in_progress"}
        self.items.append(self.open)
        return [*events, self._event("response.output_item.added", output_index=len(self.items) - 1,
                                     item=_copy(self.open))]

    def _text(self, kind: str, text: str, logprobs: Iterable[dict[str, Any]]) -> list[Event]:
        events: list[Event] = []
        if self.open is None or self.open["type"] != kind:
            part: dict[str, Any] = {"type": "reasoning_text", "text": ""}
            if kind == "reasoning":
                events += self._add("rs", {"type": kind, "summary": [], "content": []})
            else:
                part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
                events += self._add("msg", {"type": kind, "role": "assistant", "content": []})
            assert self.open is not None
            self.open["content"].append(part)
            events.append(self._of_item("content_part.added", self.open, content_index=0, part=_copy(part)))
        item = self.open
        (part,) = item["content"]
        part["text"] += text
        more: dict[str, Any] = {}
        if kind == "message":
            more["logprobs"] = [_logprob(one) for one in logprobs]
            part["logprobs"] += more["logprobs"]
        if text or more.get("logprobs"):
            events.append(self._of_item(f"{part['type']}.delta", item, content_index=0, delta=text, **more))
        return events

    def _call(self, index: int, id: str | None, name: str) -> list[Event]:
        call_id = id or f"call_{self.tag}{index:02x}"
        return self._add("fc", {"type": "function_call", "call_id": call_id, "name": name, "arguments": ""})

    def _arguments(self, text: str) -> list[Event]:
        assert self.open is not None
        self.open["arguments"] += text
        return [self._of_item("function_call_arguments.delta", self.open, delta=text)]

    def _close(self, status: str) -> list[Event]:
        """The end of the item that goes on, if there is one."""
        item, self.open = self.open, None
        if item is None:
            return []
        item["status"] = status
        if item["type"] == "function_call":
            item["arguments"] = item["arguments"] or "{}"
            events = [self._of_item("function_call_arguments.done", item, name=item["name"],
                                    arguments=item["arguments"])]
        else:
            (part,) = item["content"]
            more = {"logprobs": part["logprobs"]} if "logprobs" in part else {}
            events = [self._of_item(f"{part['type']}.done", item, content_index=0, text=part["text"], **more),
                      self._of_item("content_part.done", item, content_index=0, part=_copy(part))]
        return [*events, self._event("response.output_item.done", output_index=self.items.index(item),
                                     item=_copy(item))]

    def _done(self, said: Done) -> list[Event]:
        self.reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(said.reason)
        self.usage = _usage(said.usage)
        self.status = "incomplete" if self.reason else "completed"
        events = [] if self.items else self._text("message", "", ())  # an answer has a message, were it an empty one
        events += self._close(self.status)
        return [*events, self._event(f"response.{self.status}", response=self.whole())]

    def _failed(self, error: ContractError) -> list[Event]:
        self.status, self.error = "failed", {"code": _code(error), "message": error.message}
        events = self._close("incomplete")
        return [*events, self._event("response.failed", response=self.whole())]


def _code(error: ContractError) -> str:
    """One of the codes that a response's error may have."""
    if error.status == 429:
        return "rate_limit_exceeded"
    return "server_error" if error.status >= 500 else "invalid_prompt"


def _logprob(one: Mapping[str, Any]) -> dict[str, Any]:
    top = [{name: other.get(name) for name in ("token", "logprob", "bytes")} for other in one.get("top_logprobs") or ()]
    return {"token": one.get("token"), "logprob": one.get("logprob"), "bytes": one.get("bytes"), "top_logprobs": top}


def _usage(said: Mapping[str, Any]) -> dict[str, Any]:
    prompt, answer = said.get("prompt_tokens", 0), said.get("completion_tokens", 0)
    cached = (said.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    thought = (said.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {"input_tokens": prompt, "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": answer, "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": prompt + answer}


def _copy(item: Mapping[str, Any]) -> dict[str, Any]:
    """As it is now; its parts go on changing."""
    return {name: [dict(part) for part in value] if isinstance(value, list) else value for name, value in item.items()}


