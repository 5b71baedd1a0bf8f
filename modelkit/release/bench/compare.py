"""Is one benchmark better than another, or is that chance?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from modelkit.failure import Failure
from modelkit.release.bench.document import BenchDocument
from modelkit.release.bench.loads import Closed, Load
from modelkit.release.bench.result import LATENCIES, PERCENTILES, BenchResult, Sample, enough, times


class Change(BaseModel):
    """One metric of two runs. `ratio` is now to then, between `low` and `high` at 95 %."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    load: str
    metric: str
    before: float
    after: float
    ratio: float
    low: float
    high: float
    verdict: Literal["better", "worse", "same"]


def compare(before: BenchDocument, after: BenchDocument, *, tolerance: float = 0.05, seed: int = 0,
            rounds: int = 1000) -> tuple[Change, ...]:
    """How each metric that both measured changed, load by load.

    Requests are drawn anew from each run, with replacement and with all their gaps, `rounds` times; the ratio's
    interval is between the 2.5th and the 97.5th percentile of those (B. Efron's percentile bootstrap, 1979; requests
    and not gaps are drawn because the gaps of one answer depend on each other). A metric is better or worse when the
    whole interval is on one side of 1 and the ratio is off by more than `tolerance`; else it is the same. Throughput
    is compared in closed loops only: in an open loop it is what was asked for.

    Raises Failure when the runs asked for different things: then a ratio means nothing.
    """
    if before.workload != after.workload:
        raise Failure("other-workload", "the two benchmarks asked for different things, so they cannot be compared",
                      hint="run this one with the other's prompts and lengths",
                      detail=(f"then: {before.workload}", f"now:  {after.workload}"))
    pairs = [(old, new) for new in after.runs for old in before.runs if old.load == new.load]
    if not pairs:
        raise Failure("other-load", "the two benchmarks have no load in common",
                      hint="run this one with " + " or ".join(_words(one.load) for one in before.runs))
    draw = _Draw(np.random.default_rng(seed), rounds)
    return tuple(change for old, new in pairs for change in _changes(old, new, tolerance, draw))


def _words(load: Load) -> str:
    return f"--concurrency {load.concurrency}" if isinstance(load, Closed) else f"--rate {load.rate:g}"


def _changes(old: BenchResult, new: BenchResult, tolerance: float, draw: _Draw) -> list[Change]:
    was, now = _answered(old), _answered(new)
    found = []
    if isinstance(new.load, Closed) and {"tokens_per_second"} <= old.metrics.keys() & new.metrics.keys():
        then, today = (_speeds(one, draw) for one in (was, now))
        found.append(_change(old, new, "tokens_per_second", today / then, tolerance, more_is_better=True))
    for latency in LATENCIES:
        names = [name for name in PERCENTILES if f"{latency}.{name}" in old.metrics.keys() & new.metrics.keys()
                 and min(len(times(was, latency)), len(times(now, latency))) >= enough(f"{latency}.{name}")]
        if not names:
            continue
        shares = [PERCENTILES[name] for name in names]
        then, today = (_quantiles(one, latency, shares, draw) for one in (was, now))
        found += [_change(old, new, f"{latency}.{name}", today[:, at] / np.maximum(then[:, at], 1e-9), tolerance)
                  for at, name in enumerate(names)]
    return found


def _change(old: BenchResult, new: BenchResult, metric: str, ratios: NDArray[np.float64], tolerance: float, *,
            more_is_better: bool = False) -> Change:
    before, after = old.metrics[metric], new.metrics[metric]
    ratio = after / max(before, 1e-9)
    low, high = (float(one) for one in np.quantile(ratios, (0.025, 0.975)))
    verdict: Literal["better", "worse", "same"] = "same"
    if abs(ratio - 1) > tolerance and (low > 1 or high < 1):
        verdict = "better" if (ratio > 1) == more_is_better else "worse"
    return Change(load=str(new.load), metric=metric, before=before, after=after, ratio=ratio, low=low, high=high,
                  verdict=verdict)


def _answered(result: BenchResult) -> list[Sample]:
    return [one for one in result.samples if one.error is None]


@dataclass(frozen=True)
class _Draw:
    """Samples drawn anew, so many times."""

    chance: np.random.Generator
    rounds: int

    def __call__(self, count: int, work: Callable[[NDArray[np.intp]], Any]) -> NDArray[np.float64]:
        return np.array([work(self.chance.integers(0, count, count)) for _ in range(self.rounds)])


def _speeds(samples: Sequence[Sample], draw: _Draw) -> NDArray[np.float64]:
    """Tokens a second of one client, of samples drawn anew."""
    tokens = np.array([one.tokens or 0 for one in samples], dtype=float)
    seconds = np.array([one.e2e for one in samples])
    return draw(len(samples), lambda drawn: tokens[drawn].sum() / max(seconds[drawn].sum(), 1e-9))


def _quantiles(samples: Sequence[Sample], latency: str, shares: Sequence[float], draw: _Draw) -> NDArray[np.float64]:
    """Quantiles of a latency, a row a round.

    A request that is drawn twice counts twice: its values get that weight, so that nothing is copied. The quantile is
    then the smallest value at which the weights reach the share.
    """
    values, owners = _values(samples, latency)
    order = np.argsort(values, kind="stable")
    values, owners = values[order], owners[order]

    def of(drawn: NDArray[np.intp]) -> Any:
        reached = np.cumsum(np.bincount(drawn, minlength=len(samples))[owners])
        return values[np.minimum(np.searchsorted(reached, np.array(shares) * reached[-1]), len(values) - 1)]

    return draw(len(samples), of)


def _values(samples: Sequence[Sample], latency: str) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """All values of a latency, and which sample each is of."""
    if latency == "itl":
        of = [(gap, at) for at, one in enumerate(samples) for gap in one.itl]
    else:
        of = [(value, at) for at, one in enumerate(samples) if (value := getattr(one, latency)) is not None]
    return np.array([value for value, _ in of]), np.array([at for _, at in of], dtype=np.intp)
