"""TEST blocks: a conversation, and what its last answer must be like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from modelkit.language.assertions import ASSERTIONS, read_operand
from modelkit.language.checking.context import Context, shown
from modelkit.language.checking.gathered import Gathered
from modelkit.language.checking.layer import meant
from modelkit.language.checking.operands import read_repeat
from modelkit.language.checking.parts import Operands
from modelkit.language.checking.settings import read_parameter
from modelkit.language.diagnostic import Note
from modelkit.language.document import Block, Instruction, Value, Word
from modelkit.language.kinds import Wrong
from modelkit.language.modelfile import Assertion, Message, Role, Said, Test
from modelkit.language.rules.meaning import BAD_VALUE, DUPLICATE_TEST, EMPTY_TEST, UNKNOWN_ASSERTION

_TURNS = {"SYSTEM": "system", "USER": "user", "ASSISTANT": "assistant", "TOOL": "tool"}


def read_tests(blocks: Iterable[Block], context: Context) -> tuple[Test, ...]:
    """The file's tests, in order. Each is read, whatever is wrong with another."""
    tests: dict[str, Test] = {}
    for block in blocks:
        test = _TestReader(block, context).read()
        first = tests.setdefault(test.title, test)
        if first is not test:
            notes = [Note("the first one is here", first.span)]
            context.report.add(DUPLICATE_TEST, f"there are two tests called `{shown(test.title)}`", block.header.span,
                               notes=notes)
    return tuple(tests.values())


class _TestReader:
    def __init__(self, block: Block, context: Context) -> None:
        self._block = block
        self._context = context
        self._turns: list[Said[Message]] = []
        self._expectations: list[Said[Assertion]] = []
        self._settings = Gathered(context)
        self._one: dict[str, Said[Any]] = {}
        self._asked = False  # an EXPECT stands there, right or wrong

    def read(self) -> Test:
        for item in self._block.body:
            if isinstance(item, Instruction):
                self._instruction(item)
        self._judge()
        layer = self._settings.layer()
        repeat, needed = self._one["REPEAT"].value if "REPEAT" in self._one else (1, None)
        return Test(
            title=self._block.header.text, span=self._block.header.span, turns=tuple(self._turns),
            tools=self._one.get("TOOLS"), parameters=layer.parameters, stop=layer.stop,
            repeat=repeat, must_pass=needed, expectations=tuple(self._expectations),
        )

    def _judge(self) -> None:
        missing = [] if any(turn.value.role == "user" for turn in self._turns) else ["no `USER` turn"]
        missing += [] if self._asked else ["no `EXPECT`"]
        if missing:
            title = shown(self._block.header.text)
            self._context.report.add(EMPTY_TEST, f"test `{title}` has {' and '.join(missing)}", self._block.header.span)

    def _instruction(self, instruction: Instruction) -> None:
        keyword, value = meant(instruction), instruction.value
        if keyword in _TURNS:
            self._turns.append(Said(Message(cast(Role, _TURNS[keyword]), value.text), value.span))
        elif keyword == "EXPECT":
            self._expect(value)
        elif keyword == "PARAMETER":
            name = instruction.name or Word("", instruction.keyword.span)
            if (said := read_parameter(name, value, self._context)) is not None:
                store = self._settings.add if name.text == "stop" else self._settings.put
                store(keyword, said, name.text)
        elif keyword == "REPEAT":
            if (repeat := read_repeat(value, self._context)) is not None:
                self._put(keyword, Said(repeat, value.span))
        elif keyword == "TOOLS":
            self._put(keyword, Said(value.text, value.span))

    def _put(self, keyword: str, said: Said[Any]) -> None:
        if (first := self._one.get(keyword)) is not None:
            self._context.twice(keyword, said.span, first.span)
        self._one[keyword] = said

    def _expect(self, value: Value) -> None:
        self._asked = True
        operands = Operands(value)
        word = operands.word()
        negated = word.text.lower() == "not"
        if negated:
            word = operands.word()
        kind = ASSERTIONS.get(word.text)
        if kind is None:
            self._context.unknown(UNKNOWN_ASSERTION, "check", word, ASSERTIONS, others=_OTHERS)
            return
        rest = operands.rest()
        read = read_operand(kind, rest.text)
        if isinstance(read, Wrong):
            message = f"`EXPECT {kind.name}` must be followed by {read.must_be}"
            self._context.report.add(BAD_VALUE, message, rest.span if rest.text else word.span,
                                     hint=f"for example `{kind.example}`")
        else:
            self._expectations.append(Said(Assertion(kind.name, read, negated), value.span))


_OTHERS = {"equal": "equals", "is": "equals", "contain": "contains", "includes": "contains", "icontains": "contains",
           "matches": "regex", "match": "regex", "starts_with": "starts", "startswith": "starts", "is_json": "json",
           "is-json": "json", "starts-with": "starts", "tool": "tool_call", "llm_rubric": "judge"}
