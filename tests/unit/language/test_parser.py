from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.language.diagnostic import Diagnostic, Severity
from modelkit.language.document import Block, Comment, Document, Item
from modelkit.language.excerpt import as_json, as_report
from modelkit.language.parser import parse
from modelkit.language.source import Source
from tests.conftest import Golden
from tests.unit.language.texts import ours_like

SYNTAX = Path(__file__).parents[2] / "golden/syntax"


def read(text: str) -> tuple[Document, list[Diagnostic]]:
    return parse(Source("Modelfile", text))


def rules(text: str) -> list[str]:
    return [d.rule.id for d in read(text)[1]]


@pytest.mark.parametrize("case", sorted(SYNTAX.glob("*.modelfile")), ids=lambda path: path.stem)
def test_nodes(case: Path, golden: Golden) -> None:
    document, found = parse(Source.read(case))
    assert not found
    golden(case.with_suffix(".nodes"), "".join(f"{line}\n" for item in document.items for line in drawn(item)))


def drawn(item: Item, indent: str = "") -> list[str]:
    if isinstance(item, Comment):
        return [f"{indent}{item.text!r}"]
    at = f"{item.span.start}-{item.span.end}"
    if isinstance(item, Block):
        head = f"{indent}{item.keyword.text} {item.header.text!r} {at}"
        return [head, *(line for inner in item.body for line in drawn(inner, indent + "  "))]
    name = f" {item.name.text}" if item.name else ""
    return [f"{indent}{item.keyword.text}{name} {item.value.quote}{item.value.text!r} {at}"]


def test_spans_are_exact() -> None:
    text = '# c\nPARAMETER stop  "a b" \nSTAGE dev {\n  SERVE port 80\n}\nFROM x'
    document, _ = read(text)
    parameter = next(document.instructions())
    assert parameter.name

    def cut(span: object) -> str:
        return text[span.start : span.end]  # type: ignore[attr-defined]

    assert cut(parameter.span) == 'PARAMETER stop  "a b"'
    assert (cut(parameter.keyword.span), cut(parameter.name.span)) == ("PARAMETER", "stop")
    assert (cut(parameter.value.span), cut(parameter.value.inner)) == ('"a b"', "a b")
    (stage,) = document.blocks("STAGE")
    assert cut(stage.span) == "STAGE dev {\n  SERVE port 80\n}"
    assert (cut(stage.header.span), cut(stage.body[0].span)) == ("dev", "SERVE port 80")


def test_comments_stand_where_they_stood() -> None:
    document, _ = read("# 1\nFROM x\n# 2\nSTAGE dev {\n# 3\nPOLICY locked\n# 4\n}\n# 5\n")
    (stage,) = document.blocks("STAGE")
    assert [type(i).__name__ for i in document.items] == ["Comment", "Instruction", "Comment", "Block", "Comment"]
    assert [i.text for i in stage.body if isinstance(i, Comment)] == ["# 3", "# 4"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM x\nSYTEM a\nPARAMTER b c\nMESSAGE bot d\n", ["unknown-instruction"] * 2 + ["bad-role"]),
        ('FROM x\nSYSTEM "a\nSYSTEM """b\nSYTEM c\n', ["unclosed-quote"] * 2 + ["unknown-instruction"]),
        ("FROM x\nprose here\nand here\nTOO LOUD\n", ["unknown-instruction"] * 2),
        ("FROM x\nSYSTEM You\nlove\nUser hi\ntest this\nfrom here\nPARAMTER a b\n", ["unknown-instruction"] * 2),
        ("from x\nsytem You\nuser hi\n", ["unknown-instruction", "instruction-not-allowed-here"]),
        ("STAGE a {\nSTAGE b {\nSTAGE c {\n", ["missing-from"] + ["unclosed-block"] * 3),
        ("FROM x\nSTAGE a {\nSTAGE b {\n}\n}\n", ["instruction-not-allowed-here"]),
        ("FROM x\nSTAGE a\nPOLICY locked\nSTAGE b {\n}\n", ["bad-block-header"]),
        ("FROM x\nSTAGE a {\nSYSTEM \"b\n}\n", ["unclosed-quote"]),
        ("FROM x\n}\n}\n", ["stray-brace"] * 2),
        ("FORM x\n", ["unknown-instruction"]),
        ("STAGE dev {\nFROM x\n}\n", []),
        ("F\0R\0O\0M\0 \0x\0\n\0", ["bad-encoding"]),
        ("FROM caf\ufffd\n", ["invalid-bytes"]),
    ],
)
def test_every_mistake_is_found_and_none_is_made_up(text: str, expected: list[str]) -> None:
    assert rules(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        'SYSTEM """\nFROM python:3\nRUN pip install x\nSYSTEM is a word\n"""\n',
        'SYSTEM "Dear\nUSER of this file"\n',
        "SYSTEM See issue #5 and C# too\n",
        "PARAMETER stop #\n",
        "PARAMETER stop ### User:\n",
        "PARAMETER stop \"### User: # x\"\n",
        'SYSTEM "a \\n b"\n',
        "SYSTEM it's 'fine' to say\n",
        "SYSTEM \u8bed \U0001f469 \U0001fae8\ufe0f e\u0301\n",
        "FROM y\r\nSYSTEM a\r\n",
        'LICENSE """MIT\r\nme"""\r\n',
        'PARAMETER stop "a, b"\n',
        "PARAMETER stop [INST]\n",
        'SYSTEM He said "hi" "there"\n',
    ],
)
def test_says_nothing_about_what_is_fine(text: str) -> None:
    found = rules("FROM x\n" + text)
    assert found == []


@given(ours_like())
@settings(max_examples=300, deadline=None)
def test_whatever_the_text_it_is_read_and_everything_said_can_be_shown(text: str) -> None:
    source = Source("Modelfile", text)
    document, found = parse(source)
    assert "".join(t.text for t in document.tokens) == text
    assert as_report(found, source)
    for diagnostic in found:
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text)
        assert as_json(diagnostic, source)["start"]["line"] >= 1


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_good_file_with_a_piece_cut_out_or_put_in_is_read(data: st.DataObject) -> None:
    text = (SYNTAX / "whole.modelfile").read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    piece = data.draw(st.sampled_from(["", '"', '"""', "{", "}", "\n", "\r", "#", " ", "\0", "STAGE", "}\n}\n"]))
    document, found = read(text[:start] + piece + text[end:])
    errors = [d for d in found if d.severity is Severity.ERROR]
    assert list(document.instructions()) or list(document.blocks("STAGE")) or errors
