"""A client's connection: its requests one after the other, read by llhttp, answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf
from typing import TYPE_CHECKING, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from modelkit.runtime.edge.exchange import Exchange
from modelkit.runtime.edge.repeat import Repeat
from modelkit.runtime.edge.replies import Reply, refusal, unavailable
from modelkit.runtime.edge.request import Headers, Request, bad_request, judge

if TYPE_CHECKING:
    from modelkit.runtime.edge.server import Edge

_FRAMING_BYTES = 64 * 1024  # of a chunked body, in a row, without any body in it
_CUT_SECONDS = 1.0  # for an open chunk to come to its end
_MISSES = 3  # after so many this client's heads all differ


class ClientConnection(asyncio.Protocol):
    """Everything that one client has sent and not yet got an answer to.

    The requests after the first wait in a short queue. When an answer is to end the connection, what comes after its
    request is read and thrown away (`deaf`), so that the client gets to read the answer and not a reset.
    """

    __slots__ = ("_current", "_deadline", "_head_open", "_headers", "_held", "_incoming", "_last", "_lingering",
                 "_misses", "_parser", "_queue", "_read", "_repeat", "_resuming", "_skipped", "_target", "_unfinished",
                 "blocked", "deaf", "edge", "peer", "transport")

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.transport: asyncio.Transport
        self.peer = ""
        self.blocked = False  # the client reads more slowly than the engine writes
        self.deaf = False
        self._held = False  # we do not read: the engine reads more slowly than the client writes
        self._lingering = False  # all is said; what still comes in is read until the client has gone
        self._deadline = inf
        self._parser = HttpRequestParser(self)
        self._target = b""
        self._headers: Headers = []
        self._head_open = False  # a request's head has begun and not ended
        self._read = 0  # bytes of the present read
        self._unfinished = 0  # bytes of an open head, or of a body's framing since the last bit of body
        self._skipped = self._resuming = False  # see `_restart`
        self._repeat: Repeat | None = None
        self._misses = 0  # heads that were not the one before
        self._incoming: Exchange | None = None  # whose body is coming in
        self._current: Exchange | None = None  # which is being answered
        self._last: Exchange | None = None  # after which nothing is answered
        self._queue: deque[Exchange] = deque()

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        self._deadline = self.edge.now + self.edge.limits.head_seconds
        self.edge.connections.add(self)
        if len(self.edge.connections) > self.edge.limits.connections:
            self._refuse(unavailable("too many connections", self.edge.limits.retry_after, "too_many_connections"))

    def data_received(self, data: bytes) -> None:
        if self.deaf or (self._repeat is not None and self._known_again(data)):
            return
        before = self._incoming
        progress = before.bytes_in if before is not None else 0
        alone = not self._head_open and (before is None or before.complete)
        self._read = len(data)
        self._feed(data)
        incoming = self._incoming
        if incoming is not None and incoming.complete:
            self._deadline = inf
            self.deaf = self._last is not None
            if alone and incoming is self._current and incoming.reply is None and self._misses < _MISSES:
                self._repeat = Repeat.of(data, incoming.request, self.edge.access, self.edge.limits.body_bytes)
        elif not self.deaf:
            self._expect_more(incoming, incoming is before and incoming is not None and incoming.bytes_in == progress)
        self.pump()

    def eof_received(self) -> None:
        # A client that is done writing has nearly always gone; to wait for a failed write would keep the engine at
        # work. The transport closes after what has been written.
        self._abandon("client_gone")

    def connection_lost(self, exc: Exception | None) -> None:
        self._abandon("client_gone")
        self.deaf = True
        self.edge.connections.discard(self)
        del self._parser  # it holds our methods

    def pause_writing(self) -> None:
        self.blocked = True
        self._deadline = self.edge.now + self.edge.limits.stall_seconds
        if self._current is not None:
            self._current.pause()

    def resume_writing(self) -> None:
        self.blocked = False
        self._rest()
        if self._current is not None:
            self._current.resume()

    # What the parser reports.

    def on_message_begin(self) -> None:
        if not self._resuming:
            self._target, self._headers, self._incoming, self._head_open = b"", [], None, True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_open:  # else it is a trailer
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._resuming:
            self._resuming = False
            return
        parser, limits = self._parser, self.edge.limits
        seen, self._unfinished, self._head_open = self._unfinished + self._read, 0, False
        if self._last is not None:
            return  # and the body finds no exchange
        headers, self._headers = self._headers, []
        request = Request(parser.get_method(), self._target, parser.get_http_version(), headers,
                          parser.should_keep_alive())
        reply: Reply | None
        if len(self._queue) >= limits.pipelined:
            reply = bad_request("too many requests at once on one connection")
        elif len(headers) > limits.headers or (seen > limits.head_bytes < _size(self._target, headers)):
            reply = _HEAD_TOO_LARGE
        else:
            reply = judge(request, self.edge.access, limits)
        self._skipped = request.upgrades and request.has_body
        self._incoming = Exchange(self, request, request.length, reply)
        self._enqueue(self._incoming)

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None:
            self._incoming.receive(body)

    def on_message_complete(self) -> None:
        if self._incoming is not None and not self._skipped:
            self._incoming.received()

    # Reading.

    def _known_again(self, data: bytes) -> bool:
        """Take a request whose head is known, when nothing else is going on."""
        repeat = self._repeat
        if repeat is None or self._current is not None or self._head_open:
            return False
        length = repeat.length_of(data, self.edge.access)
        if length is None:
            self._repeat = None
            self._misses += 1
            return False
        self._incoming = self._current = exchange = Exchange(self, repeat.request, length, None)
        if length:
            exchange.receive(data[-length:])
        exchange.complete = True
        self._deadline = inf
        self.pump()
        return True

    def _feed(self, data: bytes) -> None:
        try:
            while data:
                try:
                    self._parser.feed_data(data)
                    return
                except HttpParserUpgrade as upgrade:
                    data = data[upgrade.args[0]:]
                    self._restart()
        except HttpParserCallbackError:
            raise  # our bug: the loop reports it and drops the connection
        except HttpParserError as error:
            self._malformed(str(error))

    def _restart(self) -> None:
        """Go on after an offer of another protocol (h2c), which we do not take: the parser takes it for agreed, and
        the request's body for the other protocol's."""
        self._parser = HttpRequestParser(self)
        incoming = self._incoming
        if self._skipped and incoming is not None:
            self._skipped, self._resuming = False, True
            framing = b"Transfer-Encoding: chunked" if incoming.request.chunked else (
                b"Content-Length: %d" % incoming.request.length)
            self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)

    def _expect_more(self, incoming: Exchange | None, idle: bool) -> None:
        """After a read that ended inside of a request."""
        limits = self.edge.limits
        if incoming is None:
            if self._unfinished == 0:
                self._deadline = self.edge.now + limits.head_seconds
            self._unfinished += self._read
            if self._unfinished > limits.head_bytes:
                self._refuse(_HEAD_TOO_LARGE)
            return
        self._deadline = self.edge.now + limits.body_seconds
        self._unfinished = self._unfinished + self._read if idle else 0
        if self._unfinished > _FRAMING_BYTES:
            self._malformed("a chunked body without a body")
        elif incoming.link is None and incoming.reply is None and incoming.waiting > limits.replay_bytes:
            self.hold(True)  # until it has a connection

    def hold(self, on: bool) -> None:
        """Whether to stop reading, because what was read can't be passed on."""
        if on is self._held:
            return
        self._held = on
        if on:
            self.transport.pause_reading()
            self._deadline = inf
        else:
            self.transport.resume_reading()
            if self._incoming is not None and not self._incoming.complete:
                self._deadline = self.edge.now + self.edge.limits.body_seconds

    def _malformed(self, what: str) -> None:
        incoming = self._incoming
        if self._last is not None and (incoming is None or incoming.complete):
            return  # comes after the last request: nobody will look at it
        reply = bad_request(f"this is not HTTP: {what}")
        if incoming is not None and not incoming.complete:
            self.deaf = True
            incoming.refuse(reply)
        else:
            self._refuse(reply)

    def _refuse(self, reply: Reply) -> None:
        """Answer what can't be read, after everything before it, and read no more."""
        self.deaf = True
        self._head_open = False
        self._enqueue(Exchange(self, Request(b"", b"", "1.1", [], False), 0, reply))
        self.pump()

    def _enqueue(self, exchange: Exchange) -> None:
        if exchange.close or (exchange.reply is not None and exchange.reply.close):
            self._last = exchange
        if self._current is None:
            self._current = exchange
        else:
            self._queue.append(exchange)

    # Answering.

    def pump(self) -> None:
        """Go on with the current request; where the edge answers, with the next one too."""
        while (exchange := self._current) is not None:
            if exchange.reply is None:
                exchange.advance()
                if exchange.reply is None:
                    return
            if exchange.status == 0:
                self._answer(exchange, exchange.reply)
            exchange.leave()
            self._next(exchange)

    def _answer(self, exchange: Exchange, reply: Reply) -> None:
        edge, request = self.edge, exchange.request
        exchange.status = reply.status
        exchange.close = exchange.close or reply.close or not exchange.complete or edge.closing
        if reply.reason:
            exchange.outcome = reply.reason
            edge.metrics.rejected(reply.reason)
        self.transport.write(reply.encode(exchange.id, edge.version_header, head_only=request.head_only,
                                          close=exchange.close))

    def finished(self, exchange: Exchange) -> None:
        """The current exchange is over; called by itself."""
        self._next(exchange)
        if self._current is not None:
            self.pump()

    def _next(self, exchange: Exchange) -> None:
        if self._held:
            self.hold(False)
        self._current = None
        if exchange.close:
            self._shut(exchange.complete)
        else:
            if self._queue:
                self._current = self._queue.popleft()
            self._rest()

    @property
    def writable(self) -> bool:
        return not self.transport.is_closing()

    # Ends.

    def _rest(self) -> None:
        """Set the deadline of the state that this connection has come to."""
        if self._current is not None:
            self._deadline = inf
        elif not self.blocked and not self._lingering and not self._head_open:
            self._deadline = self.edge.now + self.edge.limits.idle_seconds

    def _shut(self, all_read: bool) -> None:
        """Close after what was written. Unread input would turn the close into a reset, so some more is read."""
        self.deaf = True
        self._queue.clear()
        if all_read or not self.writable:
            self.transport.close()
            return
        self._lingering = True
        self._deadline = self.edge.now + self.edge.limits.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _abandon(self, outcome: str) -> None:
        current, self._current = self._current, None
        self._queue.clear()
        if current is not None:
            current.abandon(outcome)

    def expire_soon(self) -> None:
        """The current answer is being cut, and waits for the end of a chunk."""
        self._deadline = self.edge.now + _CUT_SECONDS

    def close_if_idle(self) -> None:
        """Close unless a request is here, or on its way."""
        if self._current is None and not self._head_open and not self._lingering:
            self.transport.close()

    def abort(self) -> None:
        self._abandon("cut")
        self.transport.abort()

    def sweep(self, now: float) -> None:
        """Act on a deadline that has passed."""
        if now < self._deadline:
            return
        self._deadline = inf
        incoming = self._incoming
        if self._lingering or self.blocked or (self._current is not None and self._current.cutting):
            self._abandon("stalled" if self.blocked else "cut")
            self.transport.abort()
        elif self._head_open:
            self._refuse(_TOO_SLOW)
        elif incoming is not None and not incoming.complete:
            self.deaf = True
            incoming.refuse(_TOO_SLOW)
            self.pump()
        else:
            self.transport.close()


_HEAD_TOO_LARGE = refusal(431, "headers_too_large", "the headers are too many or too long", close=True)
_TOO_SLOW = refusal(408, "request_timeout", "the request did not arrive in time", close=True)


def _size(target: bytes, headers: Headers) -> int:
    return len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
