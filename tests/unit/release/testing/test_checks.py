"""Each kind of check: what passes, what fails, what `not` makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from modelkit.release.client import Answer
from modelkit.release.testing.case import Check, Place
from modelkit.release.testing.checks import KINDS, Examiners, Seen, judge
from modelkit.release.testing.matcher import Matcher
from tests.unit.release.testing.scripted import answer

PLACE = Place("Modelfile", 1, 1)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
REFUND = answer(calls=[("refund", '{"order": "1234", "amount": {"eur": 5, "why": "late"}}')])
TWO = answer(calls=[("a", "{}"), ("b", '{"x": 1}'), ("b", '{"x": 2}')])

CASES: list[tuple[str, Any, Answer, str]] = [
    ("equals", {"texts": ("4",)}, answer(" 4\n"), "pass"),
    ("equals", {"texts": ("4",)}, answer("4."), "fail"),
    ("equals", {"texts": ("yes",), "ignore_case": True}, answer("YES"), "pass"),
    ("contains", {"texts": ("Paris",)}, answer("It is Paris."), "pass"),
    ("contains", {"texts": ("Paris",)}, answer("It is paris."), "fail"),
    ("contains", {"texts": ("Paris", "Lyon")}, answer("Paris"), "fail"),
    ("contains", {"texts": ("Paris", "Lyon"), "match": "any"}, answer("Paris"), "pass"),
    ("starts", {"texts": ("Dear",)}, answer("\n Dear you"), "pass"),
    ("starts", {"texts": ("Dear",)}, answer("Oh dear"), "fail"),
    ("regex", "[0-9]+ EUR", answer("it is 12 EUR"), "pass"),
    ("regex", "^[0-9]+ EUR", answer("it is 12 EUR"), "fail"),
    ("json", None, answer('{"a": [1]}'), "pass"),
    ("json", None, answer('```json\n{"a": 1}\n```'), "fail"),
    ("json", None, answer("NaN"), "fail"),
    ("json", None, answer("[" * 100_000), "fail"),
    ("json", SCHEMA, answer('{"n": 1}'), "pass"),
    ("json", SCHEMA, answer('{"n": "1"}'), "fail"),
    ("json", {"$ref": "#/$defs/none"}, answer("1"), "error"),
    ("json", {"type": 7}, answer("1"), "error"),
    ("json", False, answer("1"), "fail"),
    ("tool_call", {"name": "refund"}, REFUND, "pass"),
    ("tool_call", {"name": "refund", "arguments": {"order": "1234"}}, REFUND, "pass"),
    ("tool_call", {"name": "refund", "arguments": {"amount": {"eur": 5.0}}}, REFUND, "pass"),
    ("tool_call", {"name": "refund", "arguments": {"amount": {"eur": True}}}, REFUND, "fail"),
    ("tool_call", {"name": "refund", "arguments": {"order": 1234}}, REFUND, "fail"),
    ("tool_call", {"name": "refund", "arguments": {"order": "1234"}, "exact": True}, REFUND, "fail"),
    ("tool_call", {"name": "cancel"}, REFUND, "fail"),
    ("tool_call", {"name": None}, REFUND, "fail"),
    ("tool_call", {"name": None}, answer("no"), "pass"),
    ("tool_call", {"name": "refund"}, answer(calls=[("refund", '{"order": ')]), "fail"),
    ("tool_call", {"name": "b", "count": 2}, TWO, "pass"),
    ("tool_call", {"name": "b", "arguments": {"x": 1}, "count": 2}, TWO, "fail"),
    ("tool_call", {"order": ["a", "b", "b"]}, TWO, "pass"),
    ("tool_call", {"order": ["b", "a", "b"]}, TWO, "fail"),
    ("finish_reason", "stop", answer("x"), "pass"),
    ("finish_reason", "length", answer("x"), "fail"),
    ("max_tokens", 2, answer("two words"), "pass"),
    ("max_tokens", 1, answer("two words"), "fail"),
    ("max_tokens", 1, answer("x", usage={}), "error"),
    ("no_leak", "", answer("a < b, |x| and <p>"), "pass"),
    ("no_leak", "", answer("bye<|im_end|>"), "fail"),
    ("no_leak", "", answer("<think>hm</think>"), "fail"),
    ("no_leak", "", answer("so [INST] then"), "fail"),
    ("no_leak", "", answer("User: hm"), "fail"),
    ("latency", 2.0, answer("x", seconds=2.0), "pass"),
    ("latency", 2.0, answer("x", seconds=2.1), "fail"),
    ("judge", "is polite", answer("x"), "skipped"),
    ("similar", {"text": "x", "at_least": 0.8}, answer("x"), "skipped"),
    ("exec", ["true"], answer("x"), "skipped"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def matcher() -> AsyncIterator[Matcher]:
    async with Matcher(limit=20) as one:
        yield one


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("kind", "operand", "said", "verdict"), CASES,
                         ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)])
async def test_a_check_finds(matcher: Matcher, kind: str, operand: Any, said: Answer, verdict: str) -> None:
    seen, examiners = Seen((), said, stops=("User:",)), Examiners(matcher)
    found = await judge(Check(kind, operand, PLACE, kind), seen, examiners)
    assert found.verdict == verdict
    assert bool(found.why) == (verdict != "pass")
    turned = {"pass": "fail", "fail": "pass"}
    negated = await judge(Check(kind, operand, PLACE, kind, negated=True), seen, examiners)
    assert negated.verdict == turned.get(verdict, verdict)
    assert bool(negated.why) == (negated.verdict != "pass")


def test_every_kind_is_shown() -> None:
    from modelkit.language.assertions import ASSERTIONS

    assert {case[0] for case in CASES} == KINDS
    assert ASSERTIONS.keys() == KINDS - {"exec"}


async def test_a_pattern_that_takes_for_ever_is_an_error_and_the_next_one_works() -> None:
    async with Matcher(limit=0.5) as matcher:
        endless = await matcher.pattern("(a+)+$", "a" * 64 + "b")
        assert "longer than" in endless.error
        assert (await matcher.pattern("b$", "aab")).holds
        bomb = await matcher.schema({"type": "string", "pattern": "(a+)+$"}, "a" * 64 + "b")
        assert "longer than" in bomb.error


async def test_a_schema_is_not_fetched_from_elsewhere() -> None:
    async with Matcher() as matcher:
        found = await matcher.schema({"$ref": "http://127.0.0.1:9/s.json"}, 1)
        assert "cannot be followed" in found.error
