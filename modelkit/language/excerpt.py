"""Diagnostics for people and for programs: the author's line with carets under it, or JSON. Prints nothing itself."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelkit.language.characters import width
from modelkit.language.diagnostic import Diagnostic, Note, Severity
from modelkit.language.source import Source, Span

LONGEST = 240  # characters of a line to show; a longer one is cut around the place
_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def as_text(diagnostic: Diagnostic, source: Source, *, colour: bool = False) -> str:
    """The message, the place, the author's line and the hint, without a final newline."""
    paint = _Paint(colour, _COLOURS[diagnostic.severity])
    placed = [note for note in diagnostic.notes if note.span]
    places = [diagnostic.span, *(note.span for note in placed if note.span)]
    page = _Page(source, paint, gutter=len(str(max(source.line_column(span.start)[0] for span in places))))
    lines = [paint.strong(f"{diagnostic.severity}[{diagnostic.rule.id}]") + paint.bold(f": {diagnostic.message}")]
    lines += page.first(diagnostic.span)
    for note in placed:
        lines += page.second(note)
    lines += [page.remark("note:", note.message) for note in diagnostic.notes if not note.span]
    if diagnostic.hint:
        lines.append(page.remark("hint:", diagnostic.hint))
    return "\n".join(lines)


def as_report(diagnostics: Iterable[Diagnostic], source: Source, *, colour: bool = False) -> str:
    """All of them in the order given, a blank line between two, then the count; without a final newline."""
    found = list(diagnostics)
    return "\n\n".join([*(as_text(d, source, colour=colour) for d in found), summary(found)])


def as_json(diagnostic: Diagnostic, source: Source) -> dict[str, Any]:
    """The same fields for programs: lines and columns from 1, offsets in characters from 0."""
    said: dict[str, Any] = {
        "rule": diagnostic.rule.id,
        "severity": str(diagnostic.severity),
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        "file": source.name,
    }
    said |= _ends(diagnostic.span, source)
    said["notes"] = [
        {"message": note.message, **(_ends(note.span, source) if note.span else {})} for note in diagnostic.notes
    ]
    fix = diagnostic.fix
    said["fix"] = fix and {
        "title": fix.title, "safe": fix.safe,
        "edits": [{**_ends(edit.span, source), "text": edit.text} for edit in fix.edits],
    }
    return said


def as_line(diagnostic: Diagnostic, source: Source) -> str:
    """`Modelfile:3:11: error[bad-value] …`: one line, as editors and `grep` like it."""
    line, column = source.line_column(diagnostic.span.start)
    place = "".join(_visible(character) for character in f"{source.name}:{line}:{column}")
    return f"{place}: {diagnostic.severity}[{diagnostic.rule.id}] {diagnostic.message}"


def summary(diagnostics: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 warning`; `no problems` when there is nothing to count."""
    severities = [d.severity for d in diagnostics]
    counts = [(severities.count(severity), severity) for severity in Severity]
    said = [f"{n} {_noun(severity, n)}" for n, severity in counts if n]
    return ", ".join(said) or "no problems"


def _noun(severity: Severity, count: int) -> str:
    noun = "note" if severity is Severity.INFO else str(severity)
    return noun if count == 1 else f"{noun}s"


def _ends(span: Span, source: Source) -> dict[str, dict[str, int]]:
    ends = {}
    for name, offset in (("start", span.start), ("end", span.end)):
        line, column = source.line_column(offset)
        ends[name] = {"line": line, "column": column, "offset": offset}
    return ends


class _Paint:
    """Wraps pieces in escape sequences, or leaves them alone."""

    def __init__(self, colour: bool, severity: str) -> None:
        self._on = colour
        self._severity = severity

    def strong(self, text: str) -> str:
        return self._wrap(f"1;{self._severity}", text)

    def bold(self, text: str) -> str:
        return self._wrap("1", text)

    def frame(self, text: str) -> str:
        return self._wrap("34", text)

    def _wrap(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._on else text


@dataclass(frozen=True)
class _Page:
    """The layout that the places of one diagnostic share: one gutter, as wide as the widest line number."""

    source: Source
    paint: _Paint
    gutter: int

    def first(self, span: Span) -> list[str]:
        lines, marks = self._place("-->", span, "^")
        return [*lines, marks]

    def second(self, note: Note) -> list[str]:
        assert note.span is not None
        lines, marks = self._place(":::", note.span, "-")
        return [*lines, f"{marks} {self.paint.frame(note.message)}"]

    def remark(self, kind: str, message: str) -> str:
        return f"{' ' * (self.gutter + 1)}{self.paint.frame('=')} {self.paint.bold(kind)} {message}"

    def _place(self, arrow: str, span: Span, mark: str) -> tuple[list[str], str]:
        number, column = self.source.line_column(span.start)
        text, start, end = _window(self.source.line(number), column - 1, column - 1 + span.end - span.start)
        under = _under(text, start, end, mark)
        under = self.paint.strong(under) if mark == "^" else self.paint.frame(under)
        pad, bar = " " * (self.gutter + 1), self.paint.frame("|")
        shown = "".join(_visible(c) for c in text)
        lines = [
            f"{pad}{self.paint.frame(arrow)} {self.source.name}:{number}:{column}",
            f"{pad} {bar}",
            f" {self.paint.frame(f'{number:>{self.gutter}}')} {bar}" + (f" {shown}" if shown else ""),
        ]
        return lines, f"{pad} {bar} {_lead(text[:start])}{under}"


def _window(line: str, start: int, end: int) -> tuple[str, int, int]:
    """The part of a line to show and the marked range in it; a range that leaves the line ends with it."""
    start = min(start, len(line))
    end = max(start, min(end, len(line)))
    if len(line) <= LONGEST:
        return line, start, end
    first = max(0, min(start - LONGEST // 4, len(line) - LONGEST))
    last = first + LONGEST
    before, after = "…" if first else "", "…" if last < len(line) else ""
    shift = len(before) - first
    return f"{before}{line[first:last]}{after}", start + shift, min(end, last) + shift


def _lead(text: str) -> str:
    """As wide as `text` in any terminal: tabs stay tabs."""
    return "".join("\t" if c == "\t" else " " * width(_visible(c)) for c in text)


def _under(text: str, start: int, end: int, mark: str) -> str:
    marks = "".join("\t" if c == "\t" else mark * width(_visible(c)) for c in text[start:end])
    return marks if mark in marks else mark


def _visible(character: str) -> str:
    """A control or bidirectional mark could rewrite the terminal's line; a stand-in cannot."""
    if character != "\t" and (unicodedata.category(character) == "Cc" or character in _BIDI):
        return "\ufffd"
    return character
