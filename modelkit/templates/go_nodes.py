"""The tree of a Go template. Knows Go's syntax, not what a template is given.

Facts: Go 1.24, `text/template/parse`. `at` and `end` are offsets into the template's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["syntax", "unsupported"]


class TemplateError(Exception):
    """A template that can't be used: no Go template at all (`syntax`), or one that Jinja can't follow (`unsupported`).

    `message` is one lower-case sentence without a full stop; the offsets cover what is at fault.
    """

    def __init__(self, kind: Kind, message: str, at: int, end: int | None = None, hint: str | None = None) -> None:
        self.kind, self.message, self.at, self.hint = kind, message, at, hint
        self.end = max(at + 1, end if end is not None else at + 1)
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Operand:
    at: int
    end: int


@dataclass(frozen=True, slots=True)
class Dot(Operand):
    pass


@dataclass(frozen=True, slots=True)
class Nil(Operand):
    pass


@dataclass(frozen=True, slots=True)
class Constant(Operand):
    value: str | int | float | bool


@dataclass(frozen=True, slots=True)
class Field(Operand):
    """`.Messages`, or `$m.Function.Name`, or `(index .Messages 0).Role`: fields of dot, a variable or a pipeline."""

    names: tuple[str, ...]
    of: Variable | Pipe | None = None  # None: of dot


@dataclass(frozen=True, slots=True)
class Variable(Operand):
    """`$x`, with its dollar; `$` alone is what the template was given."""

    name: str


@dataclass(frozen=True, slots=True)
class Function(Operand):
    name: str


@dataclass(frozen=True, slots=True)
class Command(Operand):
    """Operands in a row; the first may be a function."""

    operands: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Pipe(Operand):
    """`$i, $m := a | b`. `declared` are the names before `:=`, or the one before `=` (`assigns`)."""

    commands: tuple[Command, ...]
    declared: tuple[str, ...] = ()
    assigns: bool = False


Argument = Dot | Nil | Constant | Field | Variable | Function | Pipe


@dataclass(frozen=True, slots=True)
class Text:
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    at: int
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """`{{ if }}`, `{{ range }}`, `{{ with }}` up to `{{ end }}`; `otherwise` is what `{{ else }}` begins."""

    at: int
    keyword: Literal["if", "range", "with"]
    pipe: Pipe
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...] | None = None


@dataclass(frozen=True, slots=True)
class Jump:
    at: int
    keyword: Literal["break", "continue"]


Node = Text | Action | Branch | Jump
