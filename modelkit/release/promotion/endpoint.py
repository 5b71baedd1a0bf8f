"""What promotions need of the address and of the engines behind it; the runtime's client fits, through the CLI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from modelkit.platforms.bundle import Bundle
from modelkit.release.promotion.counts import Counts


@dataclass(frozen=True)
class Running:
    """One engine that runs. `ready` and `restarts` as they are now; `load_seconds` is 0 where nobody measured it."""

    generation: int
    socket: str
    bundle_digest: str
    stage: str = ""
    ready: bool = True
    restarts: int = 0
    memory: int = 0  # bytes that it holds
    load_seconds: float = 0.0


class Endpoint(Protocol):
    """The project's address and the engines behind it."""

    def routed(self) -> Running | None:
        """What new requests go to."""

    def look(self, generation: int) -> Running | None:
        """One engine as it is now; None when it is gone."""

    def bundle(self, generation: int) -> Bundle:
        """What it was started with."""

    def running(self, bundle: Bundle) -> Running | None:
        """The ready engine of this very bundle, if there is one, routed or not."""

    def start(self, bundle: Bundle) -> Running:
        """Start it beside the others, not routed; it stops if we go away before `switch`."""

    def switch(self, generation: int, keep_warm: float) -> None:
        """Route new requests to it. What served before drains, and stays ready for so many seconds."""

    def stop(self, generation: int, drain: float = 0) -> None:
        """Stop one, with so many seconds for requests in flight; if it is routed, new ones wait for the next."""

    def cool(self) -> None:
        """Stop what is only kept warm."""

    def split(self, generation: int, share: float | None) -> None:
        """From now on it gets this part (0 to 1) of new conversations; None takes that back."""

    def mirror(self, generation: int, share: float | None) -> None:
        """From now on it gets copies of this part of new requests, their answers thrown away; None takes that back."""

    def counts(self, generation: int, *, mirrored: bool = False) -> Counts:
        """What it has answered since it started: to clients, or to copies of requests."""
