"""Candidates as the protocol's completion items: the range that each replaces, in the order of the tables."""

from __future__ import annotations

from lsprotocol import types

from modelkit.language.source import Span
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.candidate import Candidate, Sort
from modelkit.lsp.candidates import candidates
from modelkit.lsp.cursor import Cursor, cursor

_SORTS: dict[Sort, types.CompletionItemKind] = {
    "keyword": types.CompletionItemKind.Keyword, "key": types.CompletionItemKind.Property,
    "value": types.CompletionItemKind.EnumMember, "operator": types.CompletionItemKind.Operator,
    "stage": types.CompletionItemKind.Module, "variable": types.CompletionItemKind.Variable,
    "file": types.CompletionItemKind.File, "folder": types.CompletionItemKind.Folder,
    "model": types.CompletionItemKind.Reference, "flag": types.CompletionItemKind.Constant,
}

TRIGGERS = (" ", "/", ".", "{", "[", "-", ":")
"""Characters after which a client asks by itself."""


def completions(analysis: Analysis, offset: int, *, snippets: bool = False) -> list[types.CompletionItem]:
    """What could stand at an offset. `snippets`: the client knows places to fill in."""
    at = cursor(analysis.document, offset)
    found = {one.label: one for one in reversed(candidates(at, analysis))}
    return [_item(one, analysis.places.range(_replaced(one, at, offset)), index, snippets=snippets)
            for index, one in enumerate(reversed(found.values()))]


def _replaced(one: Candidate, at: Cursor, offset: int) -> Span:
    start = at.span.start if one.replaces is None else offset - one.replaces
    # With nothing typed yet the word behind the cursor is the next one, and stays.
    end = at.span.end if at.typed and one.replaces is None and not one.keeps else offset
    return Span(start, end)


def _item(one: Candidate, range: types.Range, index: int, *, snippets: bool) -> types.CompletionItem:
    text = one.snippet if snippets and one.snippet else one.insert or one.label
    return types.CompletionItem(
        label=one.label, kind=_SORTS[one.sort], detail=one.detail or None, sort_text=f"{index:04}",
        documentation=types.MarkupContent(types.MarkupKind.Markdown, one.doc) if one.doc else None,
        filter_text=" ".join((one.label, *one.also)) if one.also else None,
        insert_text_format=types.InsertTextFormat.Snippet if snippets and one.snippet else None,
        text_edit=types.TextEdit(range, text))
