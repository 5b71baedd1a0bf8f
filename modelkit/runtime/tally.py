"""What one generation has answered, in counts that can be subtracted: two looks say what was between them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Any

STEPS = 16
"""Buckets in each doubling of a time: their bounds are 4.4 % apart."""
SHORTEST = 0.0001  # seconds; bucket 0 ends here, bucket n at SHORTEST * 2 ** (n / STEPS)
_BOUNDS = [SHORTEST * 2 ** (n / STEPS) for n in range(STEPS * 27)]  # the last holds all from three hours

_ENGINE_FAILED = frozenset({"engine_stopped", "bad_engine_response"})


class Spread:
    """How times are spread: fine enough for percentiles to be compared, and of a size that does not grow."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_BOUNDS, seconds)] += 1
        self.total += seconds

    def as_json(self) -> dict[str, Any]:
        return {"sum": self.total, "buckets": {str(at): count for at, count in enumerate(self.counts) if count}}


class Tally:
    """Requests and how they ended. Times are of good answers only: a refusal is quick."""

    __slots__ = ("abandoned", "duration", "errors", "refused", "requests", "ttft")

    def __init__(self) -> None:
        self.requests = self.errors = self.refused = self.abandoned = 0
        self.ttft, self.duration = Spread(), Spread()

    def note(self, status: int, outcome: str, seconds: float, first: float | None) -> None:
        """One request is over: its status, `ok` or why its answer has no end, and when its stream began."""
        self.requests += 1
        if status < 400 and outcome == "ok":  # first: nearly all there are
            self.duration.observe(seconds)
        elif status >= 500 or outcome in _ENGINE_FAILED:
            self.errors += 1
            return
        elif status < 400 or outcome in ("client_gone", "stalled", "cut"):
            self.abandoned += 1
        else:
            self.refused += 1
        if first is not None:
            self.ttft.observe(first)

    def as_json(self) -> dict[str, Any]:
        return {"requests": self.requests, "errors": self.errors, "refused": self.refused,
                "abandoned": self.abandoned, "ttft": self.ttft.as_json(), "duration": self.duration.as_json()}


@dataclass
class Tallies:
    """Of one generation: what it answered to clients, and to copies of requests; `skipped` are copies left out."""

    served: Tally = field(default_factory=Tally)
    mirrored: Tally = field(default_factory=Tally)
    skipped: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"served": self.served.as_json(), "mirrored": self.mirrored.as_json() | {"skipped": self.skipped}}
