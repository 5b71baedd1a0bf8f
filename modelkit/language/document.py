"""The lossless shape of a Modelfile: every token with its place. Knows shapes, not meanings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from modelkit.language.source import Source, Span


class Token(NamedTuple):
    """A stretch of the source. The texts of a Document's tokens, joined, are the source's text.

    `kind` is a keyword in upper case, KEY, ROLE, VALUE, HEADER, OPEN or CLOSE; or what the grammar does not see:
    SPACE, COMMENT, IGNORED (characters that reading drops), ERROR (a mistake).
    """

    kind: str
    text: str
    span: Span

    @property
    def type(self) -> str:
        """The kind, by the name that Lark asks for."""
        return self.kind


@dataclass(frozen=True, slots=True)
class Word:
    """A keyword or a name, as written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Value:
    """An instruction's argument.

    `text` is what it means by Ollama's rules: trimmed or unquoted, non-printable characters deleted. `span` covers
    it as written, quotes included; `inner` covers what stands between the quotes (or the trimmed text).
    """

    text: str
    span: Span
    inner: Span
    quote: str = ""  # "", '"' or '\"\"\"'


@dataclass(frozen=True, slots=True)
class Comment:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: `FROM x`, `PARAMETER stop "a"`, `SERVE port 8000`.

    `name` is the second word of the instructions that have one by Ollama's lexical rules (PARAMETER's name,
    MESSAGE's role), and of ours that follow the same shape (SERVE, FLAG, UNSET, TRY, EXPECT, POLICY, ENGINE keep
    their operands in `value`; only PARAMETER, MESSAGE and SERVE have `name`).
    """

    keyword: Word
    name: Word | None
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    """`STAGE prod {` … `}` or `TEST "title" {` … `}`; `header` is what stands between the keyword and the brace."""

    keyword: Word
    header: Value
    body: tuple[Item, ...]
    span: Span


Item = Instruction | Block | Comment


@dataclass(frozen=True)
class Document:
    """One parsed file."""

    source: Source
    items: tuple[Item, ...]
    tokens: tuple[Token, ...]

    def instructions(self) -> Iterator[Instruction]:
        """The instructions outside blocks, in file order."""
        return (item for item in self.items if isinstance(item, Instruction))

    def all_instructions(self) -> Iterator[Instruction]:
        """Every instruction, those in blocks too, in file order."""
        for item in self.items:
            if isinstance(item, Instruction):
                yield item
            elif isinstance(item, Block):
                yield from (inner for inner in item.body if isinstance(inner, Instruction))

    def blocks(self, keyword: str) -> Iterator[Block]:
        """The blocks with this keyword (upper case), in file order."""
        return (b for b in self.items if isinstance(b, Block) and b.keyword.text.upper() == keyword)
