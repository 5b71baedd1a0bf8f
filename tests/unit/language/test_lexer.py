from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.language import grammar
from modelkit.language.lexer import OLLAMA_WORDS, OUR_WORDS, WORDS, Problem, lex
from modelkit.language.values import ValueEnds, read_value
from tests.unit.language.texts import ours_like


def kinds(text: str) -> list[tuple[str, str]]:
    return [(t.kind, t.text) for t in lex(text).tokens if t.kind != "SPACE"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("FROM x", [("FROM", "FROM"), ("VALUE", "x")]),
        ("from  x \n", [("FROM", "from"), ("VALUE", "x")]),
        ("FROM \n", [("FROM", "FROM"), ("VALUE", "")]),
        ("PARAMETER stop a b", [("PARAMETER", "PARAMETER"), ("KEY", "stop"), ("VALUE", "a b")]),
        ("PARAMETER  stop a", [("PARAMETER", "PARAMETER"), ("KEY", ""), ("VALUE", "stop a")]),
        ("SERVE   port   8000", [("SERVE", "SERVE"), ("KEY", "port"), ("VALUE", "8000")]),
        ("MESSAGE user hi", [("MESSAGE", "MESSAGE"), ("ROLE", "user"), ("VALUE", "hi")]),
        ("\u200bFROM x\u200b", [("IGNORED", "\u200b"), ("FROM", "FROM"), ("VALUE", "x"), ("IGNORED", "\u200b")]),
        ("STAGE dev{\n}", [("STAGE", "STAGE"), ("HEADER", "dev"), ("OPEN", "{"), ("CLOSE", "}")]),
        ('TEST "a { b" {', [("TEST", "TEST"), ("HEADER", '"a { b"'), ("OPEN", "{")]),
        ("STAGE a { x }", [("STAGE", "STAGE"), ("HEADER", "a"), ("OPEN", "{"), ("ERROR", " x "), ("CLOSE", "}")]),
        ("STAGE dev", [("STAGE", "STAGE"), ("HEADER", "dev"), ("OPEN", "")]),
        (" # c\nFROM#x", [("COMMENT", "# c"), ("ERROR", "FROM#x")]),
        ('SYTEM """a\nFROM x"""\nFROM y', [("ERROR", 'SYTEM """a\nFROM x"""'), ("FROM", "FROM"), ("VALUE", "y")]),
    ],
)
def test_tokens(text: str, tokens: list[tuple[str, str]]) -> None:
    assert kinds(text) == tokens


def test_in_ollamas_words_ours_do_not_exist() -> None:
    problems = [m.problem for m in lex("NAME a\nSTAGE b {\n}\n", OLLAMA_WORDS).mistakes]
    assert problems == [Problem.WORD, Problem.WORD, Problem.WORD]


def test_the_grammar_and_the_lexer_know_the_same_words() -> None:
    allowed = grammar.allowed()
    assert frozenset.union(*allowed.values()) - {"CLOSE"} == set(WORDS)
    assert allowed["file"] >= set(OLLAMA_WORDS)
    assert not set(OLLAMA_WORDS) & set(OUR_WORDS)


@given(ours_like())
@settings(max_examples=300, deadline=None)
def test_nothing_is_lost(text: str) -> None:
    check_lossless(text)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_nothing_of_any_text_is_lost(text: str) -> None:
    check_lossless(text)


def check_lossless(text: str) -> None:
    tokens = lex(text).tokens
    assert "".join(t.text for t in tokens) == text
    at = 0
    for token in tokens:
        assert (token.span.start, token.span.end) == (at, at + len(token.text))
        at = token.span.end


def test_a_value_knows_what_stands_between_its_quotes() -> None:
    text = '"\u200b""a\u00a0b""\u200b"'
    value = read_value(text, 100)
    assert (value.text, value.quote) == ("ab", '"""')
    assert text[value.inner.start - 100 : value.inner.end - 100] == "a\u00a0b"


class CountingText(str):
    """Counts how much of it is cut out, as a measure of the work done on it."""

    work = 0

    def __getitem__(self, index: object) -> str:
        cut = str.__getitem__(self, index)  # type: ignore[index]
        CountingText.work += len(cut)
        return cut


HOSTILE = ('SYSTEM "a\n', 'SYSTEM """a\n', '"', 'SYSTEM """\n', 'a"""b"\n', 'SYSTEM "\nSYSTEM """\n')


@pytest.mark.parametrize("line", HOSTILE)
def test_the_ends_of_values_are_found_in_linear_work(line: str) -> None:
    text = CountingText(line * 2000)
    CountingText.work = 0
    ends, at = ValueEnds(text), 0
    while at < len(text):
        ends.find(at)
        at = ends.line_end(at) + 1
    assert CountingText.work < 5 * len(text)
