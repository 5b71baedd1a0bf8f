"""Every waiting time of the runtime in one place, so that tests can shorten them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds, unless the name says otherwise. What a single engine needs (`start_seconds`) is its Launch's."""

    drain: float = 30.0  # requests in flight get this long when an engine is to go
    probe_every: float = 0.1  # between two looks at a starting engine
    backoff_first: float = 1.0  # doubled after each crash
    backoff_most: float = 60.0
    steady: float = 600.0  # healthy for so long, and earlier crashes are forgotten
    crashes: int = 5  # so many crashes (a count) ...
    crash_window: float = 600.0  # ... within this long, and the engine is given up
    idle: float = 10.0  # a supervisor that nobody gave anything to do goes away
    watch: float = 1.0  # between two looks at our own run directory
    orphan_grace: float = 5.0  # SIGTERM to SIGKILL for engines whose supervisor died
    last_words: float = 1.0  # for the output of a dead engine to arrive; a grandchild may hold the pipe for ever

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Timing:
        return cls(**value)
