"""Lark reads the grammar file too, and takes and refuses what the parser takes and refuses."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer

from modelkit.language import grammar
from modelkit.language.lexer import WORDS, Shape
from modelkit.language.parser import parse
from modelkit.language.rules.syntax import INSTRUCTION_NOT_ALLOWED_HERE, STRAY_BRACE, UNCLOSED_BLOCK
from modelkit.language.source import Source

OF_STRUCTURE = {INSTRUCTION_NOT_ALLOWED_HERE, STRAY_BRACE, UNCLOSED_BLOCK}
TOKENS = {Shape.VALUE: ["VALUE"], Shape.KEY: ["KEY", "VALUE"], Shape.ROLE: ["ROLE", "VALUE"],
          Shape.LOOSE_KEY: ["KEY", "VALUE"], Shape.BLOCK: ["HEADER", "OPEN"]}
TEXT = {Shape.VALUE: "{} x", Shape.KEY: "{} a x", Shape.ROLE: "{} user x", Shape.LOOSE_KEY: "{} a x",
        Shape.BLOCK: "{} x {{"}


class NoLexer(Lexer):
    """The tokens come from these tests."""

    def __init__(self, conf: object) -> None: ...

    def lex(self, lexer_state: object, parser_state: object) -> list[Token]:
        return []


LARK = Lark(grammar.grammar_text(), start="file", parser="lalr", lexer=NoLexer)


def lark_takes(words: list[str]) -> bool:
    parser = LARK.parse_interactive()
    try:
        for word in words:
            for kind in [word, *(TOKENS[WORDS[word]] if word in WORDS else [])]:
                parser.feed_token(Token(kind, ""))
        parser.feed_eof()
    except UnexpectedToken:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, *["STAGE", "TEST", "CLOSE", "USER", "SYSTEM", "PARAMETER"] * 4]), max_size=9))
def test_lark_and_the_parser_agree(words: list[str]) -> None:
    text = "\n".join(TEXT[WORDS[word]].format(word) if word in WORDS else "}" for word in words)
    _, found = parse(Source("Modelfile", text))
    assert lark_takes(words) == (not {d.rule for d in found} & OF_STRUCTURE), text


def test_lark_and_the_lexer_give_every_instruction_the_same_shape() -> None:
    for word in WORDS:
        inside = {"stage": ["STAGE"], "test": ["TEST"], "file": []}
        place = next(place for place in inside if word in grammar.allowed()[place])
        parser = LARK.parse_interactive()
        for kind in [*(k for outer in inside[place] for k in (outer, "HEADER", "OPEN")), word]:
            parser.feed_token(Token(kind, ""))
        for kind in TOKENS[WORDS[word]]:
            assert parser.accepts() == {kind}
            parser.feed_token(Token(kind, ""))
