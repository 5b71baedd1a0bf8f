"""How near the models of two stages are: the same greedy answers, the same likeliest tokens, near probabilities.

Prompts that are equal token by token still meet two quantizations, on two engines. Both sides answer the same
conversations greedily; then the left answer is given to both as it stands (`forced`), and each position of it is
compared. Where a side can't say the probabilities of a given text, only the positions count up to where the two
answers part (`shared`): each answer then has one disagreement at most.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelkit.release.client import Answer, Client
from modelkit.release.distributions import Distribution, divergence, likeliest
from modelkit.release.forced import Unable, forced
from modelkit.release.intervals import Interval, clustered, wilson
from modelkit.release.parity.conversations import Conversation
from modelkit.release.verdict import Verdict, fold

TOP = 20
"""Log-probabilities of each position: what both engines give at most."""

_GREEDY: dict[str, Any] = {"temperature": 0, "seed": 0, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
_OURS: dict[str, Any] = {"top_k": 0, "min_p": 0, "repetition_penalty": 1}
_MARKS = ("<think>", "</think>", "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "<|tool_call", "<function=")


@dataclass(frozen=True)
class FieldDifference:
    """An answer's field that only one side fills. `fault`: a parser is missing or wrong, no matter of the weights."""

    conversation: str
    field: str
    left: str
    right: str
    fault: bool


@dataclass(frozen=True)
class Agreement:
    """What was measured. `greedy` is the share of conversations with the same whole answer, `top1` the share of
    positions with the same likeliest token, `kl` the Kullback-Leibler divergence of right from left in nats a token,
    from below (see `distributions.divergence`). `errors` are conversations that a side did not answer.
    """

    conversations: int
    positions: int
    method: Literal["forced", "shared"]
    greedy: Interval
    top1: Interval
    kl: Interval
    fields: tuple[FieldDifference, ...] = ()
    errors: tuple[str, ...] = ()

    def verdict(self, *, max_kl: float | None = None, min_top1: float | None = None) -> Verdict:
        """Against limits, where there are any: inconclusive where the limit lies within the interval. A field that
        only one side fills through its parser's fault fails in any case."""
        found: list[Verdict] = ["fail" if any(one.fault for one in self.fields) else "pass"]
        if self.errors and not self.conversations:
            return "error"
        if self.errors:
            found.append("inconclusive")
        if max_kl is not None:
            found.append("inconclusive" if not self.positions else _within(self.kl.low, self.kl.high, max_kl))
        if min_top1 is not None:
            found.append("inconclusive" if not self.positions else _within(-self.top1.high, -self.top1.low, -min_top1))
        return fold(found)

    def as_json(self) -> dict[str, Any]:
        return {"conversations": self.conversations, "positions": self.positions, "method": self.method,
                "confidence": 0.95, **({name: value.as_json() for name, value in self._estimates()}),
                "fields": [vars(one) for one in self.fields], "errors": list(self.errors)}

    def _estimates(self) -> list[tuple[str, Interval]]:
        found = [("greedy", self.greedy)] if self.conversations else []
        return [*found, *((("top1", self.top1), ("kl", self.kl)) if self.positions else ())]


def _within(low: float, high: float, most: float) -> Verdict:
    return "pass" if high <= most else "fail" if low > most else "inconclusive"


@dataclass(frozen=True)
class _Compared:
    same: bool | None  # None: there are no two answers
    top1: tuple[float, ...]
    kl: tuple[float, ...]
    fields: tuple[FieldDifference, ...] = ()
    error: str | None = None


async def measure(conversations: Sequence[Conversation], left: Client, right: Client, *, max_tokens: int = 64,
                  concurrency: int = 4, ours: bool = True,
                  on_progress: Callable[[int], None] = lambda _: None) -> Agreement:
    """Ask both sides the conversations that wait for an answer. `ours`: both know the contract's own fields, so that
    no default of a Modelfile bends the probabilities."""
    asked = [one for one in conversations if one.messages[-1]["role"] != "assistant"]
    gate, done = asyncio.Semaphore(concurrency), 0
    pair = _Pair(left, right, {**_GREEDY, **(_OURS if ours else {}), "max_tokens": max_tokens})

    async def one(said: Conversation) -> _Compared:
        nonlocal done
        async with gate:
            found = await pair.compare(said)
        done += 1
        on_progress(done)
        return found

    found = await asyncio.gather(*map(one, asked))
    good = [each for each in found if each.same is not None]
    top1, positions = [each.top1 for each in good], sum(len(each.top1) for each in good)
    return Agreement(
        len(good), positions, "forced" if pair.forces else "shared",
        wilson(sum(bool(each.same) for each in good), len(good)), _share(top1), clustered([each.kl for each in good]),
        tuple(each for one_ in found for each in one_.fields), tuple(each.error for each in found if each.error))


