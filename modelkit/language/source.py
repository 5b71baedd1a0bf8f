"""A Modelfile as written, and places in it. Knows text, not meaning."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

_LINE_END = re.compile(r"\r\n|[\r\n]")  # CRLF ends one line, not two


class Span(NamedTuple):
    """Half-open range of offsets (code points) into one Source."""

    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """A Modelfile's text, decoded once the way Ollama decodes it.

    A byte-order mark chooses UTF-8 or UTF-16 and is dropped; without one the text is UTF-8, and an invalid byte
    becomes U+FFFD. Line endings stay as the author wrote them.
    """

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Source:
        """The file at `path`; its name is the path as given."""
        return cls.decode(str(path), path.read_bytes())

    @classmethod
    def decode(cls, name: str, data: bytes) -> Source:
        mark, codec = _encoding(data)
        return cls(name, data[len(mark) :].decode(codec, "replace"))

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """The offset of each line's first character."""
        return (0, *(found.end() for found in _LINE_END.finditer(self.text)))

    def line_column(self, offset: int) -> tuple[int, int]:
        """1-based line and column (in code points) of an offset; CRLF counts once."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def utf16(self, offset: int) -> tuple[int, int]:
        """Line and column from 0, the column in UTF-16 code units: how editors name a place.

        >>> Source("m", "a\\n\U0001f469b").utf16(3)
        (1, 2)
        """
        line, column = self.line_column(offset)
        start = self.line_starts[line - 1]
        return line - 1, _units(self.text[start : start + column - 1])

    def offset(self, line: int, character: int) -> int:
        """The offset of a place that `utf16` named. One beyond a line's end is that end, one beyond the text its end.

        A place in the middle of a character is before it.
        """
        if line >= len(self.line_starts):
            return len(self.text)
        start, text = self.line_starts[max(line, 0)], self.line(max(line, 0) + 1)
        if text.isascii():
            return start + max(0, min(character, len(text)))
        for index, one in enumerate(text):
            character -= _units(one)
            if character < 0:
                return start + index
        return start + len(text)

    def line(self, number: int) -> str:
        """The text of a 1-based line, without its line ending."""
        starts = self.line_starts
        end = starts[number] if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].rstrip("\r\n")


def _units(text: str) -> int:
    """How many UTF-16 code units it takes."""
    return len(text) + (0 if text.isascii() else sum(character > "\uffff" for character in text))


def encoded(text: str, original: bytes) -> bytes | None:
    """A text as the bytes of the file that it shall replace: in its encoding, with its byte-order mark if it has one.

    None when reading the original loses something (bytes that are not text): then no other text can replace it without
    losing that for good.

    >>> encoded("FROM y", b"\\xff\\xfeF\\0")
    b'\\xff\\xfeF\\x00R\\x00O\\x00M\\x00 \\x00y\\x00'
    >>> encoded("FROM y", b"FROM \\xe9") is None
    True
    """
    mark, codec = _encoding(original)
    if mark + original[len(mark) :].decode(codec, "replace").encode(codec) != original:
        return None
    return mark + text.encode(codec)


def _encoding(data: bytes) -> tuple[bytes, str]:
    """The byte-order mark, which may be empty, and the codec of what follows it."""
    for mark, codec in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8")):
        if data.startswith(mark):
            return mark, codec
    return b"", "utf-8"
