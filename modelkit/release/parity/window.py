"""Two prompts where they part: the text just before, what each goes on with, and the column between the two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from modelkit.release.parity.rendering import Rendering

_BEFORE, _AFTER = 36, 44  # characters
_TOKENS = 24


@dataclass(frozen=True)
class Window:
    """One line of each side, control characters escaped; `column` is where the first differing token begins."""

    left: str
    right: str
    column: int

    def lines(self, left: str, right: str) -> tuple[str, str, str]:
        """The two lines with their sides' names, and a caret beneath the first difference."""
        width = max(len(left), len(right))
        return (f"{left:<{width}}  {self.left}", f"{right:<{width}}  {self.right}",
                " " * (width + 2 + self.column) + "^")


def window(left: Rendering, right: Rendering, at: int) -> Window:
    """The window at the token `at`, up to which both are equal."""
    if left.refused is not None or right.refused is not None:
        one, other = (f"refused: {one.refused}" if one.refused is not None else _after(one, 0)
                      for one in (left, right))
        return Window(one, other, 0)
    said = escaped(left.text(left.ids[max(0, at - _TOKENS) : at]))
    before = said if len(said) <= _BEFORE else "…" + said[-_BEFORE:]
    return Window(before + _after(left, at), before + _after(right, at), len(before))


def _after(side: Rendering, at: int) -> str:
    ids: Sequence[int] = side.ids[at : at + _TOKENS]
    said = escaped(side.text(ids)) if ids else ""
    if len(said) > _AFTER:
        return said[:_AFTER] + "…"
    return said + ("" if at + len(ids) < len(side.ids) else "⏹")


def escaped(text: str) -> str:
    """On one line: newlines, tabs and control characters as JSON writes them."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
