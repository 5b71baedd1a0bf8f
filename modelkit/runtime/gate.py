"""The supervisor's hold on the edge: generations in its words, upstreams in the edge's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modelkit.failure import Failure
from modelkit.runtime.edge import Access, Edge, Metrics, Upstream, bind
from modelkit.runtime.edge.access import is_loopback
from modelkit.runtime.edge.replies import unavailable
from modelkit.runtime.generation import Generation
from modelkit.runtime.logs import RotatingFile

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle

_FLUSH = 0.25  # seconds
_WILDCARDS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


class Give(Protocol):
    """`Edge.split` or `Edge.mirror`."""

    def __call__(self, upstream: Upstream | None, share: float = 0.0, *, models: frozenset[str] = frozenset(),
                 slot: str = "") -> None:
        """Give an upstream its share, or take it back."""


class EdgeGate:
    """One address, and a place behind it for each model."""

    def __init__(self, access_log: RotatingFile, measures: Callable[[], Iterable[str]]) -> None:
        self.endpoint = ""
        self._edge: Edge | None = None
        self._log, self._lines = access_log, list[str]()
        self._metrics = Metrics()
        self._metrics.extra = measures

    async def bind(self, host: str, port: int, key_hashes: Sequence[str], hosts: Sequence[str]) -> None:
        """Take the address and begin to answer (503, until `open`). Raises Failure `port-busy` and its like."""
        sockets = bind(host, port, keyed=bool(key_hashes))
        shown = _WILDCARDS.get(host, host)
        bracketed = f"[{shown}]" if ":" in shown else shown
        self.endpoint = f"http://{bracketed}:{sockets[0].getsockname()[1]}"
        self._edge = Edge(sockets=sockets, access=_access(key_hashes, hosts), log=self._line,
                          metrics=self._metrics)
        await self._edge.start()

    def admit(self, host: str, key_hashes: Sequence[str], hosts: Sequence[str]) -> None:
        """From now on these keys and Host names, and no others."""
        if not key_hashes and not is_loopback(host):
            raise Failure("key-required", f"`{host}` can be reached from other machines and no API key is set",
                          "set MODELKIT_API_KEY, or `modelkit down` and serve on 127.0.0.1")
        self._bound.access = _access(key_hashes, hosts)

    def slots(self, names: Sequence[str]) -> dict[str, SlotGate]:
        """A place for each of several models; with one, requests are not looked into."""
        self._bound.open_slots(names)
        return {name: SlotGate(self._bound, name) for name in names}

    def in_flight(self, generation: Generation) -> int:
        """A generation may have more than one socket, while it grows."""
        return sum(count for upstream, count in self._bound.in_flight.items()
                   if _below(upstream, generation.directory))

    async def close(self, seconds: float) -> None:
        """Stop accepting, drain for up to `seconds`, cut the rest. Calling it again with less hurries it."""
        if self._edge is not None:
            await self._edge.close(seconds)
        self._flush()
        self._log.close()

    @property
    def _bound(self) -> Edge:
        assert self._edge is not None, "bind comes first"
        return self._edge

    def _line(self, line: str) -> None:
        # Written in bunches: one system call for each request would cost more than the relay itself.
        if not self._lines:
            asyncio.get_running_loop().call_later(_FLUSH, self._flush)
        self._lines.append(line)

    def _flush(self) -> None:
        if self._lines:
            self._log.write("\n".join([*self._lines, ""]).encode())
            self._lines.clear()


class SlotGate:
    """One model's place at the edge."""

    def __init__(self, edge: Edge, name: str) -> None:
        self._edge, self._name = edge, name

    def announce(self, bundle: Bundle) -> None:
        """These models there are to be."""
        self._edge.announce(_cards(bundle), self._name)

    def open(self, generation: Generation) -> None:
        """New requests go to this one; those in flight elsewhere stay there."""
        cards = _cards(generation.bundle)
        self._edge.reject(None, self._name)
        self._edge.route(_upstream(generation), models=frozenset(cards), cards=cards, slot=self._name)

    def shut(self, reason: str | None = None) -> None:
        """New requests get a 503 and are told to come again."""
        self._edge.route(None, slot=self._name)
        self._edge.reject(reason, self._name)

    def split(self, generation: Generation | None, share: float) -> None:
        """This share of new conversations goes to a candidate; None takes it back."""
        self._beside(self._edge.split, generation, share)

    def mirror(self, generation: Generation | None, share: float) -> None:
        """Copies of this share of new conversations go to a candidate, whose answers nobody gets; None ends it."""
        self._beside(self._edge.mirror, generation, share)

    def _beside(self, give: Give, generation: Generation | None, share: float) -> None:
        if generation is None:
            give(None, slot=self._name)
        else:
            give(_upstream(generation), share, models=frozenset(_cards(generation.bundle)), slot=self._name)

    def sleep(self, wake: Callable[[], None]) -> None:
        """New requests wait, and each calls `wake`, until the gate is opened, or shut."""
        self._edge.sleep(wake, self._name)

    def fail(self, reason: str) -> None:
        """Those that wait are told this; the next one is welcome."""
        self._edge.fail(unavailable(reason, self._edge.limits.retry_after), self._name)

    def idle_seconds(self) -> float | None:
        """For how long there has been no request; None while there is one."""
        return self._edge.idle_seconds(self._name)

    async def empty(self, directory: Path, seconds: float) -> None:
        """Let requests in flight on sockets there finish for up to `seconds`, then end them with an error saying so.

        `directory` is a generation's, or one engine's.
        """
        async def leave(upstream: Upstream) -> None:
            if not await self._edge.drained(upstream, seconds):
                self._edge.cut(upstream)

        await asyncio.gather(*(leave(upstream) for upstream in self._edge.in_flight if _below(upstream, directory)))


def _cards(bundle: Bundle) -> dict[str, dict[str, Any]]:
    """The bundle's models as `/v1/models` shows them."""
    from modelkit.runtime.edge.slot import cards_of

    plan = bundle.plan
    return cards_of(plan.profile) if plan.profile else {plan.name: {"id": plan.name, "object": "model"}}


def _access(key_hashes: Sequence[str], hosts: Sequence[str]) -> Access:
    return Access(tuple(bytes.fromhex(key) for key in key_hashes), frozenset(hosts))


def _below(upstream: Upstream, directory: Path) -> bool:
    return Path(upstream.socket_path).is_relative_to(directory)


def _upstream(generation: Generation) -> Upstream:
    return Upstream(str(generation.socket), generation.version, generation.stage,
                    generation.bundle.plan.engine_name, generation.tallies)
