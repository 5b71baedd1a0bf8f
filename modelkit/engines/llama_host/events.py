"""llama-server's event streams to one client's: no event waits for another.

Most events of a plain stream pass as the bytes they are. Only one that contains something of llama-server's own
dialect is parsed. Text cannot imitate such a key: inside a JSON string its quotes are escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from modelkit.engines.llama_host.chunks import Dialect, Fold
from modelkit.engines.llama_host.request import Asked
from modelkit.engines.llama_host.upstream import dumps_error

DONE = b"data: [DONE]\n\n"

_DIALECT = re.compile(rb'"(?:timings|usage|error|__verbose|reasoning_content)":|"logprobs":\{|"content":null'
                      rb"|^(?:error:|:|data: (?:null|\[DONE\]))", re.MULTILINE)
_FINGERPRINT = re.compile(rb'"system_fingerprint":"[^"\\]*"')
_MODEL = re.compile(rb'"model":"[^"\\]*"')


def event(value: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: %s\n\n" % json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Events:
    """Splits one upstream stream into whole events; what is cut off waits for its rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """All the whole events there are, as they came."""
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n\n") + 2
        if end == 1:
            self._rest = data
            return b""
        self._rest = data[end:]
        return data[:end]


class Answer:
    """What one client reads: `feed` the parts' bytes, in any order, and send on what it returns."""

    def __init__(self, asked: Asked, fingerprint: str) -> None:
        self._asked = asked
        self._fingerprint = b'"system_fingerprint":%s' % json.dumps(fingerprint).encode()
        self._model = None if asked.model is None else b'"model":%s' % json.dumps(asked.model).encode()
        self._dialect = Dialect(asked, fingerprint)
        self._fold = Fold(asked)
        self._events = [Events() for _ in asked.parts]
        self._open = len(asked.parts)
        self.error: dict[str, Any] | None = None
        self.status = 500  # of the error, where nothing was streamed yet

    @property
    def complete(self) -> bool:
        """Whether every part said that it is done."""
        return self._open == 0

    def feed(self, part: int, data: bytes) -> bytes:
        """The events to stream for these bytes; nothing while they are being folded."""
        block = self._events[part].feed(data)
        if not block:
            return b""
        if self._asked.plain and self._asked.stream and not _DIALECT.search(block):
            return self._plain(block)
        if not self._asked.stream:
            for chunk in self._chunks(part, block):
                self._fold.add(chunk)
            return b""
        return b"".join(self._streamed(part, block))

    def whole(self) -> dict[str, Any]:
        """The folded answer."""
        return self._fold.answer(self._dialect.usage())

    def _plain(self, block: bytes) -> bytes:
        if self._asked.kind == "text":
            block = block.replace(b'"id":"chatcmpl-', b'"id":"cmpl-')
        if self._model is not None:
            block = _MODEL.sub(self._model, block)
        return _FINGERPRINT.sub(self._fingerprint, block)

    def _streamed(self, part: int, block: bytes) -> Iterator[bytes]:
        for chunk in self._chunks(part, block):
            yield event(chunk)
        if self.complete:
            if self._asked.include_usage:
                yield event(self._dialect.usage_chunk())
            yield DONE

    def _chunks(self, part: int, block: bytes) -> Iterator[dict[str, Any]]:
        for one in block.split(b"\n\n"):
            field, _, data = one.partition(b": ")
            if data == b"[DONE]":
                self._open -= 1
            elif field in (b"data", b"error") and data != b"null":
                value = json.loads(data)
                if field == b"error" or "error" in value:
                    self.error = _envelope(value.get("error", value))
                elif (chunk := self._dialect.chunk(part, value)) is not None:
                    yield chunk


def _envelope(error: dict[str, Any]) -> dict[str, Any]:
    return dumps_error(str(error.get("message", "llama.cpp failed")), "server_error", "engine_error")
