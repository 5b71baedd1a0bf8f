"""Checks can fail: of a corpus that passes, each expected value is changed in turn, and exactly its case fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelkit.release.client import Answer
from modelkit.release.testing import Case, Check, Options, Turn, cases_of, run_tests
from modelkit.release.testing.checks import KINDS, Outcome, Seen
from modelkit.release.testing.golden import read_golden
from modelkit.release.testing.program import Programs
from tests.unit.release.testing.scripted import Scripted, answer, modelfile

HERE = Path(__file__).parent
TESTS = """
TEST "capital" {
  USER What is the capital of France?
  EXPECT contains "Paris"
  EXPECT not contains "Lyon"
  EXPECT starts "It"
  EXPECT regex /P.r.s/
  EXPECT max_tokens 3
  EXPECT finish_reason stop
  EXPECT no_leak
  EXPECT latency 1s
}
TEST "exact" {
  USER two and two?
  EXPECT equals "4"
  EXPECT json
  EXPECT similar "talk" >= 0.75
  EXPECT judge "is an answer"
}
TEST "calls" {
  USER refund and mail
  EXPECT tool_call refund {"order": "12"}
  EXPECT not tool_call cancel
}
TEST "talks" {
  USER only talk
  EXPECT tool_call none
}
TEST "sometimes" {
  USER roll
  REPEAT 3 PASS 2
  EXPECT contains "six"
}
"""
CALLS = [("refund", '{"order": "12", "amount": {"eur": 5, "of": 9}}'), ("mail", '{"to": "me"}'),
         ("mail", '{"to": "you"}')]


def script() -> dict[str, Any]:
    return {
        "What is the capital of France?": answer("It is Paris", seconds=1.0), "two and two?": "4", "shout": "HELLO",
        "write": "Dear friend, soon", "shorter": "Bye.", "order 12": '{"order": 12}',
        "refund and mail": answer(calls=CALLS), "only talk": answer("talking", seconds=1.0),
        "roll": lambda body: "one" if body["seed"] == 1 else "six",
    }


@dataclass
class Fixed:
    """Finds that one operand holds, and no other."""

    operand: Any

    async def examine(self, operand: Any, seen: Seen) -> Outcome:
        same_text = not isinstance(operand, dict) or operand["text"] == self.operand["text"]
        enough = operand == self.operand or (isinstance(operand, dict) and operand["at_least"] <= 0.75)
        return Outcome("pass") if same_text and enough else Outcome("fail", "no")


EXAMINERS = {"judge": Fixed("is an answer"), "similar": Fixed({"text": "talk", "at_least": 0.75}), "exec": Programs()}


def corpus() -> tuple[Case, ...]:
    golden = read_golden(HERE / "corpus.golden.yaml")
    return (*cases_of(modelfile(TESTS)), *golden.cases)


def changed(check: Check) -> Iterator[tuple[str, Check]]:
    """The check with each of its values changed so that it cannot hold, and with `not` the other way."""
    for name, operand in _operands(check.kind, check.operand, check.negated):
        yield name, replace(check, operand=operand)
    yield "not", replace(check, negated=not check.negated)


def _operands(kind: str, operand: Any, negated: bool) -> Iterator[tuple[str, Any]]:
    held = {"contains": "", "starts": "", "regex": "", "tool_call": {"name": "refund"}, "json": {},
            "equals": {"texts": ("Bye.", "4", "hello")}}
    if negated:  # what does not hold now must hold
        text = {"texts": ("HELLO",) if kind == "equals" else ("",), "match": "any"}
        yield "holds", text if kind in ("contains", "starts", "equals") else held[kind]
    elif kind in ("equals", "contains", "starts"):
        for index in range(len(operand["texts"])) if operand.get("match") != "any" else ():
            yield f"text{index}", {**operand, "texts": tuple(
                f"{text}§" if n == index else text for n, text in enumerate(operand["texts"]))}
        if operand.get("match") == "any":
            yield "texts", {**operand, "texts": tuple(f"{text}§" for text in operand["texts"])}
        if operand.get("ignore_case"):
            yield "case", {**operand, "ignore_case": False}
    elif kind == "tool_call":
        yield from _calls(operand)
    else:
        others = {"regex": f"{operand}§", "json": {"const": "§"}, "finish_reason": "length", "judge": "is none",
                  "max_tokens": 0, "latency": 0.9}
        if kind == "similar":
            yield "text", {**operand, "text": "another"}
            yield "cosine", {**operand, "at_least": 0.76}
        elif kind == "exec":
            yield "program", {**operand, "argv": [*operand["argv"][:-1], "exit 1"]}
        elif kind in others:
            yield "value", others[kind]


def _calls(operand: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if operand.get("order"):
        yield "order", {"order": operand["order"][::-1]}
        yield "fewer", {"order": operand["order"][:-1]}
        return
    yield "name", {**operand, "name": "other" if operand["name"] is None else None}
    yield "tool", {**operand, "name": "other"}
    if operand.get("count"):
        yield "count", {**operand, "count": operand["count"] + 1}
    for path in _leaves(operand.get("arguments", {})):
        yield ".".join(path), {**operand, "arguments": json.loads(_with(operand["arguments"], path))}
    if operand.get("exact"):
        yield "more", {**operand, "arguments": {}}


def _leaves(value: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, one in value.items():
        yield from _leaves(one, (*path, name)) if isinstance(one, dict) else [(*path, name)]


def _with(value: dict[str, Any], path: tuple[str, ...]) -> str:
    copy = json.loads(json.dumps(value))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = f"{place[path[-1]]}§"
    return json.dumps(copy)


def mutants() -> Iterator[tuple[str, str, Case]]:
    """A name, the case it was, and it with one expected value changed."""
    for case in corpus():
        for at, turn in enumerate(case.turns):
            for index, check in enumerate(turn.checks):
                for name, other in changed(check):
                    checks = (*turn.checks[:index], other, *turn.checks[index + 1 :])
                    turns = (*case.turns[:at], Turn(turn.role, checks=checks), *case.turns[at + 1 :])
                    yield f"{case.name}-{at}.{index}-{check.kind}-{name}", case.name, replace(case, turns=turns)
        if case.repeat > 1:
            yield f"{case.name}-pass", case.name, replace(case, must_pass=case.must_pass + 1)


MUTANTS = list(mutants())


def test_every_check_of_every_kind_is_mutated() -> None:
    assert {check.kind for case in corpus() for check in case.checks} == KINDS
    assert len(MUTANTS) > 2 * sum(len(case.checks) for case in corpus()) - 10
    assert len({name for name, _, _ in MUTANTS}) == len(MUTANTS)


async def test_a_changed_value_fails_its_case_and_no_other() -> None:
    """Beside all of those that fail, each case as it was passes."""
    mutated = [replace(mutant, name=name) for name, _, mutant in MUTANTS]
    report = await run_tests((*corpus(), *mutated), Scripted(script()), Options(examiners=EXAMINERS, concurrency=8))
    verdicts = {one.case.name: one.verdict for one in report.cases}
    assert {name for name, verdict in verdicts.items() if verdict == "pass"} == {case.name for case in corpus()}
    assert {name for name, verdict in verdicts.items() if verdict == "fail"} == {case.name for case in mutated}


@pytest.mark.parametrize("fault", [Answer(status=500, error="500: broken")])
async def test_a_broken_endpoint_is_no_failed_check(fault: Answer) -> None:
    asker = Scripted(dict.fromkeys(script(), fault))
    report = await run_tests(corpus(), asker, Options(examiners=EXAMINERS, pause=0.0, retries=0))
    assert {case.verdict for case in report.cases} == {"error"}
