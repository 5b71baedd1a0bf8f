"""A client and applications for ASGI, with no server between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

JSON_HEADERS = ((b"content-type", b"application/json"), (b"host", b"localhost"))


@dataclass
class Answer:
    """What came back; `messages` is every ASGI message as sent."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    raised: BaseException | None = None

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.messages[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return dict(error)


@dataclass
class Application:
    """Reads the body it is given, keeps it, and answers what it was told to."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    chunks: tuple[bytes, ...] = (b'{"ok": true}',)
    reads: bool = True
    raises: Exception | None = None
    silent: bool = False
    bodies: list[bytes] = field(default_factory=list)
    scopes: list[dict[str, Any]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def request(self) -> Any:
        return json.loads(self.bodies[-1])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if self.reads:
            self.received.append(await receive())
            self.bodies.append(self.received[-1].get("body", b""))
        if self.raises is not None:
            raise self.raises
        if self.silent:
            return
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        for index, chunk in enumerate(self.chunks):
            await send({"type": "http.response.body", "body": chunk, "more_body": index + 1 < len(self.chunks)})


def call(app: Callable[..., Awaitable[None]], method: str = "POST", path: str = "/v1/chat/completions",
         body: Any = b"", *, headers: Any = JSON_HEADERS, parts: Any = None, **scope: Any) -> Answer:
    """One request. `parts` are the pieces in which the body arrives; after them the client is gone."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    pieces = [raw] if parts is None else list(parts)
    queue = [{"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
             for index, piece in enumerate(pieces)]
    answer = Answer()

    async def receive() -> dict[str, Any]:
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(message)

    async def run() -> None:
        whole = {"type": "http", "method": method, "path": path, "headers": list(headers), **scope}
        try:
            await app(whole, receive, send)
        except Exception as error:
            answer.raised = error

    asyncio.run(run())
    return answer
