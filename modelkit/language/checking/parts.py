"""A value in pieces, each with its place."""

from __future__ import annotations

import re

from modelkit.language.document import Value, Word
from modelkit.language.source import Span

_WORD = re.compile(r"\s*(\S*)")


class Operands:
    """A value, taken word by word."""

    def __init__(self, value: Value) -> None:
        self._value, self._text, self._at = value, value.text, 0

    def word(self) -> Word:
        """The next word, up to a blank; empty at the end."""
        found = _WORD.match(self._text, self._at)
        assert found is not None  # every part of the pattern may be empty
        self._at = found.end()
        return self._part(found.start(1), found.end(1))

    def rest(self) -> Word:
        """What is left, without the blanks around it."""
        left = self._text[self._at :]
        start = self._at + len(left) - len(left.lstrip())
        self._at = len(self._text)
        return self._part(start, max(start, start + len(left.strip())))

    def _part(self, start: int, end: int) -> Word:
        return Word(self._text[start:end], place(self._value, start, end))


def place(value: Value, start: int, end: int) -> Span:
    """The place of `value.text[start:end]`; all of the value's, if characters were deleted from it."""
    if value.inner.end - value.inner.start != len(value.text):
        return value.span
    return Span(value.inner.start + start, value.inner.start + end)


def whole(value: Value) -> Word:
    """A value as one word."""
    return Word(value.text, value.span)
