"""The edge: one stable address in front of engines that come and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from modelkit.runtime.edge.access import Access
from modelkit.runtime.edge.client import ClientConnection
from modelkit.runtime.edge.exchange import Exchange
from modelkit.runtime.edge.journal import Journal
from modelkit.runtime.edge.limits import EdgeLimits
from modelkit.runtime.edge.metrics import CONTENT_TYPE, Labels, Metrics, Series
from modelkit.runtime.edge.replies import Reply, json_reply, unavailable
from modelkit.runtime.edge.routes import HEALTH, METRICS, READY, Route
from modelkit.runtime.edge.sockets import BACKLOG
from modelkit.runtime.edge.upstream import Backend, Upstream

_CLIENT_CLOSED = 499  # what nginx made customary for a client that did not wait
_BROKEN = frozenset({"client_gone", "engine_stopped", "bad_engine_response", "stalled", "cut"})
_FAREWELL_SECONDS = 1.0


class Edge:
    """Accepts on sockets that are bound already, lets through what may pass, and relays bytes to the routed engine.

    Everything happens on one event loop. `log` gets one JSON line for each request: no bodies, keys or query strings.
    """

    def __init__(self, *, sockets: Sequence[socket.socket], access: Access, metrics: Metrics | None = None,
                 limits: EdgeLimits | None = None, log: Callable[[str], object] | None = None) -> None:
        self.access = access
        self.metrics = metrics or Metrics()
        self.limits = limits or EdgeLimits()
        self.connections: set[ClientConnection] = set()
        self.closing = False
        self.now = monotonic()  # as of the last sweep: exact enough for deadlines
        self.version_header = b""
        self.serving: Backend | None = None  # where new requests go
        self._journal = Journal(log) if log is not None else None
        self._sockets = list(sockets)
        self._servers: list[asyncio.Server] = []
        self._backends: dict[Upstream, Backend] = {}
        self._routed: Backend | None = None
        self._rejecting: str | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        for opened in self._sockets:
            self._servers.append(await loop.create_server(lambda: ClientConnection(self), sock=opened, backlog=BACKLOG))
        self._sweep()

    def route(self, upstream: Upstream | None, *, models: frozenset[str] = frozenset()) -> None:
        """From now on new requests go to `upstream`, or get a 503; those in flight stay where they are."""
        previous, self._routed = self._routed, None
        if upstream is not None:
            self._routed = self._backends.setdefault(upstream, Backend(upstream, self.limits, self.metrics))
            self._routed.open_for(models)
        self.version_header = self._routed.header if self._routed else b""
        self._choose()
        if previous is not None and previous is not self._routed:
            previous.retire()

    async def drained(self, upstream: Upstream, seconds: float) -> bool:
        """Whether no request is in flight on `upstream`; waits for that for up to `seconds`."""
        backend = self._backends.get(upstream)
        return backend is None or await backend.drained(seconds)

    def cut(self, upstream: Upstream) -> None:
        """End what is in flight on `upstream`: streams with a last event that says so, the rest with a 502."""
        if (backend := self._backends.get(upstream)) is not None:
            for exchange in tuple(backend.exchanges):
                exchange.cut()

    def reject(self, reason: str | None) -> None:
        """Answer new requests with 503 and this sentence, and be not ready; None takes it back."""
        self._rejecting = reason
        self._choose()

    def _choose(self) -> None:
        self.serving = self._routed if self._rejecting is None else None

    async def close(self, drain: float) -> None:
        """Stop accepting, let what is in flight end for up to `drain` seconds, cut the rest, close everything.

        A second call with less time hurries the first.
        """
        self.closing = True
        self.reject(self._rejecting or "this server is stopping")
        for server in self._servers:
            server.close()
        for opened in self._sockets:
            opened.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        await asyncio.gather(*(backend.drained(drain) for backend in self._backends.values()))
        for upstream, backend in self._backends.items():
            self.cut(upstream)
            backend.retire()
        farewell = monotonic() + _FAREWELL_SECONDS
        while self.connections and monotonic() < farewell:  # last words may still be in the buffers
            for connection in tuple(self.connections):
                connection.close_if_idle()
            await asyncio.sleep(0.01)
        for connection in tuple(self.connections):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()

    @property
    def in_flight(self) -> dict[Upstream, int]:
        """How many requests each engine is working on; one that is no longer routed stays until it has none."""
        return {upstream: len(backend.exchanges) for upstream, backend in self._backends.items()
                if backend.exchanges or backend is self._routed}

    # For the connections.

    def reply_to(self, route: Route) -> Reply:
        """The edge's own answer to a request that may pass: none of an engine is wanted, or to be had."""
        if route is HEALTH:
            return json_reply({"status": "ok"})
        if route is METRICS:
            return Reply(200, self.exposition().encode(), content_type=CONTENT_TYPE)
        if route is READY and self.serving is not None:
            return json_reply({"status": "ready", **self._described(self.serving)})
        draining = self._rejecting is not None and (self.closing or self._routed is not None)
        return unavailable(self._rejecting or "the engine is not ready yet", self.limits.retry_after,
                           "draining" if draining else "engine_unavailable")

    def exposition(self) -> str:
        """The text of /metrics."""
        in_flight: dict[Labels, int] = {(("stage", upstream.stage), ("version", upstream.version)): count
                     for upstream, count in self.in_flight.items()}
        return self.metrics.render(in_flight, self._info(), len(self.connections))

    def _info(self) -> Iterator[Labels]:
        if self._routed is not None:
            yield tuple(self._described(self._routed).items())

    @staticmethod
    def _described(backend: Backend) -> dict[str, str]:
        upstream = backend.upstream
        return {"stage": upstream.stage, "version": upstream.version, "engine": upstream.engine}

    def record(self, exchange: Exchange) -> None:
        """One request is over: count it, and log it."""
        backend = exchange.backend or self._routed
        took = monotonic() - exchange.started
        status = exchange.status or _CLIENT_CLOSED
        first = exchange.first_at - exchange.started if exchange.first_at is not None else None
        route = exchange.request.route.label
        counter = backend.counter(route, status) if backend is not None else (
            self.metrics.counter(Series("", "", "", route, status)))
        counter.answered(took if exchange.backend is not None else None, first)
        if exchange.outcome in _BROKEN:
            self.metrics.broken(exchange.outcome)
        if self._journal is not None:
            self._journal.note(exchange, backend, status, took, first)

    def _sweep(self) -> None:
        now = self.now = monotonic()
        for connection in tuple(self.connections):
            connection.sweep(now)
        for upstream, backend in tuple(self._backends.items()):
            backend.sweep(now)
            if backend is not self._routed and not backend.exchanges:
                del self._backends[upstream]
        self._sweeping = asyncio.get_running_loop().call_later(self.limits.tick, self._sweep)
