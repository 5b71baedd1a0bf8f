"""The pictures on paper: memory over context as curves, speed over quality as intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from modelkit.cli.fit.plotting.drawing import COLOURS, FAINT, GRID, INK, Drawing
from modelkit.cli.fit.plotting.series import Picture, most
from modelkit.planning.fit.sizes import spelled

_WIDTH, _PANEL = 860, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 150, 58, 62  # of a panel, around its axes


Label = tuple[float, str, str, bool]
"""A curve's name: where it stands, what it is, its colour, and whether it is the one that is served."""


@dataclass(frozen=True)
class Frame:
    """Axes of one panel: from figures to places."""

    top: float
    largest: float  # of the vertical axis, which begins at 0

    def y(self, value: float) -> float:
        return self.top + _PANEL - _BOTTOM - value / self.largest * (_PANEL - _TOP - _BOTTOM)

    @staticmethod
    def x(share: float) -> float:
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def charts(picture: Picture) -> Drawing:
    """Both pictures, one above the other; only the first where no speed is known."""
    drawing = Drawing(_WIDTH, _PANEL * (2 if picture.paces else 1), picture.title)
    _memory(drawing, picture)
    if picture.paces:
        _paces(drawing, picture, _PANEL)
    return drawing


def _memory(drawing: Drawing, picture: Picture) -> None:
    """A curve for each precision; the dashed line is what there is."""
    totals = [step.total for one in picture.memory for step in one.steps]
    ticks, unit = _memory_ticks(most([*totals, picture.limit or 0]))
    frame = Frame(0, ticks[-1])
    drawing.words(_LEFT, 24, f"Memory against context: {picture.title}", size=14, bold=True)
    drawing.words(_LEFT, 42, f"{picture.place}, {_capacity(picture)}", colour=FAINT)
    for tick in ticks:
        drawing.path([(frame.x(0), frame.y(tick)), (frame.x(1), frame.y(tick))], GRID)
        drawing.words(_LEFT - 8, frame.y(tick) + 4, f"{tick / unit[1]:g} {unit[0]}", colour=FAINT, anchor="end")
    tokens = [step.tokens for step in picture.memory[0].steps] if picture.memory else []
    at = _logarithmic(tokens)
    for count, share in zip(tokens, at, strict=True):
        drawing.words(frame.x(share), frame.y(0) + 16, _tokens(count), colour=FAINT, anchor="middle",
                      bold=count == picture.asked)
    drawing.words(frame.x(0.5), frame.y(0) + 36, "tokens of context", colour=FAINT, anchor="middle")
    ends = list[Label]()
    for index, one in enumerate(picture.memory):
        points = [(frame.x(share), frame.y(step.total)) for share, step in zip(at, one.steps, strict=True)]
        drawing.path(points, COLOURS[index], 3 if one.taken else 1.5)
        for (x, y), step in zip(points, one.steps, strict=True):
            drawing.disc(x, y, 4 if one.taken and step.tokens == picture.asked else 2, COLOURS[index])
        ends.append((points[-1][1], one.precision, COLOURS[index], one.taken))
    for y, text, colour, taken in _apart(ends):
        drawing.words(frame.x(1) + 10, y + 4, text, colour=colour, bold=taken)
    if picture.limit is not None:
        y = frame.y(picture.limit)
        drawing.path([(frame.x(0), y), (frame.x(1), y)], INK, 1.5, dashed=True)
        drawing.words(frame.x(0) + 6, y - 5, spelled(picture.limit), colour=INK)


def _paces(drawing: Drawing, picture: Picture, top: float) -> None:
    """An interval for each precision, best quality first: the axis has an order, and no scale."""
    ticks = _ticks(most(one.decode.high for one in picture.paces))
    frame = Frame(top, ticks[-1])
    drawing.words(_LEFT, top + 24, "Speed against quality", size=14, bold=True)
    drawing.words(_LEFT, top + 42, "tokens a second of one user, as expected and between what; best quality first",
                  colour=FAINT)
    for tick in ticks:
        drawing.path([(frame.x(0), frame.y(tick)), (frame.x(1), frame.y(tick))], GRID)
        drawing.words(_LEFT - 8, frame.y(tick) + 4, f"{tick:g}", colour=FAINT, anchor="end")
    for index, one in enumerate(picture.paces):
        x, pace = frame.x((index + 0.5) / len(picture.paces)), one.decode
        low, here, high = (frame.y(value) for value in (pace.low, pace.expected, pace.high))
        drawing.path([(x, low), (x, high)], COLOURS[index], 3 if one.taken else 1.5)
        for end in (low, high):
            drawing.path([(x - 5, end), (x + 5, end)], COLOURS[index], 1.5)
        drawing.disc(x, here, 5 if one.taken else 3.5, COLOURS[index])
        drawing.words(x, frame.y(0) + 16, one.precision, colour=COLOURS[index], anchor="middle", bold=one.taken)
        drawing.words(x, frame.y(0) + 32 + 13 * (index % 2), one.figure, size=9, colour=FAINT, anchor="middle")


def _capacity(picture: Picture) -> str:
    """What there is, in words."""
    if picture.capacity is None:
        return "of which nobody knows how much there is"
    return f"of which there is {spelled(picture.capacity)}{' (dashed)' if picture.limit is not None else ''}"


def _logarithmic(counts: Sequence[int]) -> list[float]:
    """Where counts stand on an axis from the first to the last, as shares of its length."""
    if len(counts) < 2:
        return [0.5] * len(counts)
    first, last = math.log2(counts[0]), math.log2(counts[-1])
    return [(math.log2(count) - first) / (last - first) for count in counts]


def _memory_ticks(largest: float) -> tuple[list[float], tuple[str, float]]:
    """Round sizes from 0 to the largest, and their unit."""
    unit = ("GiB", float(1 << 30)) if largest >= 1 << 30 else ("MiB", float(1 << 20))
    return [tick * unit[1] for tick in _ticks(largest / unit[1])], unit


def _ticks(largest: float) -> list[float]:
    """Round numbers from 0 to the first that is not below the largest: four to eight.

    >>> _ticks(22.3), _ticks(0.7)
    ([0.0, 5.0, 10.0, 15.0, 20.0, 25.0], [0.0, 0.2, 0.4, 0.6, 0.8])
    """
    power = 10.0 ** math.floor(math.log10(largest / 4))
    width = next(one * power for one in (1, 2, 5, 10) if one * power * 4 >= largest * 0.75)
    return [round(width * count, 12) for count in range(math.ceil(largest / width - 1e-9) + 1)]


def _tokens(count: int) -> str:
    """`8k` where it is a whole number of them."""
    return f"{count >> 10}k" if count % 1024 == 0 else str(count)


def _apart(labels: list[Label], least: float = 13) -> list[Label]:
    """Labels moved down so far that none hides another; pushed back up where they would leave the panel."""
    placed, lowest = list[Label](), -math.inf
    for y, text, colour, taken in sorted(labels):
        lowest = max(y, lowest + least)
        placed.append((lowest, text, colour, taken))
    over = max(lowest - (_PANEL - _BOTTOM), 0)
    return [(y - over, text, colour, taken) for y, text, colour, taken in placed]
