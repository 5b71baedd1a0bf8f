"""Confidence intervals of 95 %, the same at each run: shares by Wilson, means over answers by a clustered bootstrap."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Z95 = 1.959964
"""Of the normal distribution, for 95 %, both sides together."""

_RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate and between what it lies with 95 % confidence."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        return {"value": round(self.value, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


def wilson(hits: int, of: int) -> Interval:
    """A share (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927). It stays
    honest at 0 and 1, where the textbook's interval has no width."""
    if of == 0:
        return Interval(math.nan, 0.0, 1.0)
    share, spread = hits / of, Z95 * Z95 / of
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def clustered(values: Sequence[Sequence[float]]) -> Interval:
    """The mean of all values, whole answers drawn again with replacement: tokens of one answer depend on each other.

    The percentile interval of B. Efron's bootstrap (1979), clusters resampled as by C. A. Field and A. H. Welsh
    ("Bootstrapping clustered data", 2007). Few answers make it too narrow.
    """
    sums = [(sum(one), len(one)) for one in values if one]
    if not sums:
        return Interval(math.nan, math.nan, math.nan)
    draw = random.Random(len(sums))  # the same each time, on purpose
    means = []
    for _ in range(_RESAMPLES):
        drawn = draw.choices(sums, k=len(sums))
        means.append(math.fsum(one for one, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    mean = math.fsum(one for one, _ in sums) / sum(count for _, count in sums)
    return Interval(mean, means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES) - 1])
