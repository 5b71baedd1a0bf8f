"""Agreement of two models: exact figures of scripted answers, bounds that hold, and faults of parsers by name."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from modelkit.release.agreement import Agreement, fields, measure
from modelkit.release.client import Answer, Client, Target, ToolCall
from modelkit.release.distributions import divergence, likeliest
from modelkit.release.intervals import Interval, clustered, wilson
from modelkit.release.parity import Conversation

HI = tuple(Conversation(f"c{number}", ({"role": "user", "content": str(number)},)) for number in range(4))
Tops = dict[str, float]


def logs(**shares: float) -> Tops:
    return {token: math.log(share) for token, share in shares.items()}


class Scripted:
    """A server that answers each conversation with tokens, each with its distribution; it echoes if it `forces`."""

    def __init__(self, answers: dict[str, list[Tops]], *, forces: bool = True, status: int = 200) -> None:
        self.answers, self.forces, self.status = answers, forces, status
        self.paths: list[str] = []

    def client(self) -> Client:
        client = Client(Target("http://here/v1", "m"))
        client._http = httpx.AsyncClient(transport=httpx.MockTransport(self), base_url="http://here/v1")
        return client

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.paths.append(request.url.path)
        if request.url.path == "/tokenize":
            if not self.forces:
                return httpx.Response(404, json={})
            text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
            return httpx.Response(200, json={"tokens": [ord(one) for one in text], "count": len(text)})
        if request.url.path == "/v1/completions":
            said = "".join(map(chr, body["prompt"]))
            tops = self.answers[said[0]][: len(said) - 1]
            return httpx.Response(200, json={"choices": [{"logprobs": {"top_logprobs": [None, *tops]}}]})
        return self.chat(body)

    def chat(self, body: dict[str, Any]) -> httpx.Response:
        assert body["temperature"] == 0 and body["top_logprobs"] == 20 and "repetition_penalty" in body
        if self.status != 200:
            return httpx.Response(self.status, json={"error": {"message": "no"}})
        events: list[dict[str, Any]] = []
        for tops in self.answers[body["messages"][-1]["content"]]:
            token = likeliest(tops)
            listed = [{"token": name, "logprob": value} for name, value in tops.items()]
            events.append({"choices": [{"delta": {"content": token}, "logprobs": {
                "content": [{"token": token, "logprob": tops[token], "top_logprobs": listed}]}}]})
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        return httpx.Response(200, text="".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n")


def measured(left: Scripted, right: Scripted) -> Agreement:
    async def run() -> Agreement:
        async with left.client() as one, right.client() as other:
            return await measure(HI, one, other)

    return asyncio.run(run())


SAME = {str(number): [logs(a=0.6, b=0.4), logs(b=0.9, a=0.1)] for number in range(4)}
PARTED = SAME | {"3": [logs(b=0.6, a=0.4), logs(b=0.9, a=0.1)]}


@pytest.mark.parametrize("forces", [True, False])
def test_equal_models_agree_wholly(forces: bool) -> None:
    found = measured(Scripted(SAME, forces=forces), Scripted(SAME, forces=forces))
    assert (found.method, found.conversations, found.positions) == ("forced" if forces else "shared", 4, 8)
    assert found.greedy.value == found.top1.value == 1.0 and found.kl.value == 0.0
    assert found.greedy.low < 0.6 and found.top1.low < 0.7  # four answers do not prove more
    assert found.verdict(max_kl=0.01) == "pass" and found.verdict(min_top1=0.99) == "inconclusive"


@pytest.mark.parametrize(("forces", "positions"), [(True, 8), (False, 7)])
def test_figures_are_those_of_the_answers(forces: bool, positions: int) -> None:
    """Where nothing is forced, what follows the place where two answers part is not compared."""
    found = measured(Scripted(SAME, forces=forces), Scripted(PARTED, forces=forces))
    assert found.positions == positions
    assert found.greedy.value == 0.75
    assert found.top1.value == pytest.approx((positions - 1) / positions)
    assert found.kl.value == pytest.approx((0.6 * math.log(0.6 / 0.4) + 0.4 * math.log(0.4 / 0.6)) / positions)
    assert found.verdict() == "pass" and found.verdict(min_top1=1.0) == "inconclusive"
    assert found.verdict(max_kl=0.0) in ("fail", "inconclusive")


def test_a_side_that_does_not_answer_is_an_error() -> None:
    found = measured(Scripted(SAME), Scripted(SAME, status=500))
    assert found.conversations == 0 and len(found.errors) == 4 and "right: 500" in found.errors[0]
    assert found.verdict() == "error"
    json.dumps(found.as_json(), allow_nan=False)


def test_a_side_that_alone_refuses_is_a_difference_and_both_are_none() -> None:
    found = measured(Scripted(SAME), Scripted(SAME, status=400))
    assert found.verdict() == "fail" and found.fields[0].field == "answer"
    assert measured(Scripted(SAME, status=400), Scripted(SAME, status=400)).verdict() == "pass"


def drawn(draw: random.Random, count: int) -> list[float]:
    weights = [draw.expovariate(1) ** 3 for _ in range(count)]
    return [one / sum(weights) for one in weights]


def test_the_divergence_never_exceeds_the_true_one() -> None:
    """Of whole distributions over 50 tokens, the 20 likeliest of each are shown."""
    draw, closest = random.Random(7), 0.0
    for number in range(300):
        p = drawn(draw, 50)
        q = drawn(draw, 50) if number % 2 else [one + 0.002 * draw.random() for one in p]
        q = [one / sum(q) for one in q]
        true = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        shown = [{str(at): math.log(one) for at, one in sorted(enumerate(side), key=lambda each: -each[1])[:20]}
                 for side in (p, q)]
        bound = divergence(shown[0], shown[1])
        assert 0 <= bound <= true + 1e-9
        closest = max(closest, bound / true)
    assert closest > 0.8


def test_disjoint_tokens_are_far_apart() -> None:
    assert divergence(logs(a=0.9, b=0.09), logs(c=0.9, d=0.01)) > 2.0
    assert divergence(logs(a=1.0), logs(a=1.0)) == 0.0
    assert divergence({}, logs(a=1.0)) == 0.0


def test_wilson_is_the_published_interval() -> None:
    """E. B. Wilson's interval of 8 in 10, and at the edges."""
    assert wilson(8, 10) == Interval(0.8, pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(10, 10).high == 1.0 and wilson(10, 10).low == pytest.approx(0.7225, abs=1e-4)
    assert wilson(0, 0).low == 0.0 and wilson(0, 0).high == 1.0


def test_the_bootstrap_draws_whole_answers() -> None:
    """Twenty tokens in two answers say less than twenty in twenty."""
    two = clustered([[0.0] * 10, [1.0] * 10])
    twenty = clustered([[float(at % 2)] for at in range(20)])
    assert two.value == twenty.value == 0.5
    assert (two.low, two.high) == (0.0, 1.0)
    assert 0.2 < twenty.low < twenty.high < 0.8
    assert clustered([[1.0], [2.0]]) == clustered([[1.0], [2.0]])


CALL = (ToolCall("weather", '{"city": "Oslo"}'),)


@pytest.mark.parametrize(("left", "right", "field", "fault"), [
    (Answer(tool_calls=CALL), Answer(text='{"name": "weather"}'), "tool_calls", True),
    (Answer(tool_calls=CALL), Answer(text="Let me see."), "tool_calls", False),
    (Answer(tool_calls=CALL), Answer(tool_calls=(ToolCall("weather", "{"),)), "arguments", True),
    (Answer(reasoning="hm", text="4"), Answer(text="<think>hm</think>4"), "reasoning", True),
    (Answer(reasoning="hm", text="4"), Answer(text="4"), "reasoning", False),
    (Answer(text="4"), Answer(text="<tool_call>4"), "content", True),
])
def test_fields_that_one_side_fills(left: Answer, right: Answer, field: str, fault: bool) -> None:
    check: Callable[..., Any] = fields
    assert [(one.field, one.fault) for one in check("c", left, right)] == [(field, fault)]
    assert [(one.field, one.fault) for one in check("c", right, left)] == [(field, fault)]
    assert check("c", left, left) == [] or field == "arguments"


@pytest.mark.parametrize(("interval", "limit", "verdict"), [
    ((0.01, 0.02), 0.03, "pass"), ((0.04, 0.05), 0.03, "fail"), ((0.02, 0.05), 0.03, "inconclusive")])
def test_a_limit_within_the_interval_decides_nothing(interval: tuple[float, float], limit: float, verdict: str
                                                     ) -> None:
    sure = Interval(1.0, 1.0, 1.0)
    found = Agreement(4, 8, "forced", sure, sure, Interval(sum(interval) / 2, *interval))
    assert found.verdict(max_kl=limit) == verdict
