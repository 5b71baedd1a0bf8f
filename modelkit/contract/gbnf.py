"""Grammars as texts: GBNF, as llama.cpp has it, which is also the EBNF that xgrammar reads."""

from __future__ import annotations

from collections.abc import Iterable


def choice(texts: Iterable[str]) -> str:
    """The grammar of exactly one of some texts."""
    return "root ::= " + " | ".join(map(literal, texts))


def literal(text: str) -> str:
    """A text as a string literal."""
    escaped = "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\x{ord(c):02X}") for c in text)
    return f'"{escaped}"'


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
