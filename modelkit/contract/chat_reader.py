"""What a chat completion says, piece by piece: the same from a whole answer and from a stream, however it is cut."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelkit.contract.engine_errors import from_engine
from modelkit.contract.errors import ContractError, of_status


@dataclass(frozen=True)
class Thought:
    """A piece of the reasoning."""

    text: str


@dataclass(frozen=True)
class Text:
    """A piece of the answer; `logprobs` are those of its tokens, as chat completions have them."""

    text: str
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Call:
    """A tool call begins."""

    index: int
    id: str | None
    name: str


@dataclass(frozen=True)
class Arguments:
    """A piece of the JSON text of one call's arguments."""

    index: int
    text: str


@dataclass(frozen=True)
class Done:
    """The answer is complete. `stop` is the stop string that ended it, where the engine says which."""

    reason: str  # stop, length, tool_calls, content_filter
    stop: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The answer will never be complete."""

    error: ContractError


Said = Thought | Text | Call | Arguments | Done | Failed

UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

_ENDS = frozenset(("stop", "length", "tool_calls", "content_filter"))


def whole(answer: Mapping[str, Any]) -> Iterator[Said]:
    """What a complete answer says; `Done` is last."""
    reader = Reader()
    choice = answer["choices"][0]
    message = dict(choice["message"])
    if message.get("tool_calls"):
        message["tool_calls"] = [{**call, "index": n} for n, call in enumerate(message["tool_calls"])]
    yield from reader.chunk({"choices": [{**choice, "delta": message}], "usage": answer.get("usage")})
    yield from reader.done()


class Reader:
    """A stream's bytes to what they say. The last piece is `Done` or `Failed`, and there is one of them.

    What is no chunk of a chat completion raises one of `UNREADABLE`.
    """

    def __init__(self) -> None:
        self.over = False
        self._rest = b""
        self._data: list[bytes] = []  # the lines of an event that has not ended
        self._calls: set[int] = set()
        self._open: int | None = None  # the call that may go on
        self._reason: str | None = None
        self._stop: str | None = None
        self._usage: Mapping[str, Any] = {}

    def feed(self, data: bytes) -> Iterator[Said]:
        """What a next part of the stream says, as far as its events are whole."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for ended in lines:
            if self.over:
                return
            line = ended.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                event, self._data = b"\n".join(self._data), []
                yield from self._event(event)

    def end(self) -> Iterator[Said]:
        """The stream has ended."""
        if not self.over:
            yield from self.done()

    def fail(self, error: ContractError) -> Iterator[Said]:
        self.over = True
        yield Failed(error)

    def done(self) -> Iterator[Said]:
        if self._reason is None:
            yield from self.fail(of_status(502, "the engine's answer ended before it was complete"))
        elif self._reason not in _ENDS:
            yield from self.fail(of_status(500, "the engine gave this answer up; its log says why"))
        else:
            self.over = True
            yield Done(self._reason, self._stop, self._usage)

    def _event(self, event: bytes) -> Iterator[Said]:
        if event == b"[DONE]":
            yield from self.done()
            return
        chunk = json.loads(event)
        if "error" in chunk:
            said = chunk["error"]
            code = said.get("code") if isinstance(said, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 500
            yield from self.fail(from_engine(status, event))
        else:
            yield from self.chunk(chunk)

    def chunk(self, chunk: Mapping[str, Any]) -> Iterator[Said]:
        """What one chunk says. Only the first choice counts: none of these APIs asks for more."""
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk["choices"][:1]:
            delta = choice.get("delta") or {}
            if thought := _text(delta, "reasoning") or _text(delta, "reasoning_content"):
                self._open = None
                yield Thought(thought)
            logprobs = tuple((choice.get("logprobs") or {}).get("content") or ())
            text = _text(delta, "content")
            if text or (logprobs and not thought):
                self._open = None
                yield Text(text, logprobs)
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)
            if choice.get("finish_reason"):
                self._reason = choice["finish_reason"]
                stop = choice.get("stop_reason")
                self._stop = stop if isinstance(stop, str) else None

    def _call(self, call: Mapping[str, Any]) -> Iterator[Said]:
        index, function = int(call.get("index", 0)), call.get("function") or {}
        if index not in self._calls:
            self._calls.add(index)
            self._open = index
            yield Call(index, _text(call, "id") or None, _text(function, "name"))
        elif index != self._open:
            raise ValueError("a tool call goes on after something else has begun")
        if arguments := _text(function, "arguments"):
            yield Arguments(index, arguments)


def _text(value: Mapping[str, Any], name: str) -> str:
    said = value.get(name)
    if said is not None and not isinstance(said, str):
        raise TypeError(f"{name} is {type(said).__name__}")
    return said or ""
