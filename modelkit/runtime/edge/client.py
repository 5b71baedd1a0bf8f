"""A client's connection: its requests are answered in order, one after the other, until one side has enough."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from math import inf
from typing import TYPE_CHECKING, cast

from modelkit.runtime.edge.exchange import Exchange
from modelkit.runtime.edge.reader import RequestReader
from modelkit.runtime.edge.replies import Reply, for_path, refusal, unavailable
from modelkit.runtime.edge.request import Request

if TYPE_CHECKING:
    from modelkit.runtime.edge.server import Edge

_CUT_SECONDS = 1.0  # for an open chunk to come to its end
_LEFT = (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT in Linux's netinet/tcp.h
_TOO_SLOW = refusal(408, "request_timeout", "the request did not arrive in time", close=True)


class ClientConnection(asyncio.Protocol):
    """Everything that one client has sent and not yet got an answer to.

    The requests after the first wait in a short queue. When an answer is to end the connection, what comes after its
    request is read and thrown away (`deaf`), so that the client gets to read the answer and not a reset.
    """

    __slots__ = ("_deadline", "_lingering", "_queue", "_reader", "blocked", "current", "deaf", "edge", "held",
                 "last",
                 "peer", "transport")

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.transport: asyncio.Transport
        self.peer = ""
        self.current: Exchange | None = None  # the one that is being answered
        self.last: Exchange | None = None  # the one after which nothing is answered
        self.blocked = False  # the client reads more slowly than the engine writes
        self.deaf = False
        self._queue: deque[Exchange] = deque()
        self._reader = RequestReader(self)
        self.held = False  # we do not read: the engine reads more slowly than the client writes
        self._lingering = False  # all is said; what still comes in is read until the client has gone
        self._deadline = inf

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        self.expect_within(self.edge.limits.head_seconds)
        self.edge.connections.add(self)
        if len(self.edge.connections) > self.edge.limits.connections:
            self.refuse(unavailable("too many connections", self.edge.limits.retry_after, "too_many_connections"))

    def data_received(self, data: bytes) -> None:
        if not self.deaf:
            self._reader.read(data)
            self.pump()

    def eof_received(self) -> None:
        # A client that is done writing has nearly always gone; to wait for a failed write would keep the engine at
        # work. The transport closes after what has been written.
        self._abandon("client_gone")
        self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._abandon("client_gone")
        self.deaf = True
        self._reader.close()
        self.edge.connections.discard(self)

    def pause_writing(self) -> None:
        self.blocked = True
        self._deadline = min(self._deadline, self.edge.now + self.edge.limits.stall_seconds)
        if self.current is not None:
            self.current.pause()

    def resume_writing(self) -> None:
        self.blocked = False
        self._rest()
        if self.current is not None:
            self.current.resume()

    # What the reader reports.

    @property
    def queued(self) -> int:
        """How many requests wait behind the current one."""
        return len(self._queue)

    def enqueue(self, exchange: Exchange) -> None:
        """A request has come in, or what can't be one and has its reply."""
        if exchange.close or (exchange.reply is not None and exchange.reply.close):
            self.last = exchange
        if self.current is None:
            self.current = exchange
        else:
            self._queue.append(exchange)

    def refuse(self, reply: Reply) -> None:
        """Answer what can't be read, after everything before it, and read no more."""
        self.deaf = True
        if (incomplete := self._reader.incomplete) is not None:
            incomplete.refuse(reply)
        else:
            self.enqueue(Exchange(self, Request(b"", b"", "1.1", [], False), 0, reply))
        self.pump()

    def has_all(self) -> None:
        """There is nothing to wait for from the client."""
        self.deaf = self.last is not None
        if not self.blocked:
            self._deadline = inf

    def expect_within(self, seconds: float) -> None:
        """More has to come from the client."""
        if not self.blocked:
            self._deadline = self.edge.now + seconds

    # What exchanges report.

    @property
    def writable(self) -> bool:
        return not self.transport.is_closing()

    def hold(self, on: bool) -> None:
        """Whether to stop reading, because what was read can't be passed on."""
        if on is self.held:
            return
        self.held = on
        if on:
            self.transport.pause_reading()
            if not self.blocked:
                self._deadline = inf
        else:
            self.transport.resume_reading()
            if self._reader.incomplete is not None:
                self.expect_within(self.edge.limits.body_seconds)

    def expire_soon(self) -> None:
        """The current answer is being cut, and waits for the end of a chunk."""
        self._deadline = self.edge.now + _CUT_SECONDS

    def finished(self, exchange: Exchange) -> None:
        """The current exchange is over; called by itself."""
        self._next(exchange)
        if self.current is not None:
            self.pump()

    # Answering.

    def pump(self) -> None:
        """Go on with the current request; where the edge answers, with the next one too."""
        while (exchange := self.current) is not None:
            if exchange.reply is None:
                exchange.advance()
                if exchange.reply is None:
                    return
            if exchange.status == 0:
                self._answer(exchange, exchange.reply)
            exchange.leave()
            self._next(exchange)

    def _answer(self, exchange: Exchange, reply: Reply) -> None:
        edge = self.edge
        exchange.status = reply.status
        exchange.close = exchange.close or reply.close or not exchange.complete or edge.closing
        if reply.reason:
            exchange.outcome = reply.reason
            edge.metrics.rejected(reply.reason)
        said = for_path(reply, exchange.request.path)
        self.transport.write(said.encode(exchange.id, edge.version_header, head_only=exchange.request.head_only,
                                         close=exchange.close))

    def _next(self, exchange: Exchange) -> None:
        if self.held:
            self.hold(False)
        self.current = None
        if exchange.close:
            self._shut(exchange.complete)
        else:
            if self._queue:
                self.current = self._queue.popleft()
            self._rest()

    # Ends.

    def _rest(self) -> None:
        """Set the deadline of the state that this connection has come to."""
        cutting = self.current is not None and self.current.cutting
        if self.blocked or cutting or self._lingering or self._reader.head_open or self.transport.is_closing():
            return
        self._deadline = inf if self.current is not None else self.edge.now + self.edge.limits.idle_seconds

    def _shut(self, all_read: bool) -> None:
        """Close after what was written. Unread input would turn the close into a reset, so some more is read."""
        self.deaf = True
        self._queue.clear()
        if all_read or not self.writable:
            self._close()
            return
        self._lingering = True
        self._deadline = self.edge.now + self.edge.limits.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _close(self) -> None:
        self.transport.close()
        # What is not yet written has its time too.
        self._deadline = min(self._deadline, self.edge.now + self.edge.limits.stall_seconds)

    def _abandon(self, outcome: str) -> None:
        current, self.current = self.current, None
        self._queue.clear()
        if current is not None:
            current.abandon(outcome)

    def close_if_idle(self) -> None:
        """Close unless a request is here, or on its way."""
        if self.current is None and not self._reader.head_open and not self._lingering:
            self._close()

    def abort(self, outcome: str = "cut") -> None:
        self._abandon(outcome)
        self.transport.abort()

    def _has_left(self) -> bool:
        """Whether the client closed its side. Where we do not read, only the kernel knows (Linux)."""
        if not hasattr(socket, "TCP_INFO"):
            return False
        try:
            info = self.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return True
        return info[0] in _LEFT

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed, and on a client that left unseen."""
        if self.held and self._has_left():
            self.abort("client_gone")
        if now < self._deadline:
            return
        self._deadline = inf
        if self.blocked:
            self.abort("stalled")
        elif self._lingering or self.transport.is_closing() or (self.current is not None and self.current.cutting):
            self.abort()
        elif self._reader.head_open or self._reader.incomplete is not None:
            self.refuse(_TOO_SLOW)
        else:
            self._close()
