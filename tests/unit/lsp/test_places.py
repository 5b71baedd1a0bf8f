"""Positions, names, symbols, folds and links."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsprotocol import types

from modelkit.language.source import Source, Span
from modelkit.lsp import names, outline
from modelkit.lsp.colours import LEGEND, colours
from modelkit.lsp.positions import Positions
from tests.unit.lsp.texts import SUPPORT, analysed, marked

ODD = "a👩‍🚀b\té\r\n日本\rx\n\n🇩🇪"


@pytest.mark.parametrize("encoding", list(types.PositionEncodingKind))
def test_a_position_leads_back_to_its_offset(encoding: types.PositionEncodingKind) -> None:
    places = Positions(Source("Modelfile", ODD), encoding)
    inside_crlf = ODD.index("\r\n") + 1
    for offset in range(len(ODD) + 1):
        if offset != inside_crlf:
            assert places.offset(places.position(offset)) == offset


@pytest.mark.parametrize(("encoding", "column"), [("utf-8", 12), ("utf-16", 6), ("utf-32", 4)])
def test_columns_are_counted_in_the_agreed_units(encoding: str, column: int) -> None:
    places = Positions(Source("Modelfile", ODD), types.PositionEncodingKind(encoding))
    assert places.position(ODD.index("b")) == types.Position(0, column)
    assert places.position(ODD.index("x")) == types.Position(2, 0)


@pytest.mark.parametrize("encoding", list(types.PositionEncodingKind))
def test_positions_that_no_text_has_are_moved_into_it(encoding: types.PositionEncodingKind) -> None:
    places = Positions(Source("Modelfile", ODD), encoding)
    assert places.offset(types.Position(0, 999)) == ODD.index("\r")
    assert places.offset(types.Position(99, 0)) == len(ODD)
    for column in range(30):
        assert places.offset(types.Position(4, column)) in range(len(ODD) - 2, len(ODD) + 1)


@pytest.mark.parametrize(("text", "found"), [
    ("STAGE ¦prod {\n}", ["prod"]),
    ("STAGE prod {\n}\nSTAGE a extends pr¦od {\n}", ["prod", "prod"]),
    ("FROM x:${A}\nARG ¦A 1\nSYSTEM \"\"\"${A}\n${A} ${B}\"\"\"", ["A"] * 4),
    ("ARG A 1\nFROM x\u00ad:${¦A}", ["A", "A"]),
    ("ADAPTER ./as as/x.gguf AS ¦kind", ["kind"]),
    ("FROM x:${¦B}", []),
    ("FROM ¦x", []),
    ("NAME pro¦d\nSTAGE prod {\n}", []),
])
def test_the_places_of_a_name(text: str, found: list[str]) -> None:
    analysis, offset = marked(text)
    name = names.at(analysis.document, offset)
    places = names.places(analysis.document, name) if name is not None else []
    assert [analysis.source.text[one.span.start : one.span.end] for one in places] == found


@pytest.mark.parametrize(("text", "new", "refusal"), [
    ("STAGE pr¦od {\n}", "dev", None),
    ("STAGE pr¦od {\n}", "production", "it can only be one of experiment, dev, prod"),
    ("STAGE a¦ EXTENDS prod {\n}", "canary", None),
    ("STAGE a¦ EXTENDS prod {\n}\nSTAGE canary EXTENDS dev {\n}", "canary", "there is a stage `canary` already"),
    ("STAGE a¦ EXTENDS prod {\n}", "two words", "made of"),
    ("ARG ¦A 1", "1A", "made of"),
    ("ARG ¦A 1", "A", None),
    ("ADAPTER ./x.gguf AS ¦kind", "kinder", None),
    ("ADAPTER ./x.gguf AS ¦kind", "-", "made of"),
])
def test_which_new_names_there_may_be(text: str, new: str, refusal: str | None) -> None:
    analysis, offset = marked(text)
    name = names.at(analysis.document, offset)
    assert name is not None
    if refusal is None:
        names.expect_new_name(analysis.document, name, new)
    else:
        with pytest.raises(names.CannotRename, match=refusal):
            names.expect_new_name(analysis.document, name, new)


def test_symbols() -> None:
    found = outline.symbols(analysed(SUPPORT))
    assert [(one.name, one.detail) for one in found[:6]] == [
        ("NAME", "support"), ("FROM", "llama3.2:${SIZE}"), ("ARG", "SIZE 3b"), ("SYSTEM", "Be brief. Be kind."),
        ("PARAMETER temperature", "0.2"), ("ADAPTER", "./tone.gguf AS support-kind")]
    stage = found[6]
    assert [one.name for one in stage.children or ()] == ["ENGINE", "FLAG", "EXPECT"]
    for one in found:
        for part in (one, *(one.children or ())):
            assert part.range.start <= part.selection_range.start and part.selection_range.end <= part.range.end


def test_a_long_text_is_short_among_the_symbols() -> None:
    (found,) = outline.symbols(analysed("SYSTEM " + "word " * 100))
    assert found.detail is not None and len(found.detail) <= 60


@pytest.mark.parametrize(("text", "lines"), [
    ("# a\n# b\n\n# c\nFROM x\n# d", [(0, 1, "comment")]),
    ('FROM x\nSYSTEM """a\nb\nc"""\n', [(1, 3, "region")]),
    ('STAGE a {\n  # x\n  # y\n  SYSTEM "a\nb"\n}\n', [(0, 4, "region"), (3, 4, "region"), (1, 2, "comment")]),
    ("STAGE a {\n", []),
    ("FROM x\r\nSTAGE a {\r\n}\r\n", [(1, 1, "region")]),
])
def test_folds(text: str, lines: list[tuple[int, int, str]]) -> None:
    found = outline.folds(analysed(text))
    assert [(one.start_line, one.end_line, one.kind) for one in found] == lines


@pytest.mark.parametrize(("text", "target"), [
    ("FROM hf.co/org/repo:Q4_K_M@abc", "https://huggingface.co/org/repo"),
    ("FROM hf://org/repo", "https://huggingface.co/org/repo"),
    ("FROM pypi://llm-x==0.1/x/y.gguf", None),
    ("FROM https://example.org/a b.gguf?x=1", "https://example.org/a%20b.gguf?x=1"),
    ("FROM llama3.2:3b", None),
    ("FROM ./gone.gguf", None),
    ("SYSTEM ./there.txt", None),
])
def test_where_references_lead(text: str, target: str | None, tmp_path: Path) -> None:
    (tmp_path / "there.txt").touch()
    assert [one.target for one in outline.links(analysed(text, tmp_path))] == ([target] if target else [])


@pytest.mark.parametrize("text", ["SYSTEMFILE ./there.txt", "TEMPLATEFILE there.txt", 'TOOLS "there.txt"',
                                  "ADAPTER ./there.txt AS me", "FROM ./there.txt"])
def test_where_paths_lead(text: str, tmp_path: Path) -> None:
    (tmp_path / "there.txt").touch()
    whole = f'TEST "a" {{\n{text}\n}}' if text.startswith("TOOLS") else text
    analysis = analysed(whole, tmp_path)
    (link,) = outline.links(analysis)
    assert link.target == (tmp_path / "there.txt").as_uri()
    span = analysis.places.span(link.range)
    assert whole[span.start : span.end].endswith("there.txt")
    assert outline.file_at(analysis, span.start + 3) == tmp_path / "there.txt"
    assert outline.file_at(analysis, len(whole) + 1) is None


def coloured(text: str) -> list[tuple[str, str]]:
    """The words of a file with their kinds, unpacked as a client does it."""
    analysis, line, column = analysed(text), 0, 0
    data, found = list(colours(analysis).data), []
    for down, right, length, sort, _ in zip(*(data[i::5] for i in range(5)), strict=True):
        line, column = line + down, right if down else column + right
        span = analysis.places.span(types.Range(types.Position(line, column), types.Position(line, column + length)))
        found.append((text[span.start : span.end], LEGEND.token_types[sort]))
    return found


@pytest.mark.parametrize(("text", "found"), [
    ("# 👋 a\nfrom x:${A}", [("# 👋 a", "comment"), ("from", "keyword"), ("x:", "string"), ("${A}", "variable")]),
    ('SYSTEM """👋\r\nb"""', [("SYSTEM", "keyword"), ('"""👋', "string"), ('b"""', "string")]),
    ("PARAMETER top_k 3", [("PARAMETER", "keyword"), ("top_k", "property"), ("3", "number")]),
    ("STAGE a extends prod {\n}", [("STAGE", "keyword"), ("a", "namespace"), ("extends", "keyword"),
                                   ("prod", "namespace")]),
    ('TEST "a b" {\nEXPECT not regex /a b/\n}', [("TEST", "keyword"), ('"a b"', "string"), ("EXPECT", "keyword"),
                                                 ("not", "keyword"), ("regex", "property"), ("/a b/", "string")]),
    ("EXPECT ttft.p95 <= 500ms", [("EXPECT", "keyword"), ("ttft.p95", "property"), ("<=", "operator"),
                                  ("500ms", "number")]),
    ("ADAPTER /a/b.gguf AS c", [("ADAPTER", "keyword"), ("/a/b.gguf", "string"), ("AS", "keyword"), ("c", "string")]),
    ("UNSET PARAMETER stop", [("UNSET", "keyword"), ("PARAMETER", "keyword"), ("stop", "property")]),
    ("NONSENSE x", []),
])
def test_colours(text: str, found: list[tuple[str, str]]) -> None:
    assert coloured(text) == found


def test_a_span_that_a_client_gives_backwards_is_turned() -> None:
    places = Positions(Source("Modelfile", "abc"))
    backwards = types.Range(types.Position(0, 2), types.Position(0, 1))
    assert places.span(backwards) == Span(1, 2)
