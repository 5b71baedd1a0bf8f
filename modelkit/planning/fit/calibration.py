"""What is believed of a machine's speed, and how its own measurements change that.

A step takes the sum of a few causes (`Terms`). A formula says how long each should take; by which factor it is off is
not known, only about how far (`PRIOR`). Each measurement narrows that: an extended Kalman filter over the factors'
logarithms, with one measured time after the other (R. E. Kalman, "A New Approach to Linear Filtering and Prediction
Problems", 1960). So one benchmark of one model already says something of every other, and says how much.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from modelkit.planning.fit.interval import Interval

CAUSES = ("fixed", "memory", "vector", "matrix", "link")
"""What a factor belongs to: a step's own cost, moving bytes, arithmetic of few tokens at once and of many (both engines
have other programs for these), and the exchange between GPUs."""

SURE = 2.0
"""How many standard deviations an interval reaches to each side: about 95 of 100 measurements are inside."""

FORMULA = 1
"""Of the terms: a measurement that was kept beside those of another formula says nothing here."""

NOISE = 0.05
"""Standard deviation, of the logarithm, that two measurements of one thing on one machine differ by."""


@dataclass(frozen=True)
class Terms:
    """Seconds of one step by cause, as the formulas say. What is moved and what is computed overlap on a processor;
    a GPU's small products read as they compute, and take nearly the sum (`overlap` false)."""

    fixed: float = 0.0
    memory: float = 0.0
    vector: float = 0.0
    matrix: float = 0.0
    link: float = 0.0
    overlap: bool = False

    def seconds(self, factors: Sequence[float] = (1.0,) * len(CAUSES)) -> float:
        fixed, memory, vector, matrix, link = (one * by for one, by in zip(self._each(), factors, strict=True))
        return fixed + link + self._joint(memory, vector + matrix)

    def shares(self, factors: Sequence[float]) -> tuple[float, ...]:
        """The part of each cause in the whole: by how much it changes, relatively, when the cause's factor does."""
        fixed, memory, vector, matrix, link = (one * by for one, by in zip(self._each(), factors, strict=True))
        computed = vector + matrix
        joint, whole = self._joint(memory, computed), self.seconds(factors) or 1.0
        if self.overlap and joint:
            by_memory = joint * (memory / joint) ** _SHARP
            by_computing = joint - by_memory
        else:
            by_memory, by_computing = memory, computed
        part = by_computing / computed if computed else 0.0
        return tuple(one / whole for one in (fixed, by_memory, vector * part, matrix * part, link))

    def times(self, factor: float) -> Terms:
        fixed, memory, vector, matrix, link = (one * factor for one in self._each())
        return Terms(fixed, memory, vector, matrix, link, self.overlap)

    def __add__(self, other: Terms) -> Terms:
        """One after the other: with overlap in either, what each takes by itself, told by its causes."""
        own, others = self._apart(), other._apart()
        fixed, memory, vector, matrix, link = (a + b for a, b in zip(own, others, strict=True))
        return Terms(fixed, memory, vector, matrix, link)

    def _each(self) -> tuple[float, ...]:
        return self.fixed, self.memory, self.vector, self.matrix, self.link

    def _apart(self) -> tuple[float, ...]:
        if not self.overlap:
            return self._each()
        whole = self.seconds()
        return tuple(one * whole for one in self.shares((1.0,) * len(CAUSES)))

    def _joint(self, memory: float, computed: float) -> float:
        if not self.overlap:
            return memory + computed
        return math.pow(memory**_SHARP + computed**_SHARP, 1 / _SHARP)


_SHARP = 3  # power mean: near the larger of the two, and 26 % above it where both are alike


@dataclass(frozen=True)
class Point:
    """One measurement: what a formula says of the step, and how long it took. `noise` is the standard deviation of its
    logarithm, as far as the measurement itself shows it."""

    terms: Terms
    seconds: float
    noise: float = 0.0


