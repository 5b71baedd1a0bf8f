"""A Modelfile in its one layout: keywords in capitals, one blank between words, two blanks of indent in a block.

Knows layout, not meaning: every comment, every value and the order of everything stay. What stands between quotes is
never touched, nor are the blanks inside of a text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import CompileError, Severity
from modelkit.language.document import Block, Comment, Document, Instruction, Item, Value
from modelkit.language.parser import parse
from modelkit.language.rules.meaning import MISSING_ARGUMENT
from modelkit.language.source import Source

INDENT = "  "
WORD_LISTS = frozenset({"ENGINE", "QUANTIZE", "UNSET", "REPEAT", "TRY", "STAGE"})
"""What is followed by words, and by nothing in which a second blank could mean something."""

HEADED = frozenset({"FLAG", "ARG", "EXPECT"})
"""What is followed by a word, or by `not` and a word, and then by a text."""

_LINE_END = re.compile(r"\r\n|[\r\n]")
_BLANKS = re.compile(r"[ \t]+")
_HEAD = re.compile(r"(?:[Nn][Oo][Tt][ \t]+)?[^ \t]+[ \t]+(?=[^ \t])")
_GATE = re.compile(r"([^ \t<>=!]+)[ \t]*([<>=!]+)[ \t]*(.*)", re.DOTALL)
_ADVISORY = re.compile(r"[ \t]+advisory$", re.IGNORECASE)


def formatted(source: Source) -> str:
    """The file's text in its one layout, with the line ends that most of its lines have.

    The same commands for Ollama, the same meaning, the same comments; formatting the result changes nothing.
    Raises CompileError, with everything found, for a file with errors: nobody knows what its author meant.
    """
    modelfile, found = compile_source(source)
    errors = {one.rule.id for one in found if one.severity is Severity.ERROR}
    if modelfile is None and errors != {MISSING_ARGUMENT.id}:  # what a file means with one is for others to say
        raise CompileError(found, source)
    return laid_out(parse(source)[0])


def laid_out(document: Document) -> str:
    """The text of a document that was parsed without an error."""
    end = line_end(document)
    return "".join(line + end for line in _lines(document.items, document.source.text))


def line_end(document: Document) -> str:
    """What ends most of the lines, those inside of values apart; LF for a text of one line."""
    gaps = " ".join(token.text for token in document.tokens if token.kind == "SPACE")
    ends = Counter(_LINE_END.findall(gaps)) or Counter(_LINE_END.findall(document.source.text))
    return ends.most_common(1)[0][0] if ends else "\n"


def _lines(items: Sequence[Item], text: str, block: str = "") -> Iterator[str]:
    """Each item without the line end after it; "" for an empty line between two. `block` is the keyword around them."""
    leads = _leads_a_block(items, text)
    indent = INDENT if block else ""
    for index, item in enumerate(items):
        if index and _is_apart(items[index - 1], item, text, begins_a_block=leads[index] and not leads[index - 1]):
            yield ""
        if isinstance(item, Comment):
            yield indent + item.text.rstrip(" \t")
        elif isinstance(item, Instruction):
            yield indent + _instruction(item, text, block)
        else:
            keyword = item.keyword.text.upper()
            yield f"{keyword} {_operands(keyword, item.header, text, block)} {{"
            yield from _lines(item.body, text, keyword)
            yield "}"


def _is_apart(before: Item, item: Item, text: str, *, begins_a_block: bool) -> bool:
    return begins_a_block or isinstance(before, Block) or _line_ends(before, item, text) > 1


def _leads_a_block(items: Sequence[Item], text: str) -> list[bool]:
    """For each item, whether it is a block or one of the comments right above a block, which belong to it."""
    leads = [isinstance(item, Block) for item in items]
    for index in range(len(items) - 2, -1, -1):
        item, following = items[index], items[index + 1]
        if isinstance(item, Comment) and leads[index + 1]:
            leads[index] = _line_ends(item, following, text) == 1
    return leads


def _line_ends(before: Item, after: Item, text: str) -> int:
    return len(_LINE_END.findall(text, before.span.end, after.span.start))


def _instruction(item: Instruction, text: str, block: str) -> str:
    keyword = item.keyword.text.upper()
    name = [item.name.text] if item.name is not None else []
    # Of an empty value only a blank at the end of a line would be left, and editors take those away.
    return " ".join([keyword, *name, _operands(keyword, item.value, text, block) or '""'])


def _operands(keyword: str, value: Value, text: str, block: str) -> str:
    """A value as it is laid out: as it was written, but with one blank between its words where it is made of words."""
    written = text[value.span.start : value.span.end]
    if value.quote:
        return written
    if keyword == "EXPECT" and block != "TEST" and (gate := _GATE.fullmatch(written)):
        return _ADVISORY.sub(" ADVISORY", " ".join(gate.groups()))
    if keyword in HEADED and (head := _HEAD.match(written)):
        return _BLANKS.sub(" ", head[0]) + written[head.end() :]
    if keyword in WORD_LISTS and '"' not in written and "imatrix" not in written.lower():
        return _BLANKS.sub(" ", written)
    return written
