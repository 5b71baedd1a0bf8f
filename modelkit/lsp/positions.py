"""Offsets into a Source, and the protocol's positions: a line and a column counted in the client's units."""

from __future__ import annotations

from dataclasses import dataclass

from lsprotocol import types

from modelkit.language.source import Source, Span

_UTF16, _UTF8 = types.PositionEncodingKind.Utf16, types.PositionEncodingKind.Utf8


@dataclass(frozen=True)
class Positions:
    """The places of one text. `encoding` is what the client and the server agreed on: UTF-16 unless it asked.

    Lines end as the protocol says, at `\\n`, `\\r\\n` and `\\r`, which is how a Source ends them too.
    """

    source: Source
    encoding: types.PositionEncodingKind = _UTF16

    def position(self, offset: int) -> types.Position:
        if self.encoding == _UTF16:
            return types.Position(*self.source.utf16(offset))
        line, column = self.source.line_column(offset)
        before = self.source.line(line)[: column - 1]
        return types.Position(line - 1, len(before.encode()) if self.encoding == _UTF8 else len(before))

    def offset(self, position: types.Position) -> int:
        """The offset of a position; one that no line has is moved to the nearest that there is."""
        line = max(position.line, 0)
        if self.encoding == _UTF16 or line >= len(self.source.line_starts):
            return self.source.offset(line, position.character)
        text, units = self.source.line(line + 1), max(position.character, 0)
        if self.encoding == _UTF8:  # a position in the middle of a character means its beginning
            units = len(text.encode()[:units].decode(errors="ignore"))
        return self.source.line_starts[line] + min(units, len(text))

    def range(self, span: Span) -> types.Range:
        return types.Range(self.position(span.start), self.position(span.end))

    def span(self, range: types.Range) -> Span:
        start, end = self.offset(range.start), self.offset(range.end)
        return Span(min(start, end), max(start, end))
