"""What an engine has answered: requests, errors, and how long they took, by bucket."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate


@dataclass(frozen=True)
class Histogram:
    """How many took how long. `bounds` are the buckets' upper ends in seconds; `counts` has one more, for the rest."""

    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts)

    def __sub__(self, before: Histogram) -> Histogram:
        if not before.counts:
            return self
        return Histogram(self.bounds, tuple(now - was for now, was in zip(self.counts, before.counts, strict=True)))

    def at_rank(self, rank: float) -> float:
        """Seconds of the value that has this rank (1 is the smallest), on a straight line through its bucket.

        What is beyond the last bound counts as that bound: so long, at least.

        >>> Histogram((1.0, 2.0, 4.0), (10, 10, 0, 0)).at_rank(15)
        1.5
        """
        below = list(accumulate(self.counts))
        at = min(bisect_left(below, rank), len(self.bounds))
        if at == len(self.bounds):
            return self.bounds[-1] if self.bounds else 0.0
        low, high = (self.bounds[at - 1] if at else 0.0), self.bounds[at]
        before = below[at - 1] if at else 0
        return low + (high - low) * (rank - before) / max(1, self.counts[at])

    def quantile(self, q: float) -> float:
        return self.at_rank(max(1.0, q * self.total))


@dataclass(frozen=True)
class Counts:
    """`errors` are answers of 500 and more, and answers that began and did not end; `refused` other refusals. Times
    are of good answers."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    ttft: Histogram = field(default_factory=Histogram)
    duration: Histogram = field(default_factory=Histogram)

    def __sub__(self, before: Counts) -> Counts:
        return Counts(self.requests - before.requests, self.errors - before.errors,
                      self.refused - before.refused, self.ttft - before.ttft, self.duration - before.duration)


def histogram(bounds: Sequence[float], counts: Sequence[int]) -> Histogram:
    """A histogram of what a supervisor said. Raises ValueError for what is none."""
    if len(counts) != len(bounds) + 1:
        raise ValueError(f"{len(bounds)} bounds need {len(bounds) + 1} counts, not {len(counts)}")
    return Histogram(tuple(map(float, bounds)), tuple(map(int, counts)))
