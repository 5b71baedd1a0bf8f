"""The grammar file as a parser: finds it, loads it once, turns its trees into a Document's nodes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.language.document import Block, Instruction, Token, Word
from modelkit.language.source import Span
from modelkit.language.values import read_value

if TYPE_CHECKING:
    from lark import Lark
    from lark.parsers.lalr_interactive_parser import InteractiveParser

FILE = "modelfile.lark"
CONTEXTS = {"file": (), "stage": ("STAGE", "HEADER", "OPEN"), "test": ("TEST", "HEADER", "OPEN")}


def grammar_text() -> str:
    """The grammar, from the wheel; in an editable install, from the checkout it was installed from."""
    packaged = resources.files("modelkit.language") / FILE
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[2] / "grammar" / FILE).read_text("utf-8")


def new_parser() -> InteractiveParser:
    """A parser at the start of a file, fed one token at a time by `feed`."""
    return _lark().parse_interactive()


def feed(parser: InteractiveParser, token: Token) -> bool:
    """Takes the token, or says that it may not stand here and changes nothing that matters."""
    try:
        parser.feed_token(token)  # type: ignore[arg-type]  # Lark asks a token for its type only
    except _unexpected():
        return False
    return True


def finish(parser: InteractiveParser) -> list[Instruction | Block]:
    """The nodes of the whole file, in order; every block must have been closed."""
    nodes: list[Instruction | Block] = parser.feed_eof()  # type: ignore[no-untyped-call]
    return nodes


@lru_cache(maxsize=1)
def allowed() -> dict[str, frozenset[str]]:
    """What the grammar lets stand at the top of a file, in a STAGE and in a TEST: keywords, and CLOSE."""
    found = {}
    for context, opening in CONTEXTS.items():
        parser = new_parser()
        for kind in opening:
            feed(parser, Token(kind, "", Span(0, 0)))
        found[context] = frozenset(parser.accepts()) - {"$END"}  # type: ignore[no-untyped-call]
    return found


@lru_cache(maxsize=1)
def _lark() -> Lark:
    from lark import Lark, Transformer, Tree
    from lark.lexer import Lexer

    class Unused(Lexer):
        """The tokens come from our own lexer, one at a time; Lark must not make one of its own."""

        def __init__(self, conf: Any) -> None: ...

        def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Any]:
            return iter(())

    class ToNodes(Transformer[Any, Any]):
        def file(self, children: list[Instruction | Block]) -> list[Instruction | Block]:
            return children

        def stage(self, children: list[Any]) -> Block:
            keyword, header, _open, *body, close = children
            span = Span(keyword.span.start, close.span.end)
            return Block(_word(keyword), read_value(header.text, header.span.start), tuple(body), span)

        test = stage

        def __default__(self, data: str, children: list[Any], meta: Any) -> Instruction | Tree[Any]:
            if data.startswith("_"):
                return Tree(data, children)  # Lark puts its children in its place
            keyword, *name, value = children
            read = read_value(value.text, value.span.start)
            return Instruction(
                _word(keyword), _word(name[0]) if name else None, read, Span(keyword.span.start, read.span.end)
            )

    return Lark(grammar_text(), start="file", parser="lalr", lexer=Unused, transformer=ToNodes())


@lru_cache(maxsize=1)
def _unexpected() -> type[Exception]:
    from lark.exceptions import UnexpectedToken

    return UnexpectedToken


def _word(token: Token) -> Word:
    return Word(token.text, token.span)
