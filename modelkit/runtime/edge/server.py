"""The edge: one stable address in front of engines that come and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from modelkit.runtime.edge.access import Access
from modelkit.runtime.edge.client import ClientConnection
from modelkit.runtime.edge.division import Part
from modelkit.runtime.edge.exchange import Exchange
from modelkit.runtime.edge.journal import Journal
from modelkit.runtime.edge.limits import EdgeLimits
from modelkit.runtime.edge.metrics import CONTENT_TYPE, Labels, Metrics, Series
from modelkit.runtime.edge.mirror import mirror
from modelkit.runtime.edge.replies import Reply, json_reply, unavailable
from modelkit.runtime.edge.routes import HEALTH, METRICS, MODEL, MODELS, READY, Route
from modelkit.runtime.edge.slot import Slot, asked_for, listed, ready_reply
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
        self._slots: dict[str, Slot] = {"": Slot()}
        self._sole: Slot | None = self._slots[""]
        self._rejecting: str | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        for opened in self._sockets:
            self._servers.append(await loop.create_server(lambda: ClientConnection(self), sock=opened, backlog=BACKLOG))
        self._sweep()

    def open_slots(self, names: Iterable[str]) -> None:
        """The places that there are to be at this address; with one, bodies are not read. Before any is used."""
        self._slots = {name: Slot() for name in names}
        self._sole = next(iter(self._slots.values())) if len(self._slots) == 1 else None
        self._choose()

    def route(self, upstream: Upstream | None, *, models: frozenset[str] = frozenset(),
              cards: Mapping[str, Mapping[str, Any]] | None = None, slot: str = "") -> None:
        """From now on a slot's new requests go to `upstream`, or get a 503; those in flight stay where they are."""
        here = self._slots[slot]
        previous, here.routed, here.wake = here.routed, None, None
        if upstream is not None:
            here.routed = self._backend(upstream, models)
            here.cards = cards if cards is not None else {name: {"id": name, "object": "model"} for name in models}
        self._choose()
        if previous is not None and previous is not here.routed:
            previous.retire()
        self._go_on(here)

    def split(self, upstream: Upstream | None, share: float = 0.0, *, models: frozenset[str] = frozenset(),
              slot: str = "") -> None:
        """From now on this share of a slot's conversations goes to `upstream`, beside what is routed; None ends it.

        A request may ask for a side by `X-Modelkit-Version: candidate` or `stable`, or by a version. What a candidate
        breaks off before it has begun to answer, what is routed answers.
        """
        here = self._slots[slot]
        before, here.candidate = here.candidate, None
        if upstream is not None:
            here.candidate = Part(self._backend(upstream, models), share)
        self._choose()
        self._let_go(before)

    def mirror(self, upstream: Upstream | None, share: float = 0.0, *, models: frozenset[str] = frozenset(),
               slot: str = "") -> None:
        """From now on copies of this share of a slot's conversations go to `upstream`, and its answers nowhere."""
        here = self._slots[slot]
        before, here.mirrored = here.mirrored, None
        if upstream is not None:
            here.mirrored = Part(self._backend(upstream, models), share)
        self._choose()
        if before is not None and (here.mirrored is None or here.mirrored.backend is not before.backend):
            for shadow in tuple(before.backend.shadows):
                shadow.cut()
        self._let_go(before)

    def _backend(self, upstream: Upstream, models: frozenset[str]) -> Backend:
        """The one of this upstream, open for requests."""
        backend = self._backends.setdefault(upstream, Backend(upstream, self.limits, self.metrics))
        backend.open_for(models)
        return backend

    def _let_go(self, part: Part | None) -> None:
        """A backend whose share has ended gets nothing new, unless it has another or serves."""
        if part is not None and not self._is_used(part.backend):
            part.backend.label(None)
            part.backend.retire()

    def announce(self, cards: Mapping[str, Mapping[str, Any]], slot: str = "") -> None:
        """The models that a slot is to have, before it has an engine."""
        here = self._slots[slot]
        here.cards = here.cards or cards

    def sleep(self, wake: Callable[[], None], slot: str = "") -> None:
        """A slot has no engine for now: its requests wait, and call `wake`, until there is a route again."""
        here = self._slots[slot]
        self.route(None, slot=slot)
        here.wake, here.rejecting = wake, None
        self._choose()

    def fail(self, reply: Reply, slot: str = "") -> None:
        """The engine did not wake: those that wait are told so; the next one is welcome to try."""
        for exchange in self._slots[slot].release():
            exchange.refuse(reply)
            exchange.client.pump()

    def idle_seconds(self, slot: str = "") -> float | None:
        """For how long no request has been in flight on a slot's engine; None while one is, or there is no engine."""
        backend = self._slots[slot].routed
        return None if backend is None or backend.exchanges else monotonic() - backend.idle_since

    def _go_on(self, slot: Slot) -> None:
        for exchange in slot.release():
            exchange.client.pump()

    async def drained(self, upstream: Upstream, seconds: float) -> bool:
        """Whether no request is in flight on `upstream`; waits for that for up to `seconds`."""
        backend = self._backends.get(upstream)
        return backend is None or await backend.drained(seconds)

    def cut(self, upstream: Upstream) -> None:
        """End what is in flight on `upstream`: streams with a last event that says so, the rest with a 502."""
        if (backend := self._backends.get(upstream)) is not None:
            for exchange in tuple(backend.exchanges):
                exchange.cut()

    def reject(self, reason: str | None, slot: str | None = None) -> None:
        """Answer new requests with 503 and this sentence, and be not ready; None takes it back.

        Without a slot, all of them.
        """
        if slot is None:
            self._rejecting = reason
        else:
            self._slots[slot].rejecting = reason
        self._choose()
        for here in self._slots.values():
            if self._rejecting is not None or here.rejecting is not None:
                self._go_on(here)

    def _choose(self) -> None:
        for slot in self._slots.values():
            slot.label()
        routed, sole = self._routed, self._sole
        known = sole is not None and self._rejecting is None and not sole.divided
        self.serving = sole.serving if sole is not None and known else None
        self.version_header = routed.header if routed else b""

    @property
    def _routed(self) -> Backend | None:
        """The only backend that there can be."""
        return self._sole.routed if self._sole is not None else None

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
            for shadow in tuple(backend.shadows):
                shadow.cut()
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
                if backend.exchanges or self._is_used(backend)}

    def _is_used(self, backend: Backend) -> bool:
        """Whether new requests may go there."""
        return any(backend is one for slot in self._slots.values() for one in slot.backends)

    # For the connections.

    def place(self, exchange: Exchange) -> None:
        """Find out who answers a request: an engine, one that has to wake first, or the edge itself."""
        route = exchange.request.route
        if not route.relayed or self._rejecting is not None:
            exchange.reply = self.reply_to(route)
            return
        slot = self._sole
        if route in (MODELS, MODEL) and (slot is None or (slot.wake is not None and slot.rejecting is None)):
            exchange.reply = listed(self._slots.values(), exchange.request.path, one=route is MODEL)
            return
        body = b""
        if slot is None or slot.divided:
            gathered = exchange.gathered()
            if gathered is None:
                return
            body = gathered
        if slot is None:
            found = asked_for(body, self._slots.values())
            if isinstance(found, Reply):
                exchange.reply = found
                return
            slot = found
        answers, copies = slot.sides(exchange.request, body, exchange.client.peer)
        if answers is not None:
            if answers is not slot.routed:
                exchange.spare = slot, body
            exchange.dispatch(answers)
            if copies is not None:
                mirror(copies, exchange.request.for_engine(exchange.id, len(body)) + exchange.framed(body))
        elif slot.wake is not None and slot.rejecting is None:
            slot.park(exchange)
        else:
            exchange.reply = self._unavailable(slot)

    def reply_to(self, route: Route) -> Reply:
        """The edge's own answer to a request that may pass: none of an engine is wanted, or to be had."""
        if route is HEALTH:
            return json_reply({"status": "ok"})
        if route is METRICS:
            return Reply(200, self.exposition().encode(), content_type=CONTENT_TYPE)
        slots = self._slots.values()
        if route is READY and self._rejecting is None and all(slot.available for slot in slots):
            return ready_reply(slots)
        return self._unavailable(next((slot for slot in slots if not slot.available), None))

    def _unavailable(self, slot: Slot | None) -> Reply:
        reason = self._rejecting or (slot.rejecting if slot is not None else None)
        routed = any(one.routed is not None for one in ([slot] if slot is not None else self._slots.values()))
        draining = reason is not None and (self.closing or routed)
        return unavailable(reason or "the engine is not ready yet", self.limits.retry_after,
                           "draining" if draining else "engine_unavailable")

    def exposition(self) -> str:
        """The text of /metrics."""
        in_flight: dict[Labels, int] = {(("stage", upstream.stage), ("version", upstream.version)): count
                     for upstream, count in self.in_flight.items()}
        return self.metrics.render(in_flight, self._info(), len(self.connections))

    def _info(self) -> Iterator[Labels]:
        for slot in self._slots.values():
            if slot.routed is not None:
                model = {} if self._sole is not None else {"model": next(iter(slot.cards), "")}
                yield tuple((slot.routed.about | model).items())

    def record(self, exchange: Exchange) -> None:
        """One request is over: count it, and log it."""
        backend = exchange.backend or self._routed
        took = monotonic() - exchange.started
        status = exchange.status or _CLIENT_CLOSED
        first = exchange.first_at - exchange.started if exchange.first_at is not None else None
        route = exchange.request.route.label
        counter = backend.counter(route, status) if backend is not None else (
            self.metrics.counter(Series("", "", "", route, status)))
        if exchange.backend is not None:
            exchange.backend.upstream.tallies.served.note(status, exchange.outcome, took, first)
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
            if not (backend.exchanges or backend.shadows or self._is_used(backend)):
                del self._backends[upstream]
        self._sweeping = asyncio.get_running_loop().call_later(self.limits.tick, self._sweep)
