"""Fixes: how a rule makes one, and how several are put into a text. Knows texts and places, no rule."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from modelkit.language.diagnostic import Edit, Fix
from modelkit.language.source import Source, Span

_INDENT = re.compile(r"[ \t]*")


def instead(span: Span, text: str, *, title: str = "", safe: bool = True) -> Fix:
    """Writes `text` where `span` is."""
    return Fix(title or f"write `{text}`", (Edit(span, text),), safe)


def guess(span: Span, text: str) -> Fix:
    """Writes what was probably meant."""
    return instead(span, text, title=f"change to `{text}`", safe=False)


def without(source: Source, span: Span, what: str, *, safe: bool = True) -> Fix:
    """Removes the lines that `span` touches, all of them. Instructions and comments have their lines for themselves."""
    start, end = lines_of(source, span)
    return Fix(f"remove {what}", (Edit(Span(start, end), ""),), safe)


def comment_above(source: Source, value: Span, comment: Span, *, safe: bool) -> Fix:
    """Moves the comment that ends the line of `value` to a line of its own above it."""
    start = lines_of(source, value)[0]
    indent = _INDENT.match(source.text, start)
    text = source.text[comment.start : comment.end].strip()
    before = source.text[start : comment.start]
    gone = Span(start + len(before.rstrip(" \t")), comment.end)
    above = f"{indent[0] if indent else ''}{text}{line_end(source)}"
    return Fix("put the comment on a line of its own", (Edit(Span(start, start), above), Edit(gone, "")), safe)


def lines_of(source: Source, span: Span) -> tuple[int, int]:
    """From where the line of the span's start begins to where the line after that of its end begins."""
    starts = source.line_starts
    first = starts[bisect_right(starts, span.start) - 1]
    after = bisect_right(starts, max(span.start, span.end - 1))
    return first, starts[after] if after < len(starts) else len(source.text)


def line_end(source: Source) -> str:
    """What ends the file's first line; LF if it has but one."""
    if len(source.line_starts) == 1:
        return "\n"
    end = source.line_starts[1]
    return "\r\n" if source.text[end - 2 : end] == "\r\n" else source.text[end - 1]


def apply(text: str, fixes: Iterable[Fix]) -> tuple[str, list[Fix]]:
    """The text with as many of the fixes as can be made at once, and which these are.

    Each is made whole or not at all; of two that touch the same place the first one is made. Two that make the very
    same edit are both made.
    """
    made: list[Fix] = []
    edits = _Edits()
    for fix in fixes:
        if edits.take(fix.edits):
            made.append(fix)
    return edits.written(text), made


class _Edits:
    """Edits of which no two touch the same place, in the order of their places."""

    def __init__(self) -> None:
        self._edits: list[Edit] = []

    def take(self, new: Iterable[Edit]) -> bool:
        """Takes all of them, or none; those that are here already are fine."""
        taken: list[Edit] = []
        for edit in dict.fromkeys(new):
            index = bisect_left(self._edits, edit.span, key=lambda one: one.span)
            near = self._edits[max(0, index - 1) : index + 1]
            if edit in near and edit not in taken:
                continue
            if any(_meet(edit, other) for other in near):
                for one in taken:
                    self._edits.remove(one)
                return False
            self._edits.insert(index, edit)
            taken.append(edit)
        return True

    def written(self, text: str) -> str:
        pieces: list[str] = []
        at = 0
        for edit in self._edits:
            pieces += (text[at : edit.span.start], edit.text)
            at = edit.span.end
        return "".join([*pieces, text[at:]])


def _meet(a: Edit, b: Edit) -> bool:
    return a.span.start == b.span.start or (a.span.start < b.span.end and b.span.start < a.span.end)
