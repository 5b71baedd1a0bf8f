"""Asks a model over the OpenAI API and times the answer: what tests, benchmarks and gates have in common.

Times are the client's, from a monotonic clock: they start when the request is sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

_CONNECT, _READ = 10.0, 300.0  # seconds
_LONGEST = 16 * 1024 * 1024  # bytes of one event


@dataclass(frozen=True)
class Target:
    """Where a model answers: an address (`http://host:port/v1`), or an engine's Unix socket, and the model's name."""

    base_url: str
    model: str
    key: str | None = field(default=None, repr=False)
    socket: str | None = None


@dataclass(frozen=True)
class ToolCall:
    """A call as the model wrote it; `arguments` is the raw text, JSON or not."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Answer:
    """A whole answer. `error` says why there is none: the request failed, which says nothing about the model.

    `first` and `gaps` are seconds to the first token and between chunks; None and empty when nothing was streamed.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    logprobs: tuple[dict[str, Any], ...] = ()
    status: int | None = None
    error: str | None = None
    seconds: float = 0.0
    first: float | None = None
    gaps: tuple[float, ...] = ()

    @property
    def tokens(self) -> int | None:
        """Tokens of the answer as the engine counted them; never guessed."""
        counted = self.usage.get("completion_tokens")
        return counted if isinstance(counted, int) else None


class Client:
    """A pool of connections to one target. Close it."""

    def __init__(self, target: Target, *, connections: int = 256, read_timeout: float = _READ) -> None:
        self.target = target
        headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=target.socket, limits=limits),
            base_url=target.base_url, headers=headers, trust_env=False, follow_redirects=False,
            timeout=httpx.Timeout(read_timeout, connect=_CONNECT))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def get(self, path: str) -> Any:
        """A JSON document of the target. Raises httpx.HTTPError, or ValueError for what is none."""
        answer = await self._http.get(path)
        answer.raise_for_status()
        return answer.json()

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and JSON (None for what is none) of one plain request. Raises httpx.HTTPError."""
        answer = await self._http.post(path, json=body)
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None

    async def chat(self, body: dict[str, Any]) -> Answer:
        """One streamed chat completion; `model`, `stream` and the wish for usage are added. Never raises for a fault
        of the other side: `Answer.error` says it."""
        sent = {"model": self.target.model, **body, "stream": True, "stream_options": {"include_usage": True}}
        began = time.perf_counter()
        read = _Reading(began)
        try:
            async with self._http.stream("POST", "chat/completions", json=sent) as response:
                if response.status_code != 200:
                    said = _error(await response.aread())
                    return Answer(status=response.status_code, error=f"{response.status_code}: {said}",
                                  seconds=time.perf_counter() - began)
                async for event in _events(response):
                    try:
                        read.take(event)
                    except (TypeError, AttributeError):
                        raise ValueError(f"no part of an answer: {json.dumps(event)[:80]}") from None
        except (httpx.HTTPError, ValueError) as error:
            return read.answer(200 if read.begun else None, str(error) or type(error).__name__)
        return read.answer(200, read.error or (None if read.finish_reason else "the stream ended before the answer"))


class _Reading:
    """An answer that is being put together from the events of its stream."""

    def __init__(self, began: float) -> None:
        self._began, self._last = began, began
        self._text, self._reasoning = list[str](), list[str]()
        self._calls = dict[int, tuple[str, list[str]]]()
        self._logprobs, self._gaps = list[dict[str, Any]](), list[float]()
        self._first: float | None = None
        self._usage = dict[str, Any]()
        self.finish_reason: str | None = None
        self.error: str | None = None
        self.begun = False

    def take(self, event: dict[str, Any]) -> None:
        self.begun = True
        if isinstance(problem := event.get("error"), dict):
            self.error = str(problem.get("message"))
            return
        if isinstance(usage := event.get("usage"), dict):
            self._usage = usage
        for choice in event.get("choices") or ():
            self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or {}
        text, reasoning = delta.get("content"), delta.get("reasoning") or delta.get("reasoning_content")
        if not isinstance(text or "", str) or not isinstance(reasoning or "", str):
            raise TypeError
        calls = delta.get("tool_calls") or ()
        if text or reasoning or calls:
            now = time.perf_counter()
            if self._first is None:
                self._first = now - self._began
            else:
                self._gaps.append(now - self._last)
            self._last = now
        self._text.append(text or "")
        self._reasoning.append(reasoning or "")
        for call in calls:
            function = call.get("function") or {}
            name, arguments = self._calls.setdefault(call.get("index", 0), ("", []))
            self._calls[call.get("index", 0)] = (name or function.get("name") or "", arguments)
            arguments.append("" + (function.get("arguments") or ""))
        self._logprobs.extend((choice.get("logprobs") or {}).get("content") or ())
        self.finish_reason = choice.get("finish_reason") or self.finish_reason

    def answer(self, status: int | None, error: str | None) -> Answer:
        calls = tuple(ToolCall(name, "".join(parts)) for _, (name, parts) in sorted(self._calls.items()))
        return Answer("".join(self._text), "".join(self._reasoning), calls, self.finish_reason, self._usage,
                      tuple(self._logprobs), status, error, time.perf_counter() - self._began, self._first,
                      tuple(self._gaps))


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects of a stream of server-sent events. Raises ValueError for what is none."""
    async for line in _lines(response):
        if not line.startswith(b"data:") or (data := line[5:].strip()) == b"[DONE]":
            continue
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise ValueError(f"not an event: {data[:80].decode(errors='replace')}")
        yield event


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """Lines as streams of events have them: a U+2028 in a text ends none, as it would with httpx's own."""
    left = bytearray()
    async for piece in response.aiter_bytes():
        left += piece
        *lines, rest = left.split(b"\n")
        left = bytearray(rest)
        for line in lines:
            yield bytes(line)
        if len(left) > _LONGEST:
            raise ValueError("a line of the stream does not end")
    yield bytes(left)


def _error(raw: bytes) -> str:
    try:
        return str(json.loads(raw)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return raw[:200].decode(errors="replace") or "no reason given"
