"""STAGE blocks: their names, whom they extend, what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelkit.language.checking.context import Context, shown
from modelkit.language.checking.layer import LayerReader
from modelkit.language.checking.parts import Operands
from modelkit.language.diagnostic import Note, did_you_mean
from modelkit.language.document import Block, Instruction, Word
from modelkit.language.modelfile import KNOWN_STAGES, Said, Stage
from modelkit.language.names import STAGE_NAME
from modelkit.language.rules.meaning import DUPLICATE_STAGE, EXTENDS_CYCLE, UNKNOWN_STAGE, UNKNOWN_STAGE_EXTENDS
from modelkit.language.rules.syntax import BAD_BLOCK_HEADER


@dataclass(frozen=True, slots=True)
class _Header:
    """`name`, or `name EXTENDS extends`."""

    block: Block
    name: Word
    extends: Word | None


def read_stages(blocks: Iterable[Block], context: Context) -> dict[str, Stage]:
    """The file's stages by name. Each body is read, whatever is wrong with its header."""
    headers: dict[str, _Header] = {}
    stages: dict[str, Stage] = {}
    others: list[Block] = []
    for block in blocks:
        header = _read_header(block, context)
        if header is None or _is_duplicate(header, headers, context):
            others.append(block)
        else:
            headers[header.name.text] = header
    _check_lineage(headers, context)
    kinds = _kinds(headers)
    for name, header in headers.items():
        layer = LayerReader(context, experiments=kinds[name] == "experiment").read(_instructions(header.block))
        extends = Said(header.extends.text, header.extends.span) if header.extends else None
        stages[name] = Stage(name, header.block.span, extends, layer)
    for block in others:
        LayerReader(context, experiments=True).read(_instructions(block))
    return stages


def _read_header(block: Block, context: Context) -> _Header | None:
    operands = Operands(block.header)
    name, extends, base, rest = operands.word(), operands.word(), operands.word(), operands.rest()
    if extends.text and (extends.text.upper() != "EXTENDS" or not base.text or rest.text):
        message = f"`STAGE {shown(block.header.text)}` is not `STAGE name` or `STAGE name EXTENDS stage`"
        context.report.add(BAD_BLOCK_HEADER, message, block.header.span)
        return None
    if not name.text or not context.name("a stage", STAGE_NAME, name.text, name.span):
        return None
    return _Header(block, name, base if base.text else None)


def _is_duplicate(header: _Header, headers: dict[str, _Header], context: Context) -> bool:
    first = headers.get(header.name.text)
    if first is not None:
        notes = [Note("the first one is here", first.name.span)]
        context.report.add(DUPLICATE_STAGE, f"there are two stages called `{header.name.text}`", header.name.span,
                           notes=notes)
    return first is not None


def _check_lineage(headers: dict[str, _Header], context: Context) -> None:
    known = tuple(dict.fromkeys((*KNOWN_STAGES, *headers)))
    for name, header in headers.items():
        if header.extends is None:
            if name not in KNOWN_STAGES:
                near = did_you_mean(name, KNOWN_STAGES)
                hint = f"did you mean `{near}`? If not, let it extend one: `STAGE {name} EXTENDS prod {{`"
                context.report.add(UNKNOWN_STAGE, f"`{name}` is not a stage that is known, and it extends none",
                                   header.name.span, hint=hint if near else f"write `STAGE {name} EXTENDS prod {{`",
                                   fix=context.fix(header.name, near) if near else None)
        elif header.extends.text not in known:
            context.unknown(UNKNOWN_STAGE_EXTENDS, "stage", header.extends, known)
    for circle in _circles(headers):
        shown_part = circle if len(circle) <= 5 else [*circle[:4], "…"]
        path = " extends ".join(f"`{stage}`" for stage in (*shown_part, circle[0]))
        extends = headers[circle[0]].extends
        assert extends is not None  # it is what makes the circle
        context.report.add(EXTENDS_CYCLE, f"a circle of stages: {path}", extends.span)


def _circles(headers: dict[str, _Header]) -> Iterator[list[str]]:
    """Each circle of stages, from the one that stands first in the file on."""
    order = {name: index for index, name in enumerate(headers)}
    seen: set[str] = set()
    for start in headers:
        path: dict[str, None] = {}
        name: str | None = start
        while name is not None and name in headers and name not in seen:
            seen.add(name)
            path[name] = None
            extends = headers[name].extends
            name = extends.text if extends else None
        if name in path:
            circle = list(path)[list(path).index(name) :]
            first = circle.index(min(circle, key=order.__getitem__))
            yield circle[first:] + circle[:first]


def _kinds(headers: dict[str, _Header]) -> dict[str, str]:
    """For each stage the known one that it is or extends; "" where the lineage is broken."""
    kinds = dict(zip(KNOWN_STAGES, KNOWN_STAGES, strict=True))
    for start in headers:
        path: dict[str, None] = {}
        name = start
        while name not in kinds and name not in path:
            path[name] = None
            extends = headers[name].extends if name in headers else None
            name = extends.text if extends else ""
        kinds |= dict.fromkeys(path, kinds.get(name, ""))
    return kinds


def _instructions(block: Block) -> Iterable[Instruction]:
    return (item for item in block.body if isinstance(item, Instruction))
