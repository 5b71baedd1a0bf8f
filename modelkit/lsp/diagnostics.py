"""Findings as the protocol's diagnostics."""

from __future__ import annotations

from lsprotocol import types

from modelkit.language.diagnostic import Diagnostic, Severity
from modelkit.language.source import Span
from modelkit.lsp.analysis import Analysis

SOURCE = "modelkit"

_SEVERITIES = {Severity.ERROR: types.DiagnosticSeverity.Error, Severity.WARNING: types.DiagnosticSeverity.Warning,
               Severity.INFO: types.DiagnosticSeverity.Information}
_TAGS = {"deprecated-parameter": types.DiagnosticTag.Deprecated, "removed-parameter": types.DiagnosticTag.Deprecated,
         "duplicate-scalar": types.DiagnosticTag.Unnecessary, "useless-unset": types.DiagnosticTag.Unnecessary,
         "unused-ignore": types.DiagnosticTag.Unnecessary}
"""Rules whose place a client may show struck out, or faded."""


def diagnostics(analysis: Analysis, uri: str) -> list[types.Diagnostic]:
    """Everything that is wrong with the file, in file order."""
    return [shown(analysis, uri, one) for one in analysis.findings]


def shown(analysis: Analysis, uri: str, one: Diagnostic) -> types.Diagnostic:
    """One finding: its message with the hint below it, its other places as related information."""
    range = analysis.places.range
    tag = _TAGS.get(one.rule.id)
    return types.Diagnostic(
        range=range(_seen(analysis, one.span)), severity=_SEVERITIES[one.severity], code=one.rule.id, source=SOURCE,
        message="\n".join([one.message, *([f"hint: {one.hint}"] if one.hint else []),
                           *(f"note: {note.message}" for note in one.notes if note.span is None)]),
        tags=[tag] if tag is not None else None,
        related_information=[types.DiagnosticRelatedInformation(types.Location(uri, range(note.span)), note.message)
                             for note in one.notes if note.span is not None] or None)


def _seen(analysis: Analysis, span: Span) -> Span:
    """A place that is nothing wide is shown as the character behind it, or the one before at a line's end."""
    if span.end > span.start:
        return span
    line, column = analysis.source.line_column(span.start)
    if column <= len(analysis.source.line(line)):
        return Span(span.start, span.start + 1)
    return Span(span.start - 1, span.start) if column > 1 else span
