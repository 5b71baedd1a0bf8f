"""How cases are held: what is sent, what is fed back, what is repeated, and what a fault of the other side means."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.release.client import Answer
from modelkit.release.testing import Options, TestReport, cases_of, options_of, run_tests
from tests.unit.release.testing.scripted import Scripted, answer, modelfile

FAST = Options(pause=0.0)
TOOLS = json.dumps([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])
BUSY = Answer(status=503, error="503: busy")


async def held(text: str, script: dict[str, Any], options: Options = FAST) -> tuple[TestReport, Scripted]:
    asker = Scripted(script)
    return await run_tests(cases_of(modelfile(text)), asker, options), asker


def body(*expectations: str, user: str = "q", before: str = "") -> str:
    return f'TEST "t" {{\n{before}  USER {user}\n' + "".join(f"  EXPECT {one}\n" for one in expectations) + "}\n"


async def test_the_models_own_answers_are_fed_back() -> None:
    report, asker = await held(body("contains blue", before="  SYSTEM s\n  USER one\n"), {"one": "first", "q": "blue"})
    assert report.verdict == "pass"
    assert [one["role"] for one in asker.asked[-1]["messages"]] == ["system", "user", "assistant", "user"]
    assert asker.asked[-1]["messages"][2]["content"] == "first"


async def test_a_given_answer_is_not_asked_for() -> None:
    _, asker = await held(body("contains x", before="  USER one\n  ASSISTANT given\n"), {"q": "x"})
    assert [one["content"] for one in asker.asked[0]["messages"]] == ["one", "given", "q"] and len(asker.asked) == 1


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tools.json").write_text(TOOLS)


@pytest.mark.usefixtures("tools")
async def test_tools_are_called_and_their_results_answered() -> None:
    text = ('TEST "t" {\n  TOOLS tools.json\n  USER Oslo?\n  TOOL {"c": 3}\n  USER Rome?\n'
            '  ASSISTANT {"name": "weather", "arguments": {"city": "Rome"}}\n  TOOL {"c": 20}\n'
            '  EXPECT contains 20\n}\n')
    call = answer(calls=[("weather", '{"city": "Oslo"}')])
    report, asker = await held(text, {"Oslo?": call, '{"c": 3}': "It is 3.", '{"c": 20}': "20"})
    assert report.verdict == "pass", report.cases[0].attempts[0].why
    last = asker.asked[-1]
    roles = [one["role"] for one in last["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    calls = [one["tool_calls"][0] for one in last["messages"] if "tool_calls" in one]
    assert [json.loads(one["function"]["arguments"])["city"] for one in calls] == ["Oslo", "Rome"]
    assert [one["id"] for one in calls] == [one["tool_call_id"] for one in last["messages"] if one["role"] == "tool"]
    assert last["tools"] == json.loads(TOOLS)


@pytest.mark.parametrize(("said", "why"), [
    ("It is cold.", "calls no tool"), (answer(calls=[("w", "{}"), ("w", "{}")]), "calls 2 tools"),
    (answer(calls=[("w", '{"city":')]), "no JSON object"),
], ids=["no-call", "two-calls", "half-a-call"])
async def test_an_answer_that_leaves_no_way_on_is_the_models_fault(said: Any, why: str) -> None:
    report, _ = await held('TEST "t" {\n  USER q\n  TOOL 3\n  EXPECT contains 3\n}\n', {"q": said})
    assert report.verdict == "fail"
    assert why in report.cases[0].attempts[0].why


@pytest.mark.parametrize("text", [
    'TEST "t" {\n  TOOL 3\n  USER q\n  EXPECT no_leak\n}\n',
    'TEST "t" {\n  USER q\n  ASSISTANT hm\n  TOOL 3\n  EXPECT no_leak\n}\n',
    'TEST "t" {\n  TOOLS absent.json\n  USER q\n  EXPECT no_leak\n}\n',
    'TEST "t" {\n  USER q\n  EXPECT json absent.json\n}\n',
], ids=["tool-first", "answer-without-call", "no-tools-file", "no-schema-file"])
def test_what_cannot_be_held_is_said_with_its_place(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure) as said:
        cases_of(modelfile(text))
    assert said.value.message.startswith("Modelfile:")


async def test_every_sampler_is_said_and_greedy() -> None:
    own = modelfile("PARAMETER temperature 0.9\nPARAMETER repeat_penalty 1.1\nPARAMETER num_predict 9\n"
                    + body("no_leak"))
    asker = Scripted({"q": "x"})
    await run_tests(cases_of(own), asker, options_of(own, "dev"))
    sent = {name: value for name, value in asker.asked[0].items() if name != "messages"}
    assert sent == {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.1,
                    "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": 0}


async def test_a_test_that_repeats_draws_as_the_stage_does_with_a_seed_each() -> None:
    own = modelfile('PARAMETER temperature 0.9\nTEST "t" {\n  USER q\n  REPEAT 3 PASS 2\n  EXPECT contains y\n}\n')
    asker = Scripted({"q": ["yes", "no", "yes"]})
    report = await run_tests(cases_of(own), asker, options_of(own, "dev"))
    assert {one["temperature"] for one in asker.asked} == {0.9}
    assert sorted(one["seed"] for one in asker.asked) == [0, 1, 2]
    assert (report.verdict, report.cases[0].passes, report.flaky) == ("pass", 2, ("t",))


@pytest.mark.parametrize(("answers", "must", "verdict"), [
    (["y", "y", "y"], 3, "pass"), (["y", "n", "y"], 3, "fail"), (["n", "n", "y"], 2, "fail"),
    ([BUSY, "y", "y"], 2, "pass"), ([BUSY, "n", "y"], 2, "error"), ([BUSY, "n", "n"], 2, "fail"),
    ([BUSY, BUSY, BUSY], 1, "error"),
], ids=["all", "one-failed", "two-failed", "enough-without-it", "it-would-decide", "it-would-not-help", "none"])
async def test_what_was_not_answered_never_counts_as_failed(answers: list[Any], must: int, verdict: str) -> None:
    text = f'TEST "t" {{\n  USER q\n  REPEAT 3 PASS {must}\n  EXPECT contains y\n}}\n'
    report, _ = await held(text, {"q": answers}, Options(pause=0.0, retries=0, concurrency=1))
    assert report.verdict == verdict


@pytest.mark.parametrize(("fault", "asked"), [
    (BUSY, 3), (Answer(error="connection refused"), 3), (Answer(status=200, error="the stream ended"), 3),
    (Answer(status=429, error="429: slow down"), 3), (Answer(status=400, error="400: too long"), 1),
    (Answer(status=401, error="401: no key"), 1),
], ids=["busy", "refused", "cut", "limited", "bad-request", "no-key"])
async def test_faults_on_the_way_are_tried_again(fault: Answer, asked: int) -> None:
    report, asker = await held(body("no_leak"), {"q": fault})
    assert (report.verdict, len(asker.asked)) == ("error", asked)
    report, _ = await held(body("no_leak"), {"q": [fault, "x"]})
    assert report.verdict == ("pass" if asked == 3 else "error")


async def test_an_answer_that_never_comes_is_an_error() -> None:
    class Deaf:
        async def chat(self, body: dict[str, Any]) -> Answer:
            await asyncio.sleep(60)
            raise AssertionError

    report = await run_tests(cases_of(modelfile(body("no_leak"))), Deaf(), Options(timeout=0.01))
    assert report.verdict == "error" and "within" in report.cases[0].attempts[0].why


class Counting:
    """How many conversations are open at a time, and which were alone."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.beside: dict[str, int] = {}

    async def chat(self, body: dict[str, Any]) -> Answer:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.beside[body["messages"][-1]["content"]] = self.now
        self.now -= 1
        return answer("x")


