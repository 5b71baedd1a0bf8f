"""The one lexical rule for values, Ollama's: where a value ends, and what it says.

A value runs to the end of its line. One that starts with `"` or `\"\"\"` runs on to the first line that ends with the
same quote; nothing in the middle of a line closes it, and nothing escapes anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from modelkit.language.characters import clean, is_printable
from modelkit.language.document import Value
from modelkit.language.source import Span

LINE_END = re.compile(r"[\r\n]|\Z")
_SOLID = re.compile(r"[^ \t\r\n]")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a value ends (at a line end), and which quote it opened; `closed` is False if that quote never closes."""

    end: int
    quote: str
    closed: bool


@dataclass
class ValueEnds:
    """Finds the ends of one text's values, in time linear in the text however many of them never close."""

    text: str
    _never_after: dict[str, int] = field(default_factory=dict)

    def find(self, start: int) -> Extent:
        """The extent of the value that starts at `start`, in the middle of a line."""
        end = self.line_end(start)
        first = clean(self.text[start:end]).strip(" \t")
        quote = opening_quote(first)
        if not quote or (len(first) >= 2 * len(quote) and first.endswith(quote)):
            return Extent(end, quote, True)
        return self._close(quote, end)

    def line_end(self, start: int) -> int:
        found = LINE_END.search(self.text, start)
        return found.start() if found else len(self.text)

    def _close(self, quote: str, first_end: int) -> Extent:
        at = first_end
        # Once no line after a place closes this quote, none does after a later place either.
        while at < min(len(self.text), self._never_after.get(quote, len(self.text))):
            end = self.line_end(at + 1)
            if clean(self.text[at + 1 : end]).rstrip(" \t").endswith(quote):
                return Extent(end, quote, True)
            at = end
        self._never_after[quote] = min(first_end, self._never_after.get(quote, first_end))
        return Extent(len(self.text), quote, False)


def opening_quote(text: str) -> str:
    return '"""' if text.startswith('"""') else '"' if text.startswith('"') else ""


def solid(text: str) -> tuple[int, int]:
    """The range of `text` from its first to its last character that prints and is no blank; (0, 0) if it has none."""
    start, end = 0, len(text)
    while (found := _SOLID.search(text, start)) is not None:
        start = found.start()
        if is_printable(text[start]):
            break
        start += 1
    else:
        return 0, 0
    while text[end - 1] in " \t\r\n" or not is_printable(text[end - 1]):
        end -= 1
    return start, end


def read_value(text: str, offset: int) -> Value:
    """What a value says, from its text as written (`solid` already) and where that starts."""
    span = Span(offset, offset + len(text))
    bare = clean(text)
    quote = opening_quote(bare)
    if not quote or len(bare) < 2 * len(quote) or not bare.endswith(quote):
        return Value(bare, span, span)
    inner = Span(offset + _after(text, len(quote)), offset + len(text) - _after(text[::-1], len(quote)))
    return Value(bare[len(quote) : -len(quote)], span, inner, quote)


def _after(text: str, count: int) -> int:
    """How many characters it takes to pass `count` printable ones: a deleted character may stand between quotes."""
    index = 0
    while count:
        count -= is_printable(text[index])
        index += 1
    return index
