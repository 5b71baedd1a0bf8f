"""How much memory one way to serve a model takes, line by line, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Source = Literal["file", "engine", "formula", "reserve", "measured"]
"""Who says it: the file's header, the engine asked without its weights, a formula, an allowance, a run of before."""


@dataclass(frozen=True)
class Line:
    """One thing that takes memory. `how` is the sum in words, as a reader can check it."""

    name: str
    place: str  # `ram`, `gpu0`, `gpu1` …
    size: int  # bytes
    how: str
    source: Source = "formula"
    between: tuple[int, int] | None = None  # bytes, of a size that is known no better than that


@dataclass(frozen=True)
class Budget:
    """All lines, and how much each place has. `notes` are what a reader should know of how sure it is."""

    lines: tuple[Line, ...]
    capacity: Mapping[str, int] = field(default_factory=dict)  # bytes by place; without a place: not known
    notes: tuple[str, ...] = ()

    def total(self, place: str) -> int:
        return sum(line.size for line in self.lines if line.place == place)

    def free(self, place: str) -> int | None:
        """What is left; negative where it does not fit, None where nobody knows what there is."""
        return self.capacity[place] - self.total(place) if place in self.capacity else None

    @property
    def fits(self) -> bool | None:
        """None where a place that it needs is not known. Beside GPUs that are known RAM need not be: a machine by its
        name says nothing of it."""
        places = dict.fromkeys(line.place for line in self.lines)
        gpus = any(place != "ram" and place in self.capacity for place in places)
        left = [self.free(place) for place in places if not (gpus and place == "ram" and place not in self.capacity)]
        return False if any(one is not None and one < 0 for one in left) else None if None in left else True

    @property
    def short(self) -> int:
        """Bytes that are missing, of the place that lacks most; 0 where it fits."""
        return max((-left for place in self.capacity if (left := self.free(place)) is not None and left < 0), default=0)
