"""The `TEST` blocks of a Modelfile as cases."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.language.kinds import Duration
from modelkit.language.modelfile import Assertion, Message, Modelfile, Said, Test
from modelkit.language.source import Span
from modelkit.release.testing.case import Call, Case, Check, Place, Turn, request_fields, with_answers
from modelkit.release.testing.files import read_schema, read_tools

NEARLY = 0.8
"""The cosine from which on `similar` holds, when none is said."""


def cases_of(modelfile: Modelfile) -> tuple[Case, ...]:
    """One case for each TEST, in the file's order.

    Raises Failure for a file of tools or a schema that is not there or is none, and for a conversation that no
    engine can be asked.
    """
    return tuple(_Reader(modelfile, test).case() for test in modelfile.tests)


class _Reader:
    def __init__(self, modelfile: Modelfile, test: Test) -> None:
        self._modelfile, self._test = modelfile, test
        self._folder = Path(modelfile.path).absolute().parent

    def case(self) -> Case:
        test = self._test
        turns = with_answers([self._turn(index, said) for index, said in enumerate(test.turns)],
                             [self._check(said) for said in test.expectations])
        tools: tuple[Mapping[str, Any], ...] = ()
        if test.tools is not None:
            tools = read_tools(self._folder / test.tools.value, self._place(test.tools.span))
        parameters = request_fields({name: said.value for name, said in test.parameters.items()})
        if test.stop:
            parameters["stop"] = [said.value for said in test.stop]
        return Case(test.title, self._place(test.span), turns, tools, parameters, test.repeat,
                    test.repeat if test.must_pass is None else test.must_pass)

    def _turn(self, index: int, said: Said[Message]) -> Turn:
        message = said.value
        before = self._test.turns[index - 1].value.role if index else None
        if message.role == "tool" and before in (None, "system"):
            raise self._wrong(said.span, "this `TOOL` answers nobody", "let a `USER` turn stand before it")
        follows = self._test.turns[index + 1].value.role if index + 1 < len(self._test.turns) else None
        if message.role == "assistant" and follows == "tool":
            return Turn("assistant", calls=self._calls(said))
        return Turn(message.role, message.content)

    def _calls(self, said: Said[Message]) -> tuple[Call, ...]:
        hint = 'write the call as JSON: `ASSISTANT {"name": "weather", "arguments": {"city": "Oslo"}}`'
        try:
            value = json.loads(said.value.content)
        except (ValueError, RecursionError):
            raise self._wrong(said.span, "a `TOOL` follows this answer, which calls none", hint) from None
        calls = value if isinstance(value, list) else [value]
        if not calls or not all(isinstance(one, dict) and isinstance(one.get("name"), str)
                                and isinstance(one.get("arguments", {}), dict) for one in calls):
            raise self._wrong(said.span, "a `TOOL` follows this answer, which is JSON and no call", hint)
        return tuple(Call(one["name"], json.dumps(one.get("arguments", {}))) for one in calls)

    def _check(self, said: Said[Assertion]) -> Check:
        kind, operand, place = said.value.kind, said.value.operand, self._place(said.span)
        text = f"{'not ' if said.value.negated else ''}{kind} {operand}".strip()
        return Check(kind, self._operand(kind, operand, place), place, text, said.value.negated)

    def _operand(self, kind: str, operand: str, place: Place) -> Any:
        if kind in ("equals", "contains", "starts"):
            return {"texts": (operand,)}
        if kind == "json":
            return read_schema(self._folder / operand, place) if operand else None
        if kind == "tool_call":
            name, _, arguments = operand.partition(" ")
            return {"name": None if name == "none" else name,
                    **({"arguments": json.loads(arguments)} if arguments else {})}
        if kind == "max_tokens":
            return int(operand)
        if kind == "latency":
            return float(Duration().read(operand))  # type: ignore[arg-type]  # checked
        if kind == "similar":
            text, _, least = operand.rpartition(" >= ")
            return {"text": text, "at_least": float(least)} if text else {"text": operand, "at_least": NEARLY}
        return operand

    def _place(self, span: Span) -> Place:
        line = self._modelfile.where(span).partition(" (")[0].rpartition(":")[2]
        column = span.start - self._modelfile.line_starts[int(line) - 1] + 1
        return Place(self._modelfile.path, int(line), column)

    def _wrong(self, span: Span, message: str, hint: str) -> Failure:
        return Failure("test-conversation", f"{self._place(span)}: {message}", hint, exit_code=1)