@dataclass(frozen=True)
class Calibration:
    """What is believed of one engine on one machine: mean and covariance of the factors' logarithms."""

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    points: int = 0
    noise: float = NOISE  # what measurements and formulas differed by after all was learned

    @classmethod
    def of(cls, spread: Mapping[str, float], points: Iterable[Point] = (), *, noise: float = NOISE) -> Calibration:
        """Before any measurement each factor is 1, within its spread (a standard deviation of its logarithm)."""
        size = len(CAUSES)
        prior = tuple(tuple(spread[CAUSES[row]] ** 2 if row == column else 0.0 for column in range(size))
                      for row in range(size))
        return cls((0.0,) * size, prior, noise=noise).learned(points)

    def learned(self, points: Iterable[Point]) -> Calibration:
        """The same after some measurements. Those that are no time are passed over.

        Where they lie further away than was believed possible, less is believed before them: what was measured is
        always near what is then predicted, or what is predicted is said to be vague.
        """
        told = [one for one in points
                if math.isfinite(one.seconds) and one.seconds > 0 and one.terms.seconds() > 0]
        if not told:
            return self
        found = self._vaguer(max(1.0, sum(map(self._surprise, told)) / len(told)))
        for point in told:
            found = found._learned(point)
        off = math.sqrt(sum(found._off(one) ** 2 for one in told) / len(told))
        return replace(found, points=self.points + len(told), noise=max(self.noise, off))

    def _vaguer(self, by: float) -> Calibration:
        return replace(self, covariance=tuple(tuple(one * by for one in row) for row in self.covariance))

    def _off(self, point: Point) -> float:
        """The logarithm of measured to expected."""
        return math.log(point.seconds / point.terms.seconds([math.exp(one) for one in self.mean]))

    def _surprise(self, point: Point) -> float:
        """The square of how far off it is, in standard deviations of what is believed of it: 1 on average."""
        slope = point.terms.shares([math.exp(one) for one in self.mean])
        return self._off(point) ** 2 / (self._spread(slope) + max(NOISE, point.noise) ** 2)

    def _spread(self, slope: Sequence[float]) -> float:
        return max(0.0, sum(slope[row] * self.covariance[row][column] * slope[column]
                            for row in range(len(CAUSES)) for column in range(len(CAUSES))))

    def _learned(self, point: Point) -> Calibration:
        mean = self.mean
        for _ in range(4):  # iterated: a step's shares are those of where it ends
            factors = [math.exp(one) for one in mean]
            slope = point.terms.shares(factors)
            off = math.log(point.seconds / point.terms.seconds(factors))
            off -= sum(one * (was - now) for one, was, now in zip(slope, self.mean, mean, strict=True))
            gain, _ = self._gain(slope, point.noise)
            mean = tuple(min(3.0, max(-3.0, was + one * off)) for was, one in zip(self.mean, gain, strict=True))
        gain, along = self._gain(point.terms.shares([math.exp(one) for one in mean]), point.noise)
        covariance = tuple(tuple(self.covariance[row][column] - gain[row] * along[column]
                                 for column in range(len(CAUSES))) for row in range(len(CAUSES)))
        return replace(self, mean=mean, covariance=covariance)

    def _gain(self, slope: Sequence[float], noise: float) -> tuple[list[float], list[float]]:
        along = [sum(one * by for one, by in zip(row, slope, strict=True)) for row in self.covariance]
        whole = sum(one * by for one, by in zip(along, slope, strict=True)) + max(NOISE, noise) ** 2
        return [one / whole for one in along], along

    @property
    def factors(self) -> dict[str, float]:
        """By which factor each cause takes longer than the formulas say."""
        return {cause: math.exp(one) for cause, one in zip(CAUSES, self.mean, strict=True)}

    def seconds(self, terms: Terms) -> Interval:
        """How long a step takes: what is expected, and between what it will be."""
        factors = [math.exp(one) for one in self.mean]
        spread = self._spread(terms.shares(factors)) + (self.noise**2 if self.points else 0.0)
        reach, expected = math.exp(min(SURE * math.sqrt(spread), 20.0)), terms.seconds(factors)
        return Interval(expected / reach, expected, expected * reach)