def _share(values: Sequence[Sequence[float]]) -> Interval:
    """A share of positions: the wider of the bootstrap over answers and Wilson's interval over positions, since the
    first has no width where all agree."""
    hits, count = int(sum(map(sum, values))), sum(map(len, values))
    one, other = wilson(hits, count), clustered(values)
    return one if not count else Interval(one.value, min(one.low, other.low), max(one.high, other.high))


class _Pair:
    """Two sides and how they are asked. `forces` until a side turns out not to be able to."""

    def __init__(self, left: Client, right: Client, fields: dict[str, Any]) -> None:
        self._left, self._right, self._fields = left, right, fields
        self.forces = True

    async def compare(self, said: Conversation) -> _Compared:
        body = {**said.request(), **self._fields, "logprobs": True, "top_logprobs": TOP}
        body.pop("add_generation_prompt")
        one, other = await asyncio.gather(self._left.chat(body), self._right.chat(body))
        if one.error is not None and other.error is not None and one.status == other.status == 400:
            return _Compared(None, (), ())  # both refuse it: the same meaning
        if one.error is not None or other.error is not None:
            side, error = ("left", one.error) if one.error is not None else ("right", other.error)
            refuses = 400 in (one.status, other.status) and 200 in (one.status, other.status)
            if refuses:
                return _Compared(None, (), (), (FieldDifference(
                    said.name, "answer", *_said_of(one, other), fault=True),))
            return _Compared(None, (), (), error=f"{said.name}: {side}: {error}")
        pairs = await self._positions(said, one, other)
        tokens = [each["token"] for each in one.logprobs], [each["token"] for each in other.logprobs]
        same = (one.text, one.reasoning, one.tool_calls) == (other.text, other.reasoning, other.tool_calls)
        return _Compared(same and tokens[0] == tokens[1],
                         tuple(float(likeliest(a) == likeliest(b)) for a, b in pairs),
                         tuple(divergence(a, b) for a, b in pairs), tuple(fields(said.name, one, other)))

    async def _positions(self, said: Conversation, one: Answer, other: Answer
                         ) -> list[tuple[Distribution, Distribution]]:
        if self.forces and (text := "".join(each["token"] for each in one.logprobs) or one.text):
            try:
                a, b = await forced(self._left, self._right, said, text)
                return list(zip(a, b, strict=True))
            except Unable:
                self.forces = False
        return _shared(one, other)


def _said_of(one: Answer, other: Answer) -> tuple[str, str]:
    return (one.error or "answers"), (other.error or "answers")


def _shared(one: Answer, other: Answer) -> list[tuple[Distribution, Distribution]]:
    """The positions that both reached by the same tokens; the last of them is where they part."""
    found = []
    for a, b in zip(one.logprobs, other.logprobs, strict=False):
        found.append((_distribution(a), _distribution(b)))
        if a["token"] != b["token"]:
            break
    return [pair for pair in found if pair[0] and pair[1]]


def _distribution(position: dict[str, Any]) -> Distribution:
    return {str(each["token"]): float(each["logprob"]) for each in position.get("top_logprobs") or ()}


def fields(name: str, left: Answer, right: Answer) -> list[FieldDifference]:
    """The fields in which two answers have different shapes: calls and reasoning. A mark that one side's parser should
    have taken is left in its text: that is the parser's fault, not the model's."""
    found = []
    calls = tuple(",".join(call.name for call in one.tool_calls) for one in (left, right))
    if calls[0] != calls[1]:
        fault = any(not mine and any(other.name in one.text for other in theirs.tool_calls)
                    for mine, one, theirs in ((calls[0], left, right), (calls[1], right, left)))
        found.append(FieldDifference(name, "tool_calls", calls[0], calls[1], fault))
    for side, one in (("left", left), ("right", right)):
        if bad := [call for call in one.tool_calls if not _is_json(call.arguments)]:
            other = "" if side == "left" else bad[0].arguments
            found.append(FieldDifference(name, "arguments", bad[0].arguments if side == "left" else "", other, True))
    reasoning = bool(left.reasoning), bool(right.reasoning)
    leaks = tuple(next((mark for mark in _MARKS if mark in one.text), "") for one in (left, right))
    if reasoning[0] != reasoning[1]:
        found.append(FieldDifference(name, "reasoning", left.reasoning[:40], right.reasoning[:40],
                                     bool(leaks[0 if reasoning[1] else 1])))
    elif leaks[0] != leaks[1]:
        found.append(FieldDifference(name, "content", leaks[0], leaks[1], True))
    return found


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False
