"""A drawing: lines, boxes and words at places, in points from the upper left corner. Knows no file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["start", "middle", "end"]

INK, FAINT, GRID, PAPER = "#1b1f24", "#57606a", "#d8dee4", "#ffffff"

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d31", "#000000")
"""Told apart by colour-blind readers, too (M. Okabe and K. Ito, "Color Universal Design", 2008), and three of ours."""


@dataclass(frozen=True)
class Path:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    colour: str
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True)
class Disc:
    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True)
class Words:
    """A line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    size: float = 11
    colour: str = INK
    anchor: Anchor = "start"
    bold: bool = False


@dataclass
class Drawing:
    """Things in the order in which they are drawn. `title` says what it shows, for who can't see it."""

    width: int
    height: int
    title: str
    things: list[Path | Disc | Words] = field(default_factory=list)

    def path(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.0, *, dashed: bool = False,
             ) -> None:
        self.things.append(Path(tuple(points), colour, width, dashed))

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        self.things.append(Disc(x, y, radius, colour))

    def words(self, x: float, y: float, text: str, *, size: float = 11, colour: str = INK, anchor: Anchor = "start",
              bold: bool = False) -> None:
        self.things.append(Words(x, y, text, size, colour, anchor, bold))
