"""A golden case: a conversation, and what the model's answers in it must be like. Data, wherever it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Severity = Literal["block", "warn"]
Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Check:
    """One `EXPECT`. `operand` is the kind's own (see `checks`), `text` the check as people read it.

    A `warn` that fails is said, and fails nothing.
    """

    kind: str
    operand: Any
    place: Place
    text: str
    negated: bool = False
    severity: Severity = "block"


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that an assistant's given turn makes; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message. An assistant's turn with neither content nor calls is asked of the model; `checks` judge it."""

    role: Role
    content: str | None = None
    calls: tuple[Call, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def asked(self) -> bool:
        return self.role == "assistant" and self.content is None and not self.calls


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation that ends with an asked turn. `parameters` are a request's fields, `tools` OpenAI's list.

    It passes when `must_pass` of `repeat` repetitions do. `samples`: drawn as the stage draws, not greedily.
    """

    name: str
    place: Place
    turns: tuple[Turn, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 1
    must_pass: int = 1

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(check for turn in self.turns for check in turn.checks)

    @property
    def samples(self) -> bool:
        """Whether its answers are drawn as the stage draws them: repeating a greedy answer would show nothing."""
        return self.repeat > 1

    @property
    def alone(self) -> bool:
        """Whether what else the engine does at the time can decide it: exact texts, and times."""
        return any(check.kind in ("equals", "latency") for check in self.checks)


def with_answers(turns: Sequence[Turn], checks: Sequence[Check] = ()) -> tuple[Turn, ...]:
    """The turns, and asked ones where the conversation leaves the model room for an answer, the last with `checks`.

    Whoever speaks after a user is answered first; several tools' results are one answer to the calls before them.
    """
    found: list[Turn] = []
    for index, turn in enumerate(turns):
        before = turns[index - 1].role if index else None
        if turn.role != "assistant" and (before == "user" or (before == "tool" and turn.role != "tool")):
            found.append(Turn("assistant"))
        found.append(turn)
    last = found.pop() if found and found[-1].asked else Turn("assistant")
    return (*found, replace(last, checks=(*last.checks, *checks)))


FIELDS: Mapping[str, str] = {
    "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
    "repeat_penalty": "repetition_penalty", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty", "seed": "seed", "num_predict": "max_tokens",
}
"""A `PARAMETER`'s field in a request. The others are the engine's, set when it starts."""


def request_fields(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What of a Modelfile's parameters a request can say; no seed and no limit are not said."""
    said = {FIELDS[name]: value for name, value in parameters.items() if name in FIELDS}
    return {name: value for name, value in said.items()
            if not (name in ("seed", "max_tokens") and isinstance(value, int) and value < 0)}
