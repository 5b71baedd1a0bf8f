"""Did the engine keep up? A queue that grows makes every time a matter of how long was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelkit.release.bench.loads import Closed
from modelkit.release.bench.result import BenchResult, Sample

_FEWEST = 20  # arrivals to judge by
_UNSERVED = 0.05  # part of the load
_GAIN = 1.05  # more tokens than that a second are more
_MORE = 1.5  # times as many clients are more clients


@dataclass(frozen=True)
class Backlog:
    """Whether answers fell behind arrivals, and what shows it."""

    grows: bool
    shows: str = ""


def backlog(samples: Sequence[Sample]) -> Backlog:
    """Does the queue of an open loop grow?

    Requests underway are counted as each arrives, and the mean of the last quarter is compared with the second (the
    first fills the engine). What grew by arrivals between the two is the part of the load that the engine does not
    serve: arrivals less departures, whatever their distribution. It must be more than one in twenty, and more than
    chance: with random arrivals and enough servers the number underway varies like a Poisson variable, with its mean
    as variance (the queue M/G/infinity), so three standard deviations of a difference are asked for.
    """
    quarter = len(samples) // 4
    if len(samples) < _FEWEST:
        return Backlog(False)
    earlier = [one.underway for one in samples[quarter:2 * quarter]]
    later = [one.underway for one in samples[-quarter:]]
    before, after = sum(earlier) / quarter, sum(later) / quarter
    between = len(samples) - quarter - quarter  # arrivals from the middle of one quarter to the middle of the other
    unserved = (after - before) / between
    if unserved <= _UNSERVED or after - before <= max(2.0, 3 * math.sqrt(2 * before)):
        return Backlog(False)
    return Backlog(True, f"the queue grew from {before:.0f} to {after:.0f} requests: the engine answers about "
                   f"{100 * (1 - unserved):.0f} % of what arrives")


def plateau(before: BenchResult, after: BenchResult) -> BenchResult:
    """`after`, marked as saturated where more clients than in `before` bring no more tokens."""
    if not isinstance(before.load, Closed) or not isinstance(after.load, Closed):
        return after
    had, has = before.metrics.get("tokens_per_second"), after.metrics.get("tokens_per_second")
    if had is None or has is None or after.load.concurrency < _MORE * before.load.concurrency or has > _GAIN * had:
        return after
    note = f"no more tokens than with {before.load.concurrency} at a time: they only wait longer"
    return after.model_copy(update={"saturated": True, "notes": (*after.notes, note)})
