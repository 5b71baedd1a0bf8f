"""One repetition of a case: the conversation held with the model, each of its answers checked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelkit.release.client import Answer
from modelkit.release.testing.case import Call, Case, Check, Turn
from modelkit.release.testing.checks import Examiners, Outcome, Seen, judge, shown
from modelkit.release.testing.report import Attempt, Checked

_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class Asker(Protocol):
    """Who answers: a client, a recorder around one, or a folder of recorded answers."""

    async def chat(self, body: dict[str, Any]) -> Answer: ...


@dataclass(frozen=True)
class Manner:
    """How a repetition is asked: the request's fields beside the conversation, and what to do about faults."""

    fields: Mapping[str, Any]
    stops: tuple[str, ...] = ()
    timeout: float = 120.0  # seconds for one answer
    retries: int = 2
    pause: float = 0.5  # seconds before the first retry, then twice as long each time


class _Broken(Exception):
    """The case could not be held: the other side's fault, not the model's."""


class _Unanswerable(Exception):
    """The model's answer leaves no way on, so the case failed."""


@dataclass
class Conversation:
    """Holds one repetition."""

    case: Case
    asker: Asker
    examiners: Examiners
    manner: Manner
    messages: list[dict[str, Any]] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    retries: int = 0
    _open: list[str] = field(default_factory=list)  # ids of tool calls that wait for their results

    async def hold(self, number: int) -> Attempt:
        """To its end, or to what ends it early. Never raises for a fault of the model or of the other side."""
        error = None
        turns = self.case.turns
        try:
            for index, turn in enumerate(turns):
                after = turns[index + 1 :]
                await (self._ask(turn, after) if turn.asked else self._say(turn, after))
        except _Broken as broken:
            error = str(broken)
        except _Unanswerable as stopped:
            self._fail_the_rest(str(stopped))
        return Attempt(number, tuple(self.checked), error, tuple(self.answers), self.seconds, self.tokens, self.retries)

    async def _say(self, turn: Turn, after: tuple[Turn, ...]) -> None:
        if turn.calls:
            self._call(turn.calls, turn.content)
        elif turn.role == "tool":
            self.messages.append({"role": "tool", "tool_call_id": self._open.pop(0), "content": turn.content})
        else:
            self.messages.append({"role": turn.role, "content": turn.content})

    async def _ask(self, turn: Turn, after: tuple[Turn, ...]) -> None:
        answer = await self._answer()
        self.seconds += answer.seconds
        self.tokens += answer.tokens or 0
        self.answers.append(_spelled(answer))
        seen = Seen(tuple(self.messages), answer, self.manner.stops, self.case.tools)
        for check in turn.checks:
            self.checked.append(Checked(check, await judge(check, seen, self.examiners), answer.text))
        results = _results(after)
        if results and not answer.tool_calls:
            raise _Unanswerable(f"a tool's result comes next, and the answer calls no tool: {shown(answer.text)}")
        if results and len(answer.tool_calls) != results:
            raise _Unanswerable(f"the answer calls {len(answer.tool_calls)} tools, and the test has {results} results")
        if results:
            self._call(tuple(Call(call.name, _object(call.arguments)) for call in answer.tool_calls), answer.text)
        else:
            self.messages.append({"role": "assistant", "content": answer.text})

    def _call(self, calls: tuple[Call, ...], content: str | None) -> None:
        self._open = [f"call_{len(self.messages)}_{index}" for index in range(len(calls))]
        self.messages.append({"role": "assistant", "content": content or None, "tool_calls": [
            {"id": one, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for one, call in zip(self._open, calls, strict=True)]})

    async def _answer(self) -> Answer:
        body: dict[str, Any] = {"messages": list(self.messages), **self.manner.fields}
        if self.case.tools:
            body["tools"] = list(self.case.tools)
        for left in range(self.manner.retries, -1, -1):
            try:
                async with asyncio.timeout(self.manner.timeout):
                    answer = await self.asker.chat(body)
            except TimeoutError:
                raise _Broken(f"no whole answer within {self.manner.timeout:g} s") from None
            if answer.error is None:
                return answer
            if not left or (answer.status not in _AGAIN and answer.status not in (None, 200)):
                raise _Broken(answer.error)
            await asyncio.sleep(self.manner.pause * 2 ** (self.manner.retries - left))
            self.retries += 1
        raise AssertionError("the last try returns or raises")

    def _fail_the_rest(self, why: str) -> None:
        done = {id(one.check) for one in self.checked}
        left = [check for check in self.case.checks if id(check) not in done]
        place = self.case.place
        left = left or [Check("conversation", None, place, "the conversation goes on")]
        self.checked += [Checked(check, Outcome("fail", why)) for check in left]


def _results(after: tuple[Turn, ...]) -> int:
    """How many tools' results come next."""
    count = 0
    for turn in after:
        if turn.role != "tool":
            break
        count += 1
    return count


def _object(arguments: str) -> str:
    try:
        good = isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise _Unanswerable(f"the arguments of the tool call are no JSON object: {shown(arguments)}")
    return arguments or "{}"


def _spelled(answer: Answer) -> str:
    calls = [f"{call.name} {call.arguments}" for call in answer.tool_calls]
    return "\n".join(part for part in (answer.text, *calls) if part)
