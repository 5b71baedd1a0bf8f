"""One HTTP/1.1 exchange with llama-server over its Unix socket: raw protocol, no client library.

A connection serves one exchange. A Unix socket costs less to open than a pool costs to keep right: llama-server
closes idle connections after five seconds, and closing one is how it learns that a client went away.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools

_HIGH_WATER = 1 << 20
"""Bytes read ahead of a slow client before we stop reading."""


class UpstreamLost(Exception):
    """llama-server cannot be reached, or went away before its answer was complete."""


class Exchange(asyncio.Protocol):
    """One request and its answer, as it arrives."""

    def __init__(self) -> None:
        self.status = 0
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._complete = False
        self._lost = False
        self._waiter: asyncio.Future[None] | None = None

    async def head(self) -> int:
        """The status, as soon as it is known."""
        while not self.status:
            await self._arrival()
        return self.status

    async def read(self) -> bytes:
        """What has arrived of the body since the last call, at least one byte; b"" when it is complete."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._arrival()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def body(self) -> bytes:
        """All of the body."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def close(self) -> None:
        """Give the exchange up; llama-server stops generating for it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _arrival(self) -> None:
        if self._lost:
            raise UpstreamLost("llama-server went away")
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream transport, by construction

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._lost = True
            self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = not self._complete
        self._wake()

    # httptools

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = True


class Upstream:
    """llama-server at a Unix socket."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def open(self, method: str, path: str, body: bytes = b"") -> Exchange:
        """Send a request; its answer comes through the Exchange. Raises UpstreamLost when nobody listens."""
        try:
            transport, exchange = await asyncio.get_running_loop().create_unix_connection(Exchange, self._socket)
        except OSError as error:
            raise UpstreamLost(f"llama-server is not there: {error.strerror}") from None
        transport.write(b"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
                        % (method.encode(), path.encode(), len(body), body))
        return exchange

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """A short exchange: status and whole body."""
        exchange = await self.open(method, path, body)
        try:
            return await exchange.head(), await exchange.body()
        finally:
            exchange.close()


def dumps_error(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """OpenAI's envelope."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
