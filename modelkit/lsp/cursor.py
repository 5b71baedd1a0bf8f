"""Where the cursor is, from the text alone: the block, the instruction, the operands before it, the word under it.

Works on lines that are still being written, which the parser can make nothing of yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from modelkit.language.document import Document
from modelkit.language.source import Source, Span

Room = Literal["file", "stage", "test"]
Prose = Literal["", "comment", "text"]  # a text of several lines, behind its first

_WORD = re.compile(r"[^ \t]+")


@dataclass(frozen=True)
class Cursor:
    """One place in a line. `keyword` is upper case and "" while it is itself being written.

    `before` are the words between the keyword and the cursor's own; `typed` is that word up to the cursor, and `span`
    the whole of it. `block` is the title of the STAGE or TEST around, "" outside.
    """

    room: Room
    block: str
    keyword: str
    before: tuple[str, ...]
    typed: str
    span: Span
    prose: Prose = ""  # in there are no words of the language
    line: str = ""  # up to the cursor
    ends: bool = True  # nothing but blanks follows on the line

    @property
    def upper(self) -> tuple[str, ...]:
        return tuple(word.upper() for word in self.before)


def cursor(document: Document, offset: int) -> Cursor:
    """The cursor at an offset. Never raises."""
    source = document.source
    offset = max(0, min(offset, len(source.text)))
    room, block = _around(document, offset)
    number = source.line_column(offset)[0]
    start, text = source.line_starts[number - 1], source.line(number)
    at = min(offset - start, len(text))
    words = [found for found in _WORD.finditer(text) if found.start() < at]
    own = words.pop() if words and words[-1].end() >= at else None
    typed = own[0][: at - own.start()] if own else ""
    span = Span(start + own.start(), start + own.end()) if own else Span(start + at, start + at)
    keyword, *before = [found[0] for found in words] or [""]
    return Cursor(room, block, keyword.upper(), tuple(before), typed, span, _prose(document, source, offset, text),
                  text[:at], not text[at:].strip())


def _around(document: Document, offset: int) -> tuple[Room, str]:
    """The block whose braces are around an offset, by counting them: its brace may not be closed yet."""
    room: Room = "file"
    title = opening = ""
    for token in document.tokens:
        if token.span.start >= offset:
            break
        if token.kind in ("STAGE", "TEST"):
            room, title, opening = "file", "", token.kind.lower()
        elif token.kind == "HEADER":
            title = token.text
        elif token.kind == "OPEN" and token.text:
            room = "stage" if opening == "stage" else "test"
        elif token.kind == "CLOSE" and token.span.end <= offset:
            room, title = "file", ""
    if room == "file":
        return room, ""
    return room, (title.split() or [""])[0] if room == "stage" else title.strip('"')


def _prose(document: Document, source: Source, offset: int, line: str) -> Prose:
    if any(token.kind in ("VALUE", "ERROR") and token.span.start < offset <= token.span.end
           and re.search(r"[\r\n]", source.text[token.span.start : offset]) is not None for token in document.tokens):
        return "text"
    return "comment" if line.lstrip(" \t").startswith("#") else ""
