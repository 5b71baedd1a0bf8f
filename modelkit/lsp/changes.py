"""What the server changes in a file: formatting, fixes, new names. Always as the fewest edits that do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from lsprotocol import types

from modelkit.language.diagnostic import CompileError, Diagnostic, Edit, Fix, Severity
from modelkit.language.source import Source, Span
from modelkit.lsp import names
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.diagnostics import shown

FIX_ALL = "source.fixAll.modelkit"


def formatting(analysis: Analysis) -> list[types.TextEdit]:
    """The edits that `modelkit fmt` would make; none for a file with errors."""
    from modelkit.language.format import formatted

    try:
        return between(analysis, formatted(analysis.source))
    except CompileError:
        return []


def between(analysis: Analysis, new: str) -> list[types.TextEdit]:
    """The text made `new` by replacing whole lines where they differ, so that cursors and marks elsewhere stay."""
    old = _lines(analysis.source)
    wanted = _lines(Source("", new))
    edits = []
    starts = [0]
    for line in old:
        starts.append(starts[-1] + len(line))
    for tag, left, right, first, last in SequenceMatcher(None, old, wanted, autojunk=False).get_opcodes():
        if tag != "equal":
            edits.append(_edit(analysis, Span(starts[left], starts[right]), "".join(wanted[first:last])))
    return edits


def _lines(source: Source) -> list[str]:
    starts = (*source.line_starts, len(source.text))
    return [source.text[start:end] for start, end in pairwise(starts)]


def _edit(analysis: Analysis, span: Span, text: str) -> types.TextEdit:
    return types.TextEdit(analysis.places.range(span), text)


def actions(analysis: Analysis, uri: str, span: Span, only: Sequence[str] | None) -> list[types.CodeAction]:
    """The fixes of what is wrong in a span, a comment that silences each finding, and all safe fixes at once.

    `only` are the kinds that the client asked for; a kind includes those below it (`source` has `source.fixAll`).
    """
    found = [one for one in analysis.findings if one.span.start <= span.end and span.start <= one.span.end]
    made: list[types.CodeAction] = []
    if _wanted(types.CodeActionKind.QuickFix.value, only):
        made += [_fix(analysis, uri, one, one.fix) for one in found if one.fix is not None]
        made += [_ignore(analysis, uri, one) for one in found if _can_be_ignored(analysis, one)]
    if _wanted(FIX_ALL, only) and (edits := _all_fixes(analysis)):
        made.append(types.CodeAction("Fix everything that can be fixed safely", kind=FIX_ALL,
                                     edit=types.WorkspaceEdit({uri: edits})))
    return made


def _wanted(kind: str, only: Sequence[str] | None) -> bool:
    # A known kind is an Enum, whose text in an f-string is not its value in every Python.
    asked = [one.value if isinstance(one, types.CodeActionKind) else one for one in only or [""]]
    return any(not one or f"{kind}.".startswith(f"{one}.") for one in asked)


def _fix(analysis: Analysis, uri: str, found: Diagnostic, fix: Fix) -> types.CodeAction:
    return _action(analysis, uri, found, fix.title, fix.edits, preferred=fix.safe)


def _action(analysis: Analysis, uri: str, found: Diagnostic, title: str, edits: Iterable[Edit], *, preferred: bool,
            ) -> types.CodeAction:
    return types.CodeAction(
        title[:1].upper() + title[1:], kind=types.CodeActionKind.QuickFix, diagnostics=[shown(analysis, uri, found)],
        is_preferred=preferred or None,
        edit=types.WorkspaceEdit({uri: [_edit(analysis, edit.span, edit.text) for edit in edits]}))


def _ignore(analysis: Analysis, uri: str, found: Diagnostic) -> types.CodeAction:
    """A comment of its own above the line, indented as the line is. That it gives no reason yet is the next finding."""
    number = analysis.source.line_column(found.span.start)[0]
    start, line = analysis.source.line_starts[number - 1], analysis.source.line(number)
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    end = "\r\n" if "\r\n" in analysis.source.text else "\n"
    comment = f"{indent}# modelkit: ignore[{found.rule.id}]{end}"
    return _action(analysis, uri, found, f"leave `{found.rule.id}` out here", [Edit(Span(start, start), comment)],
                   preferred=False)


def _can_be_ignored(analysis: Analysis, found: Diagnostic) -> bool:
    """Errors of the language stay; a comment inside a text of several lines would be part of the text."""
    start = analysis.source.line_starts[analysis.source.line_column(found.span.start)[0] - 1]
    inside = any(token.kind in ("VALUE", "COMMENT") and token.span.start < start < token.span.end
                 for token in analysis.document.tokens)
    return found.rule.severity is not Severity.ERROR and found.rule.family != "comments" and not inside


def _all_fixes(analysis: Analysis) -> list[types.TextEdit]:
    from modelkit.findings.fixing import fixed

    return between(analysis, fixed(analysis.source, examined=analysis.examined).text)


def renamed(analysis: Analysis, uri: str, offset: int, new: str) -> types.WorkspaceEdit | None:
    """The name at an offset made `new` wherever it stands. Raises names.CannotRename; None where no name is."""
    name = names.at(analysis.document, offset)
    if name is None:
        return None
    names.expect_new_name(analysis.document, name, new)
    return types.WorkspaceEdit({uri: [_edit(analysis, one.span, new) for one in names.places(analysis.document, name)]})
