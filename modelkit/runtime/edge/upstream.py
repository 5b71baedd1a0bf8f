"""The engines' side: which engine there is, the connections to it, and what is in flight on it."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, cast

from modelkit.runtime.edge.framing import KNOWN_HEADS, BadResponse, Body, Chunked, ResponseHead, UntilClose, read_head
from modelkit.runtime.edge.limits import EdgeLimits
from modelkit.runtime.edge.metrics import Counter, Metrics, Series
from modelkit.runtime.tally import Tallies

if TYPE_CHECKING:
    from modelkit.runtime.edge.asker import Asker
    from modelkit.runtime.edge.exchange import Exchange
    from modelkit.runtime.edge.mirror import Shadow

_HEAD_BYTES = 64 * 1024


@dataclass(frozen=True)
class Upstream:
    """One running engine: HTTP on a Unix socket. `version` is the 12-hex digest of what it runs.

    `tallies` are its generation's: they go on when that has another socket.
    """

    socket_path: str
    version: str
    stage: str
    engine: str
    tallies: Tallies = field(default_factory=Tallies, compare=False, repr=False)


class Backend:
    """One upstream with its pool of kept-alive connections and the exchanges in flight on it."""

    def __init__(self, upstream: Upstream, limits: EdgeLimits, metrics: Metrics) -> None:
        self.upstream = upstream
        self._model = ""
        self.exchanges: set[Exchange] = set()
        self.shadows: set[Shadow] = set()  # copies of requests, which no client waits for
        self.label(None)
        self.words = f'"stage":{json.dumps(upstream.stage)},"version":{json.dumps(upstream.version)}'  # for the log
        self.limits = limits
        self._idle: list[Link] = []
        self._retired = False
        self._emptied: asyncio.Event | None = None
        self._now = monotonic()  # as of the last sweep, which is exact enough for the pool
        self.idle_since = self._now  # without a request in flight, while there is none
        self._metrics = metrics
        self._counters: dict[tuple[str, int], Counter] = {}

    @property
    def about(self) -> dict[str, str]:
        """What the edge says of it."""
        upstream = self.upstream
        return {"stage": upstream.stage, "version": upstream.version, "engine": upstream.engine}

    def label(self, track: bytes | None) -> None:
        """What answers say of who gave them: the version, and in a split whether that is `stable` or `candidate`."""
        self.header = b"X-Modelkit-Version: %b\r\n" % self.upstream.version.encode()
        if track is not None:
            self.header += b"X-Modelkit-Track: %b\r\n" % track

    def counter(self, route: str, status: int) -> Counter:
        """Where an answer is counted."""
        known = self._counters.get((route, status))
        if known is None:
            series = Series(self.upstream.stage, self._model, self.upstream.version, route, status)
            known = self._counters[route, status] = self._metrics.counter(series)
        return known

    def take(self) -> Link | None:
        """The connection that was used last, of those that wait."""
        while self._idle:
            link = self._idle.pop()
            if not link.transport.is_closing():
                link.fresh = False
                return link
        return None

    def give_back(self, link: Link) -> None:
        if self._retired or len(self._idle) >= self.limits.pooled:
            link.transport.close()
            return
        link.idle_since = self._now
        self._idle.append(link)

    def forget(self, link: Link) -> None:
        """An idle connection was closed by the engine."""
        if link in self._idle:
            self._idle.remove(link)

    async def connect(self) -> Link:
        """A new connection. Raises OSError when there is no engine."""
        link = Link(self)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.setblocking(False)
        try:
            await self._enter(opened)
            await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=opened)
        except BaseException:
            if link.connected:  # and nobody wants it any more
                link.transport.abort()
            else:
                opened.close()
            raise
        return link

    async def _enter(self, opened: socket.socket) -> None:
        # A full accept queue refuses at once on a Unix socket (EAGAIN), and some engines' queues hold five; the
        # event loops take that for an error or, worse, for a connection.
        give_up, pause = monotonic() + self.limits.connect_seconds, 0.001
        while True:
            try:
                opened.connect(self.upstream.socket_path)
                return
            except BlockingIOError:
                if monotonic() > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    def done(self, exchange: Exchange) -> None:
        self.exchanges.discard(exchange)
        if not self.exchanges:
            self.idle_since = monotonic()
            if self._emptied is not None:
                self._emptied.set()

    async def drained(self, seconds: float) -> bool:
        """Whether nothing is in flight any more; waits for that for up to `seconds`."""
        if not self.exchanges:
            return True
        if self._emptied is None:
            self._emptied = asyncio.Event()
        self._emptied.clear()
        try:
            await asyncio.wait_for(self._emptied.wait(), seconds)
        except TimeoutError:
            return not self.exchanges
        return True

    def retire(self) -> None:
        """No new requests come: close what waits, and each connection after its answer."""
        self._retired = True
        idle, self._idle = self._idle, []
        for link in idle:
            link.transport.close()

    def open_for(self, models: frozenset[str]) -> None:
        """New requests come, for these models."""
        self._retired = False
        self._counters.clear()
        # A request's model is in its body, which is not read: only a sole model is known to be the one.
        self._model = next(iter(models)) if len(models) == 1 else ""

    def sweep(self, now: float) -> None:
        """Close connections that waited for so long that the engine may be about to."""
        self._now = now
        for shadow in tuple(self.shadows):
            if now - shadow.started > self.limits.mirror_seconds:
                shadow.expire()
        while self._idle and now - self._idle[0].idle_since > self.limits.pool_seconds:
            self._idle.pop(0).transport.close()


class Link(asyncio.Protocol):
    """One connection to an engine, at work for at most one exchange at a time."""

    __slots__ = ("_head", "_reusable", "backend", "blocked", "body", "connected", "exchange", "fresh", "idle_since",
                 "transport")

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.transport: asyncio.Transport
        self.connected = False
        self.fresh = True  # did not wait in the pool
        self.idle_since = 0.0
        self.blocked = False  # the engine reads more slowly than the client writes
        self.exchange: Asker | None = None
        self.body: Body | None = None  # of the answer, once its head is here
        self._reusable = False
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.connected = True

    def data_received(self, data: bytes) -> None:
        exchange, body = self.exchange, self.body
        if exchange is None:  # an engine speaks only when it was asked
            self.transport.abort()
            return
        try:
            if body is None:
                self._read_head(exchange, data)
                return
            if exchange.cutting and isinstance(body, Chunked) and 0 < body.left < len(data):
                data = data[:body.left]
            end = body.scan(data)
        except BadResponse as error:
            self._fault(exchange, error)
            return
        exchange.relay(data if end == len(data) else data[:end])
        if body.complete:
            self._complete(exchange, end == len(data))
        elif exchange.cutting:
            exchange.cut()

    def _read_head(self, exchange: Asker, data: bytes) -> None:
        data = self._head + data if self._head else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            start, data = data[:end], data[end + 4:]
            head = KNOWN_HEADS.get(start) or read_head(start)
            if head.status >= 200:
                self._head = b""
                self._begin(exchange, head, data)
                return
            if head.status == 101:
                raise BadResponse("a switch of protocols that nobody asked for")
        if len(data) > _HEAD_BYTES:
            raise BadResponse("a head without an end")
        self._head = data
        exchange.answering()

    def _begin(self, exchange: Asker, head: ResponseHead, data: bytes) -> None:
        self._reusable = head.keep_alive
        if head.length == len(data) and not head.chunked and not head.empty:  # a small answer, in one piece
            exchange.begin(head, None, data)
            self._complete(exchange, True)
            return
        body = self.body = head.body(collect=exchange.unchunks)
        end = body.scan(data)
        exchange.begin(head, body, data[:end])
        if body.complete:
            self._complete(exchange, end == len(data))

    def _complete(self, exchange: Asker, nothing_more: bool) -> None:
        reusable = self._reusable and nothing_more and exchange.complete
        self.release()
        if reusable:
            self.backend.give_back(self)
        else:
            self.transport.close()
        exchange.finish()

    def _fault(self, exchange: Asker, error: BadResponse) -> None:
        self.release()
        self.transport.abort()
        exchange.fail("bad_engine_response", f"the engine's answer was not HTTP: {error}")

    def release(self) -> None:
        """Part from the exchange; what was paused for it goes on."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            if exchange.paused:
                exchange.resume()
            exchange.link = None
        self.body, self._head = None, b""

    def pause_writing(self) -> None:
        self.blocked = True
        if self.exchange is not None:
            self.exchange.hold(True)

    def resume_writing(self) -> None:
        self.blocked = False
        if self.exchange is not None:
            self.exchange.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, body = self.exchange, self.body
        if exchange is None:
            self.backend.forget(self)
            return
        self.release()
        if isinstance(body, UntilClose) and exc is None:
            exchange.finish()
        else:
            exchange.lost()