async def test_the_batch_is_full_and_exact_texts_are_alone() -> None:
    text = "".join(f'TEST "t{n}" {{\n  USER q{n}\n  EXPECT {"equals x" if n % 3 == 0 else "contains x"}\n}}\n'
                   for n in range(30))
    asker = Counting()
    seen: list[tuple[int, int]] = []
    report = await run_tests(cases_of(modelfile(text)), asker, Options(concurrency=5),
                             lambda done, total, name: seen.append((done, total)))
    assert report.verdict == "pass" and asker.most == 5
    assert {asker.beside[f"q{n}"] for n in range(0, 30, 3)} == {1}
    assert seen == [(n, 30) for n in range(1, 31)]
    assert report.conditions["alone"] == 10
    asker = Counting()
    await run_tests(cases_of(modelfile(text)), asker, Options(concurrency=5, steady=True))
    assert asker.beside["q0"] > 1


async def test_a_fault_of_the_disk_is_one_exception() -> None:
    class Full:
        async def chat(self, body: dict[str, Any]) -> Answer:
            raise OSError(28, "no space left")

    with pytest.raises(OSError, match="no space"):
        await run_tests(cases_of(modelfile(body("no_leak"))), Full(), FAST)


def test_no_cases_have_shown_nothing() -> None:
    assert TestReport(()).verdict == "inconclusive"
