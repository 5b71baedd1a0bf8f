"""What a benchmark saw, one request at a time, and the numbers that it comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from modelkit.release.bench.limits import Held, Limit
from modelkit.release.bench.loads import Closed, Open
from modelkit.release.verdict import Verdict

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
LATENCIES = ("ttft", "itl", "e2e")
_MOST_EXACT = 2000  # values up to which the binomial is summed; the normal distribution is near enough beyond


class Sample(BaseModel):
    """One measured request; times in seconds from when it was due (`due` itself from the run's start)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    due: float
    late: float = 0.0  # sent so much after it was due
    underway: int = 0  # requests that were not answered yet when it was sent
    ttft: float | None = None
    itl: tuple[float, ...] = ()
    e2e: float
    tokens: int | None = None
    prompt_tokens: int | None = None
    error: str | None = None

    def within(self, limits: Sequence[Limit]) -> bool:
        """Was it answered within every limit? An `itl` limit is about an answer's mean, and not met by an answer of
        one chunk: it showed nothing."""
        mean = sum(self.itl) / len(self.itl) if self.itl else None
        seen = {"ttft": self.ttft, "itl": mean, "e2e": self.e2e}
        values = [(limit, seen[limit.latency]) for limit in limits if limit.latency]
        return self.error is None and all(value is not None and limit.met(value) for limit, value in values)


class BenchResult(BaseModel):
    """One load, measured. `metrics` has the names of EXPECT, in seconds, fractions and tokens a second; what could
    not be measured is not in it. `saturated`: the engine did not keep up, so its times say nothing of a normal day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    load: Annotated[Closed | Open, Field(discriminator="kind")]
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = Field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    seconds: float
    saturated: bool = False
    notes: tuple[str, ...] = ()
    limits: tuple[Held, ...] = ()
    verdict: Verdict = "pass"
    tool: Literal["modelkit", "vllm"] = "modelkit"

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def numbers(samples: Sequence[Sample], seconds: float, limits: Sequence[Limit]) -> dict[str, float]:
    """The metrics of measured requests over so many seconds."""
    if not samples:
        return {}
    answered = [one for one in samples if one.error is None]
    found = {"errors": 1 - len(answered) / len(samples), "requests_per_second": len(answered) / seconds}
    for latency in LATENCIES:
        if len(values := times(answered, latency)):
            found |= {f"{latency}.{name}": float(np.quantile(values, share)) for name, share in PERCENTILES.items()}
    if answered and all(one.tokens is not None for one in answered):
        found["tokens_per_second"] = sum(one.tokens or 0 for one in answered) / seconds
    if any(limit.latency for limit in limits):
        found["goodput"] = sum(one.within(limits) for one in answered) / seconds
    return found


def times(samples: Sequence[Sample], latency: str) -> NDArray[np.float64]:
    """All values of a latency."""
    if latency == "itl":
        return np.array([gap for one in samples for gap in one.itl])
    return np.array([value for one in samples if (value := getattr(one, latency)) is not None])


def intervals(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Between which values each percentile lies, at 95 %; percentiles of too few samples have none."""
    answered = [one for one in samples if one.error is None]
    found = {}
    for latency in LATENCIES:
        values = np.sort(times(answered, latency))
        for name, share in PERCENTILES.items():
            if (bounds := _bounds(len(values), share)) is not None:
                found[f"{latency}.{name}"] = (float(values[bounds[0]]), float(values[bounds[1]]))
    return found


def enough(metric: str) -> int:
    """How many samples a percentile must have before it counts: so many that at 95 % one of them lies beyond it.

    That is the least sample whose largest value bounds the percentile at that confidence (S. S. Wilks, "Determination
    of Sample Sizes for Setting Tolerance Limits", 1941): 5 for p50, 29 for p90, 59 for p95, 299 for p99. Other metrics
    are about all requests, and 29 of them.
    """
    share = PERCENTILES.get(metric.partition(".")[2], 0.9)
    return math.ceil(math.log(0.05) / math.log(share))


def _bounds(count: int, share: float) -> tuple[int, int] | None:
    """Places of the order statistics that bound a quantile at 95 % or more, by the binomial distribution of how many
    values lie below it (W. J. Conover, "Practical Nonparametric Statistics", 3.2); None where there are too few."""
    if count < math.ceil(math.log(0.025) / math.log(max(share, 1 - share))):
        return None
    if count > _MOST_EXACT:
        reach = 1.96 * math.sqrt(count * share * (1 - share))
        return max(0, math.floor(count * share - reach)), min(count - 1, math.ceil(count * share + reach))
    at = np.arange(count + 1)
    logs = np.cumsum(np.concatenate(([0.0], np.log((count - at[:-1]) / at[1:]))))
    below = np.cumsum(np.exp(logs + at * math.log(share) + (count - at) * math.log(1 - share)))
    low = int(np.searchsorted(below, 0.025, side="right"))
    high = int(np.searchsorted(below, 0.975, side="left"))
    return max(0, low - 1), min(count - 1, high)
