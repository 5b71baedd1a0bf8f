"""What the pictures show: figures, without a place on paper."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkit.planning.fit.report import places

if TYPE_CHECKING:
    from modelkit.planning.fit.budget import Budget, Line
    from modelkit.planning.fit.interval import Interval
    from modelkit.planning.fit.report import FitReport, Rung

_MOST = 9
"""Contexts, and curves, that one picture shows: more are not told apart."""

_WEIGHTS = ("weight", "embedding", "projector", "draft", "adapter")


@dataclass(frozen=True)
class Step:
    """What one context takes in bytes: weights, the attention cache, everything else."""

    tokens: int
    weights: int
    cache: int
    rest: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.rest


@dataclass(frozen=True)
class Memory:
    """One precision over growing contexts."""

    precision: str
    taken: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Pace:
    """One precision's speed for one user in tokens a second. `figure` is the first of those of its quality."""

    precision: str
    taken: bool
    decode: Interval
    figure: str  # empty where none is known


@dataclass(frozen=True)
class Picture:
    """Both. `capacity` is what the place has, None where nobody knows; `asked` is the stage's own context."""

    title: str
    place: str
    capacity: int | None
    asked: int
    memory: tuple[Memory, ...]
    paces: tuple[Pace, ...]

    @property
    def limit(self) -> int | None:
        """The capacity, where a picture of this memory can show it: not one that is three times as large as all."""
        largest = max((step.total for one in self.memory for step in one.steps), default=0)
        return self.capacity if self.capacity is not None and self.capacity <= 3 * largest else None

    def as_json(self) -> dict[str, object]:
        return {"place": self.place, "memory": [
            {"precision": one.precision, "steps": [vars(step) | {"total": step.total} for step in one.steps]}
            for one in self.memory]}


def picture(report: FitReport, at: Callable[[Rung, int], Budget], longest: int | None) -> Picture:
    """Of a report. `at` says what a rung would take with another context; `longest` is the model's own limit."""
    place = _place(report.now.budget)
    asked = report.now.serving.context_length
    tokens = contexts(asked, longest)
    rungs = _some(report)
    memory = [Memory(rung.precision, rung == report.now or rung.verdict == "taken",
                     tuple(step(count, at(rung, count), place) for count in tokens)) for rung in rungs]
    paces = [Pace(rung.precision, rung == report.now or rung.verdict == "taken", rung.speed.decode,
                  _figure(rung)) for rung in rungs if rung.speed is not None]
    return Picture(f"{report.model}, stage {report.stage}, {report.engine} on {report.hardware.name}", place,
                   report.now.budget.capacity.get(place), asked, tuple(memory), tuple(paces))


def contexts(asked: int, longest: int | None) -> list[int]:
    """Powers of two around what is asked for, up to the model's own limit, and both of these.

    >>> contexts(3000, 8192), contexts(8192, None)[-1]
    ([1024, 2048, 3000, 4096, 8192], 32768)
    """
    most = max(asked, longest or 4 * asked)
    counts = {1 << power for power in range(10, 31) if 1 << power <= most} | {asked, most}
    found = sorted(counts)
    while len(found) > _MOST:
        found.remove(next(count for count in found if count != asked))
    return found


def step(tokens: int, budget: Budget, place: str) -> Step:
    """One budget, by what a reader tells apart."""
    sizes = {"weights": 0, "cache": 0, "rest": 0}
    for line in budget.lines:
        if line.place == place:
            sizes[group(line)] += line.size
    return Step(tokens, **sizes)


def group(line: Line) -> str:
    """`weights`, `cache` or `rest`, by the line's name."""
    name = line.name.lower()
    if any(word in name for word in ("cache", "state", "kv")):
        return "cache"
    return "weights" if any(word in name for word in _WEIGHTS) else "rest"


def _place(budget: Budget) -> str:
    """Where memory is scarce: the place with the least part free, a GPU before the rest."""
    def part(place: str) -> float:
        left = budget.free(place)
        return 1.0 if left is None else left / max(budget.capacity[place], 1)

    there = places(budget) or ["ram"]
    return min([one for one in there if one != "ram"] or there, key=part)


def _figure(rung: Rung) -> str:
    """`+0.176 perplexity` of `+0.176 perplexity, mean KLD …`."""
    return "" if rung.quality is None else re.split(r"[,;(]", str(rung.quality))[0].strip()


def _some(report: FitReport) -> list[Rung]:
    """What is served and its neighbours on the ladder, best first; not more than a reader tells apart."""
    ladder = [rung for rung in report.ladder if rung.verdict != "refused"] or [report.now]
    served = next((index for index, rung in enumerate(ladder) if rung.verdict == "taken"), 0)
    first = max(0, min(served - _MOST // 2, len(ladder) - _MOST))
    return ladder[first : first + _MOST]


def most(values: Iterable[float]) -> float:
    """The largest, 1 where there is none: a scale is never empty."""
    return max(values, default=0) or 1
