"""A drawing as PNG, by Pillow, twice as fine as the SVG's points. Pillow comes with the extra `plot`."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

from modelkit.cli.fit.plotting.drawing import PAPER, Disc, Drawing, Path, Words
from modelkit.failure import Failure

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_FINE = 2
_DASH, _GAP = 6.0, 4.0
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}  # Pillow's: left, middle, right, each on the base line


def png(drawing: Drawing) -> bytes:
    """The file. Raises Failure where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise Failure("extra-missing", "a PNG needs Pillow, which is not installed",
                      hint="pip install 'modelkit-llm[plot]', or write a .svg") from None
    image = Image.new("RGB", (drawing.width * _FINE, drawing.height * _FINE), PAPER)
    canvas = ImageDraw.Draw(image)
    for thing in drawing.things:
        _draw(canvas, thing)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(canvas: ImageDraw, thing: Path | Disc | Words) -> None:
    from PIL import ImageFont

    match thing:
        case Path():
            for (x, y), (to_x, to_y) in _strokes(thing):
                canvas.line([x * _FINE, y * _FINE, to_x * _FINE, to_y * _FINE], thing.colour,
                            max(1, round(thing.width * _FINE)))
        case Disc():
            reach = thing.radius * _FINE
            x, y = thing.x * _FINE, thing.y * _FINE
            canvas.ellipse([x - reach, y - reach, x + reach, y + reach], thing.colour)
        case Words():
            canvas.text((thing.x * _FINE, thing.y * _FINE), thing.text, thing.colour,
                        ImageFont.load_default(thing.size * _FINE), anchor=_ANCHORS[thing.anchor],
                        stroke_width=0.5 if thing.bold else 0)


def _strokes(path: Path) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The pieces that are drawn of a line: all of it, or its dashes."""
    if not path.dashed:
        return list(pairwise(path.points))
    found = []
    for (x, y), (to_x, to_y) in pairwise(path.points):
        length, at = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5, 0.0
        while at < length:
            end = min(at + _DASH, length)
            found.append(tuple((x + (to_x - x) * part / length, y + (to_y - y) * part / length) for part in (at, end)))
            at += _DASH + _GAP
    return found  # type: ignore[return-value]
