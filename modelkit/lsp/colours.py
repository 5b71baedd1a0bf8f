"""What each word of a file is, for editors that colour by it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lsprotocol import types

from modelkit.language.document import Token
from modelkit.language.lexer import WORDS
from modelkit.language.source import Span
from modelkit.lsp.analysis import Analysis

_SORTS = ("keyword", "property", "enumMember", "string", "number", "variable", "comment", "namespace", "operator")
LEGEND = types.SemanticTokensLegend(token_types=list(_SORTS), token_modifiers=[])

_TEXTS = frozenset({"SYSTEM", "TEMPLATE", "MESSAGE", "LICENSE", "USER", "ASSISTANT", "TOOL", "FROM", "DRAFT", "NAME",
                    "SYSTEMFILE", "TEMPLATEFILE", "TOOLS", "REQUIRES", "TEST"})
"""Instructions whose value is one text, or one name."""

_PIECE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_PART = re.compile(r'"[^\r\n]*"|/[^\r\n]*/(?=[ \t\r\n]|$)|[^ \t\r\n]+')
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?(%|ms|us|h|m|s|[kKMGT]i?B)?")
_OPERATOR = re.compile(r"[<>=!]=?")
_INNER_KEYWORDS = frozenset({"AS", "EXTENDS", "PASS", "NOT", "IMATRIX", "SPEED"})


def colours(analysis: Analysis) -> types.SemanticTokens:
    """Every coloured stretch of the file, none longer than its line, as the protocol packs them."""
    data: list[int] = []
    line = column = 0
    for sort, span in _stretches(analysis):
        place, end = analysis.places.position(span.start), analysis.places.position(span.end)
        data += [place.line - line, place.character - (column if place.line == line else 0),
                 end.character - place.character, _SORTS.index(sort), 0]
        line, column = place.line, place.character
    return types.SemanticTokens(data)


def _stretches(analysis: Analysis) -> Iterator[tuple[str, Span]]:
    """Kinds and places in file order."""
    keyword = ""
    for token in analysis.document.tokens:
        if token.kind in WORDS:
            keyword = token.kind
            yield "keyword", token.span
        elif token.kind == "KEY" and token.text:
            yield "property", token.span
        elif token.kind == "ROLE":
            yield "enumMember", token.span
        elif token.kind == "COMMENT":
            yield "comment", token.span
        elif token.kind in ("VALUE", "HEADER"):
            yield from _by_lines(_value(keyword, token), analysis)


def _by_lines(stretches: Iterator[tuple[str, Span]], analysis: Analysis) -> Iterator[tuple[str, Span]]:
    for sort, span in stretches:
        for found in re.finditer(r"[^\r\n]+", analysis.source.text[span.start : span.end]):
            yield sort, Span(span.start + found.start(), span.start + found.end())


def _value(keyword: str, token: Token) -> Iterator[tuple[str, Span]]:
    start, text = token.span.start, token.text
    if keyword in _TEXTS or (keyword == "PARAMETER" and not _NUMBER.fullmatch(text)):
        yield from _with_variables("string", text, start)
        return
    for found in _PART.finditer(text):
        yield from _with_variables(_sort(keyword, found[0]), found[0], start + found.start())


def _sort(keyword: str, word: str) -> str:
    if word.startswith(('"', "/")):
        return "string"
    if _NUMBER.fullmatch(word):
        return "number"
    if _OPERATOR.fullmatch(word):
        return "operator"
    if word.upper() in _INNER_KEYWORDS or (keyword in ("UNSET", "TRY") and word.upper() in WORDS):
        return "keyword"
    return _OF_WORDS.get(keyword, "enumMember")


_OF_WORDS = {"STAGE": "namespace", "ARG": "variable", "FLAG": "property", "ADAPTER": "string", "EXPECT": "property",
             "UNSET": "property"}


def _with_variables(sort: str, text: str, start: int) -> Iterator[tuple[str, Span]]:
    at = 0
    for found in _PIECE.finditer(text):
        if found.start() > at:
            yield sort, Span(start + at, start + found.start())
        yield "variable", Span(start + found.start(), start + found.end())
        at = found.end()
    if at < len(text):
        yield sort, Span(start + at, start + len(text))
