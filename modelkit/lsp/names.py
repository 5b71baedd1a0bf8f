"""The names that a file gives: stages, variables, adapters. Where each is given, and where it is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from modelkit.language.document import Document, Value
from modelkit.language.kinds import Word, Wrong
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.names import MODEL_NAME, STAGE_NAME, VARIABLE
from modelkit.language.source import Span

Kind = Literal["stage", "variable", "adapter"]

_STAGE = re.compile(r"\s*(?P<name>\S+)(?:\s+[Ee][Xx][Tt][Ee][Nn][Dd][Ss]\s+(?P<base>\S+))?")
_VARIABLE = re.compile(r"\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?=\s|$)")
_ADAPTER = re.compile(r".*?\S\s+[Aa][Ss]\s+(?P<name>\S+)\s*", re.DOTALL)
_USE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

RULES: dict[Kind, Word] = {"stage": STAGE_NAME, "variable": VARIABLE, "adapter": MODEL_NAME}


@dataclass(frozen=True, slots=True)
class Name:
    """One place where a name stands. `gives` is True where it is given, False where it is used."""

    kind: Kind
    text: str
    span: Span
    gives: bool


def names(document: Document) -> list[Name]:
    """Every place of every name, in file order."""
    found = [*_of_stages(document), *_of_adapters(document), *_of_variables(document)]
    return sorted(found, key=lambda name: name.span)


def at(document: Document, offset: int) -> Name | None:
    """The name that the cursor is on, or right behind."""
    return next((name for name in names(document) if name.span.start <= offset <= name.span.end), None)


def places(document: Document, name: Name) -> list[Name]:
    """Every place of the same name, in file order."""
    return [one for one in names(document) if (one.kind, one.text) == (name.kind, name.text)]


class CannotRename(ValueError):
    """A new name that cannot be; the message is one sentence for the author."""


def expect_new_name(document: Document, name: Name, new: str) -> None:
    """Raises CannotRename for a new name that would break the file, or that already means something else in it."""
    rule = RULES[name.kind]
    if isinstance(rule.read(new), Wrong):
        raise CannotRename(f"`{new}` cannot be the name of a {name.kind}: it is made of {rule.says}")
    if new != name.text and any((one.kind, one.text) == (name.kind, new) for one in names(document)):
        raise CannotRename(f"there is a {name.kind} `{new}` already")
    if name.kind == "stage" and new not in KNOWN_STAGES and not _extends(document, name.text):
        raise CannotRename(f"`{name.text}` extends no stage, so it can only be one of {', '.join(KNOWN_STAGES)}; "
                           f"write `STAGE {new} EXTENDS {name.text}` for another")


def _extends(document: Document, stage: str) -> bool:
    headers = (_STAGE.match(block.header.text) for block in document.blocks("STAGE"))
    return any(found is not None and found["name"] == stage and found["base"] for found in headers)


def _of_stages(document: Document) -> Iterator[Name]:
    for block in document.blocks("STAGE"):
        yield from _found("stage", document, block.header, _STAGE, (("name", True), ("base", False)))


def _of_adapters(document: Document) -> Iterator[Name]:
    for instruction in document.all_instructions():
        if instruction.keyword.text.upper() == "ADAPTER":
            yield from _found("adapter", document, instruction.value, _ADAPTER, (("name", True),))


def _of_variables(document: Document) -> Iterator[Name]:
    given = [name for instruction in document.all_instructions() if instruction.keyword.text.upper() == "ARG"
             for name in _found("variable", document, instruction.value, _VARIABLE, (("name", True),))]
    known = {name.text for name in given}
    yield from given
    if not known:
        return
    for value in _values(document):
        for found in _USE.finditer(document.source.text, value.inner.start, value.inner.end):
            if found[1] in known:
                yield Name("variable", found[1], Span(*found.span(1)), gives=False)


def _values(document: Document) -> Iterable[Value]:
    return (instruction.value for instruction in document.all_instructions())


def _found(kind: Kind, document: Document, value: Value, pattern: re.Pattern[str], groups: Iterable[tuple[str, bool]],
           ) -> Iterator[Name]:
    """What the groups of a pattern match in a value, as written: characters that reading deletes are still there."""
    match = pattern.match(document.source.text[: value.inner.end], value.inner.start)
    for group, gives in groups:
        if match is not None and match[group]:
            yield Name(kind, match[group], Span(*match.span(group)), gives)
