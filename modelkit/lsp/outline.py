"""The file at a glance: its symbols, what folds, where its paths and references lead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from lsprotocol import types

from modelkit.language.checking.references import is_path
from modelkit.language.document import Block, Comment, Instruction, Item, Value
from modelkit.language.source import Span
from modelkit.lsp.analysis import Analysis

_SORTS = {"STAGE": types.SymbolKind.Namespace, "TEST": types.SymbolKind.Event, "FROM": types.SymbolKind.Package,
          "ADAPTER": types.SymbolKind.Package, "DRAFT": types.SymbolKind.Package, "ARG": types.SymbolKind.Variable,
          "PARAMETER": types.SymbolKind.Property, "SERVE": types.SymbolKind.Property, "NAME": types.SymbolKind.Field,
          "EXPECT": types.SymbolKind.Boolean, "POLICY": types.SymbolKind.Boolean}
_LONGEST = 60
_FILES = ("SYSTEMFILE", "TEMPLATEFILE", "TOOLS", "FROM", "ADAPTER", "DRAFT")


def symbols(analysis: Analysis) -> list[types.DocumentSymbol]:
    """Every instruction and block, in file order; what stands in a block is below it."""
    return [_symbol(analysis, item) for item in analysis.document.items if not isinstance(item, Comment)]


def _symbol(analysis: Analysis, item: Instruction | Block) -> types.DocumentSymbol:
    keyword = item.keyword.text.upper()
    if isinstance(item, Block):
        name, detail = f"{keyword} {item.header.text}".strip(), ""
        children = [_symbol(analysis, one) for one in item.body if not isinstance(one, Comment)]
        chosen = item.header.span if item.header.text else item.keyword.span
    else:
        name = f"{keyword} {item.name.text}".strip() if item.name is not None else keyword
        detail, children, chosen = _line(item.value), None, item.keyword.span
    return types.DocumentSymbol(
        name=name, kind=_SORTS.get(keyword, types.SymbolKind.String), detail=detail, children=children,
        range=analysis.places.range(item.span), selection_range=analysis.places.range(chosen))


def _line(value: Value) -> str:
    line = " ".join(value.text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def folds(analysis: Analysis) -> list[types.FoldingRange]:
    """Blocks, texts of several lines, and runs of comment lines."""
    return [*_folded(analysis, analysis.document.items), *_comments(analysis)]


def _folded(analysis: Analysis, items: tuple[Item, ...]) -> Iterator[types.FoldingRange]:
    for item in items:
        start, end = _lines(analysis, item.span)
        if end > start and not isinstance(item, Comment):
            # The line with the closing brace stays in sight; a text's last line is folded away with it.
            yield types.FoldingRange(start, end - isinstance(item, Block), kind=types.FoldingRangeKind.Region)
        if isinstance(item, Block):
            yield from _folded(analysis, item.body)


def _comments(analysis: Analysis) -> Iterator[types.FoldingRange]:
    first = last = -2
    for token in analysis.document.tokens:
        if token.kind == "COMMENT":
            line = _lines(analysis, token.span)[0]
            if line != last + 1:
                if last > first:
                    yield types.FoldingRange(first, last, kind=types.FoldingRangeKind.Comment)
                first = line
            last = line
    if last > first:
        yield types.FoldingRange(first, last, kind=types.FoldingRangeKind.Comment)


def _lines(analysis: Analysis, span: Span) -> tuple[int, int]:
    """The first and last line of a span, from 0."""
    column = analysis.source.line_column
    return column(span.start)[0] - 1, column(span.end)[0] - 1


def links(analysis: Analysis) -> list[types.DocumentLink]:
    """Files that are there, and models that have a page."""
    found = []
    for instruction in analysis.document.all_instructions():
        span, target = _operand(instruction), _target(analysis, instruction)
        if span is not None and target:
            found.append(types.DocumentLink(range=analysis.places.range(span), target=target))
    return found


def file_at(analysis: Analysis, offset: int) -> Path | None:
    """The file that the operand at an offset names, where it exists."""
    for instruction in analysis.document.all_instructions():
        span = _operand(instruction)
        if span is not None and span.start <= offset <= span.end:
            return _file(analysis, instruction)
    return None


def _operand(instruction: Instruction) -> Span | None:
    """The place of the path or reference, without what follows it."""
    text = _reference(instruction)
    inner = instruction.value.inner
    return Span(inner.start, min(inner.end, inner.start + len(text))) if text else None


def _reference(instruction: Instruction) -> str:
    keyword, text = instruction.keyword.text.upper(), instruction.value.text
    if keyword not in _FILES:
        return ""
    return re.split(r"\s+[Aa][Ss]\s+", text, maxsplit=1)[0] if keyword == "ADAPTER" else text


def _file(analysis: Analysis, instruction: Instruction) -> Path | None:
    text = _reference(instruction)
    mine = instruction.keyword.text.upper() in _FILES[:3] or is_path(text)
    if not mine or analysis.folder is None or "\0" in text:
        return None
    try:
        path = analysis.folder / Path(text).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


_PAGES = {"hf.co/": "https://huggingface.co/", "huggingface.co/": "https://huggingface.co/",
          "hf://": "https://huggingface.co/", "https://": "https://"}


def _target(analysis: Analysis, instruction: Instruction) -> str:
    if (path := _file(analysis, instruction)) is not None:
        return path.absolute().as_uri()
    text = _reference(instruction)
    for start, page in _PAGES.items():
        if text.startswith(start):
            rest = text.removeprefix(start)
            return page + quote(rest if start == "https://" else re.split(r"[:@]", rest)[0], safe="/:?&=#%@+~,;.-_")
    return ""
