"""A drawing as SVG 1.1: one file, no scripts, no fonts of its own."""

from __future__ import annotations

from xml.sax.saxutils import escape

from modelkit.cli.fit.plotting.drawing import PAPER, Disc, Drawing, Path, Words

_FONT = "font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\""


def svg(drawing: Drawing) -> str:
    """The file's text."""
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width}" height="{drawing.height}" '
             f'viewBox="0 0 {drawing.width} {drawing.height}" role="img" {_FONT}>',
             f"<title>{escape(drawing.title)}</title>",
             f'<rect width="{drawing.width}" height="{drawing.height}" fill="{PAPER}"/>',
             *(_element(thing) for thing in drawing.things), "</svg>"]
    return "\n".join(lines) + "\n"


def _element(thing: Path | Disc | Words) -> str:
    match thing:
        case Path():
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in thing.points)
            dashes = ' stroke-dasharray="6 4"' if thing.dashed else ""
            return (f'<polyline points="{points}" fill="none" stroke="{thing.colour}" '
                    f'stroke-width="{thing.width:g}"{dashes}/>')
        case Disc():
            return f'<circle cx="{thing.x:.1f}" cy="{thing.y:.1f}" r="{thing.radius:g}" fill="{thing.colour}"/>'
        case Words():
            bold = ' font-weight="bold"' if thing.bold else ""
            return (f'<text x="{thing.x:.1f}" y="{thing.y:.1f}" font-size="{thing.size:g}" fill="{thing.colour}" '
                    f'text-anchor="{thing.anchor}"{bold}>{escape(thing.text)}</text>')
