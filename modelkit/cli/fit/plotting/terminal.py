"""The pictures as lines of text, in block characters or in ASCII where a terminal has no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelkit.cli.fit.plotting.series import Memory, Pace, Picture, Step, most
from modelkit.planning.fit.sizes import spelled


@dataclass(frozen=True)
class Signs:
    """The characters that draw."""

    weights: str
    cache: str
    rest: str
    limit: str
    left: str
    dash: str
    right: str
    dot: str


BLOCKS = Signs("█", "▓", "░", "│", "├", "─", "┤", "●")
ASCII = Signs("#", "=", "-", "|", "|", "-", "|", "o")


def signs(encoding: str | None) -> Signs:
    """Blocks where they can be written."""
    try:
        "".join(vars(BLOCKS).values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def lines(picture: Picture, width: int, draw: Signs) -> Iterator[str]:
    """Both pictures, not wider than `width` columns (60 at least)."""
    served = next((one for one in picture.memory if one.taken), picture.memory[0] if picture.memory else None)
    if served is not None:
        yield from _memory(served, picture, max(width, 60), draw)
    if picture.paces:
        yield ""
        yield from _paces(picture.paces, max(width, 60), draw)


def _memory(served: Memory, picture: Picture, width: int, draw: Signs) -> Iterator[str]:
    limit = picture.limit
    yield f"MEMORY AGAINST CONTEXT  {served.precision}, {picture.place}"
    sizes = [spelled(step.total) for step in served.steps]
    label, shown = max(len(str(step.tokens)) for step in served.steps), max(map(len, sizes))
    room = width - label - shown - 6
    scale = room / most([*(step.total for step in served.steps), limit or 0])
    for step, size in zip(served.steps, sizes, strict=True):
        mark = ">" if step.tokens == picture.asked else " "
        bar = _bar(step, scale, draw).ljust(room)
        if limit is not None:
            at = min(int(limit * scale), room - 1)
            bar = bar[:at] + draw.limit + bar[at + 1 :]
        yield f"{mark} {step.tokens:>{label}}  {bar}  {size:>{shown}}".rstrip()
    said = "" if picture.capacity is None else f"  {draw.limit if limit else 'of'} {spelled(picture.capacity)}"
    yield f"  {draw.weights} weights  {draw.cache} cache of the conversations  {draw.rest} the rest{said}"


def _bar(step: Step, scale: float, draw: Signs) -> str:
    """Parts end where their sums do, so that nothing is lost in rounding."""
    bar, sum_ = "", 0
    for size, sign in ((step.weights, draw.weights), (step.cache, draw.cache), (step.rest, draw.rest)):
        sum_ += size
        bar += sign * (round(sum_ * scale) - len(bar))
    return bar


def _paces(paces: tuple[Pace, ...], width: int, draw: Signs) -> Iterator[str]:
    yield "SPEED AGAINST QUALITY  tokens a second of one user, best quality first"
    label, quality = max(len(one.precision) for one in paces), max(len(one.figure) for one in paces)
    top = most(one.decode.high for one in paces)
    room = width - label - quality - 8
    for one in paces:
        low, here, high = (min(round(value / top * (room - 1)), room - 1)
                           for value in (one.decode.low, one.decode.expected, one.decode.high))
        cells = [" "] * room
        cells[low : high + 1] = draw.dash * (high + 1 - low)
        cells[low], cells[high] = draw.left, draw.right
        cells[here] = draw.dot
        mark = ">" if one.taken else " "
        yield f"{mark} {one.precision:<{label}}  {one.figure:<{quality}}  {''.join(cells)}".rstrip()
    ends = f"0{f'{top:.0f}':>{room - 1}}"
    yield f"  {'':<{label}}  {'':<{quality}}  {ends}"
