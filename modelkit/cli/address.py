"""The runtime's client, as promotions want to see it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli.narrator import Narrator
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.release.promotion.counts import Counts, Histogram
from modelkit.release.promotion.endpoint import Running

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.client import Client

_LONGEST = 21  # doublings of the shortest time: 210 s


class Address:
    """One Modelfile's address and engines under its supervisor."""

    def __init__(self, client: Client, modelfile: Path, terminal: Terminal) -> None:
        self._client, self._modelfile = client, os.path.realpath(modelfile)
        self._narrate, self._terminal = Narrator(terminal), terminal

    @property
    def base_url(self) -> str:
        return f"{self._client.endpoint}/v1"

    def routed(self) -> Running | None:
        return next((_running(one) for one in self._generations() if one["routed"]), None)

    def look(self, generation: int) -> Running | None:
        return next((_running(one) for one in self._generations() if one["id"] == generation), None)

    def running(self, bundle: Bundle) -> Running | None:
        return next((_running(one) for one in self._generations()
                     if one["digest"] == bundle.digest and one["phase"] == "ready"), None)

    def bundle(self, generation: int) -> Bundle:
        from modelkit.platforms.bundle import Bundle

        return Bundle.from_json(self._client.bundle(generation))

    def plan(self, generation: int) -> Plan:
        """What it was planned as."""
        from modelkit.planning.plan import Plan

        return Plan.model_validate(self._client.plan(generation))

    def start(self, bundle: Bundle) -> Running:
        with self._interruptible():
            started = self._client.start(bundle, self._narrate)
        found = self.look(started["generation"])
        if found is None:
            raise Failure("engine-exited", f"the engine of stage `{bundle.plan.stage}` ended as soon as it was ready",
                          hint="`modelkit logs` says why")
        return found

    def switch(self, generation: int, keep_warm: float) -> None:
        self._client.switch(generation, self._narrate, keep_warm=keep_warm)

    def stop(self, generation: int, drain: float = 0) -> None:
        """Of the one that serves, new requests wait until another has the address, or this command ends."""
        self._client.stop(generation, self._narrate, drain=drain, hold=True)

    def cool(self) -> None:
        for one in self._generations():
            if one.get("warm") is not None:
                self._client.stop(one["id"], self._narrate, drain=0)

    def restore(self) -> None:
        """Bring back what served when the supervisor last died, if nothing serves. That it can't start is only said."""
        try:
            with self._interruptible():
                self._client.restore(self._narrate)
        except Failure as failure:
            self._terminal.note(f"what served before could not be brought back: {failure.message}")

    def split(self, generation: int, share: float | None) -> None:
        self._client.split(generation, share)

    def mirror(self, generation: int, share: float | None) -> None:
        self._client.mirror(generation, share)

    def counts(self, generation: int, *, mirrored: bool = False) -> Counts:
        return counts_of(self._client.counts(generation)["mirrored" if mirrored else "served"])

    def _generations(self) -> list[dict[str, Any]]:
        return [one for one in self._client.status()["generations"] if one["modelfile"] in ("", self._modelfile)]

    def _interruptible(self) -> _Reconnecting:
        return _Reconnecting(self._reconnect)

    def _reconnect(self) -> None:
        """What an interrupted request began is undone when its connection closes; the next ones need another."""
        from modelkit.runtime.client import connect

        self._client.close()
        if (again := connect(self._client.project)) is None:
            raise Failure("supervisor-died", "the supervisor of this project ended", "run the command again")
        self._client = again


class _Reconnecting:
    def __init__(self, reconnect: Callable[[], None]) -> None:
        self._reconnect = reconnect

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, Failure):
            self._reconnect()


def counts_of(said: Mapping[str, Any]) -> Counts:
    """A supervisor's counts of one side."""
    return Counts(said["requests"], said["errors"], said["refused"], _histogram(said["ttft"]["buckets"]),
                  _histogram(said["duration"]["buckets"]))


def _histogram(buckets: Mapping[str, int]) -> Histogram:
    from modelkit.runtime.tally import SHORTEST, STEPS

    bounds = tuple(SHORTEST * 2 ** (n / STEPS) for n in range(STEPS * _LONGEST))
    counts = [0] * (len(bounds) + 1)
    for at, count in buckets.items():
        counts[min(int(at), len(bounds))] += count
    return Histogram(bounds, tuple(counts))


def _running(about: Mapping[str, Any]) -> Running:
    return Running(about["id"], about["socket"], about["digest"], about["stage"], about["phase"] == "ready",
                   about["restarts"], about["rss"], about.get("load_seconds", 0.0))
