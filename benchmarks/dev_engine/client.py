"""A client that costs little: raw sockets, events counted by their bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

_DATA = b"data: {"


@dataclass(frozen=True)
class Target:
    """Where a server listens: a Unix socket's path, or a port of this machine."""

    path: str = ""
    port: int = 0
    streams: bool = True  # several streams at once can be asked of it


@dataclass
class Heard:
    """One answer. Times are `time.perf_counter` seconds; `events` are those that brought tokens."""

    began: float
    events: list[float] = field(default_factory=list)
    tokens: int = 0
    ended: float = 0.0

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.events[0] - self.began

    @property
    def gaps(self) -> list[float]:
        """Seconds between events that follow each other."""
        return [b - a for a, b in zip(self.events, self.events[1:], strict=False)]


def asked(prompt: str, tokens: int, *, stream: bool = True) -> dict[str, Any]:
    """The same request for every server; those that do not know `ignore_eos` leave it."""
    fields: dict[str, Any] = {"model": "bench", "messages": [{"role": "user", "content": prompt}],
                              "max_tokens": tokens, "temperature": 0}
    if stream:
        fields |= {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    return fields


async def ask(target: Target, request: dict[str, Any], began: float | None = None) -> Heard:
    """One request and its whole answer."""
    raw = json.dumps(request).encode()
    heard = Heard(began if began is not None else time.perf_counter())
    reader, writer = await (asyncio.open_unix_connection(target.path) if target.path else
                            asyncio.open_connection("127.0.0.1", target.port))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                 b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
    whole = bytearray()
    while data := await reader.read(1 << 18):
        at = time.perf_counter()
        start = max(0, len(whole) - len(_DATA))
        whole += data
        heard.events += [at] * whole.count(b'"content":"', start)
    heard.ended = time.perf_counter()
    writer.close()
    heard.tokens = _usage(bytes(whole))
    return heard


def _usage(answer: bytes) -> int:
    """Tokens of the answer, as the server counts them."""
    at = answer.rfind(b'"completion_tokens":')
    assert at >= 0, answer[-500:]
    digits = answer[at + 20:at + 32].lstrip().split(b",")[0].split(b"}")[0]
    return int(digits)


def first_token(target: Target) -> None:
    """Raises OSError or AssertionError while there is none."""
    raw = json.dumps(asked("Hi", 1, stream=False)).encode()
    family, at = (socket.AF_UNIX, target.path) if target.path else (socket.AF_INET, ("127.0.0.1", target.port))
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(30)
        one.connect(at)
        one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
        said = b""
        while data := one.recv(65536):
            said += data
    assert b" 200 " in said.split(b"\r\n")[0], said[:300]
