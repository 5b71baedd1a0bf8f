"""/v1/completions over a fake engine: prompts of four forms, echo, log-probabilities in four lists."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.unit.llamacpp.fakes import FakeEngine
from tests.unit.llamacpp.surface import TEXT, post, streamed


async def complete(http: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    return await post(http, TEXT, **fields)


async def test_it_has_openais_form(http: httpx.AsyncClient) -> None:
    answer = await complete(http, prompt="The capital", max_tokens=3)
    assert answer["id"].startswith("cmpl-") and answer["object"] == "text_completion"
    assert answer["choices"] == [{"index": 0, "text": "The capital is", "logprobs": None, "finish_reason": "length",
                                  "stop_reason": None, "prompt_logprobs": None}]
    assert answer["usage"]["total_tokens"] == 5


async def test_the_engine_gets_the_whole_request(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    await complete(http, model="tuned", prompt="The", temperature=0, top_k=5, min_p=0.1, repetition_penalty=1.1,
                   seed=7, stop="x", n=2, logit_bias={"3": -100}, presence_penalty=0.5, ignore_eos=True, logprobs=1)
    (work,) = engine.works
    job, sampling = work.job, work.job.sampling
    assert (job.prompt, job.max_tokens, job.stop, job.choices, job.adapter) == ((0,), 16, ("x",), 2, "tuned")
    assert (job.logprobs, job.prompt_logprobs, job.grammar) == (1, None, None)
    assert (sampling.temperature, sampling.top_k, sampling.min_p, sampling.seed) == (0, 5, 0.1, 7)
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (1.1, 0.5, 0)
    assert (sampling.logit_bias, sampling.ignore_eos) == ({3: -100}, True)


async def test_a_seed_of_minus_one_is_another_each_time(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    await complete(http, prompt="The", seed=-1)
    assert engine.works[0].job.sampling.seed is None


@pytest.mark.parametrize(("prompt", "jobs"), [
    ("The capital", [(0, 1)]), (["The", " is"], [(0,), (2,)]), ([0, 2], [(0, 2)]), ([[0], [2, 3]], [(0,), (2, 3)])])
async def test_each_prompt_is_a_job(http: httpx.AsyncClient, engine: FakeEngine, prompt: Any,
                                    jobs: list[tuple[int, ...]]) -> None:
    answer = await complete(http, prompt=prompt, n=2)
    assert [work.job.prompt for work in engine.works] == jobs
    assert [choice["index"] for choice in answer["choices"]] == list(range(2 * len(jobs)))
    assert answer["usage"]["prompt_tokens"] == sum(map(len, jobs))
    assert answer["usage"]["completion_tokens"] == 6 * 2 * len(jobs)


async def test_choices_of_several_prompts_are_streamed_with_their_numbers(http: httpx.AsyncClient) -> None:
    *chunks, done = await streamed(http, TEXT, prompt=["The", " is"], n=2, max_tokens=2)
    texts: dict[int, str] = {}
    for chunk in chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    assert texts == dict.fromkeys(range(4), "The capital") and done == "[DONE]"


@pytest.mark.parametrize("prompt", [[8], [[0], [-0, 8]], [2**31 - 1]])
async def test_a_token_that_is_none_is_a_400(http: httpx.AsyncClient, engine: FakeEngine, prompt: Any) -> None:
    answer = await http.post(TEXT, json={"model": "tiny", "prompt": prompt})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
    assert "which this model lacks" in answer.json()["error"]["message"] and engine.works == []


async def test_a_bias_on_a_token_that_is_none_is_a_400(http: httpx.AsyncClient) -> None:
    answer = await http.post(TEXT, json={"model": "tiny", "prompt": "The", "logit_bias": {"8": 1}})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "logit_bias")


@pytest.mark.parametrize("prompt", ["The capital", [0, 1]])
async def test_an_echo_begins_with_the_prompt(http: httpx.AsyncClient, engine: FakeEngine, prompt: Any) -> None:
    answer = await complete(http, prompt=prompt, max_tokens=1, echo=True, logprobs=1)
    assert engine.works[0].job.prompt_logprobs == 1
    (choice,) = answer["choices"]
    assert choice["text"] == "The capitalThe"
    assert choice["logprobs"] == {
        "tokens": ["The", " capital", "The"], "text_offset": [0, 3, 11], "token_logprobs": [None, -0.25, -0.25],
        "top_logprobs": [None, {" capital": -0.25, "The": -0.5}, {"The": -0.25}]}


async def test_an_echo_without_log_probabilities_asks_for_none(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = await complete(http, prompt="The", max_tokens=1, echo=True)
    assert engine.works[0].job.prompt_logprobs is None
    assert (answer["choices"][0]["text"], answer["choices"][0]["logprobs"]) == ("TheThe", None)


async def test_an_echo_of_the_prompt_alone(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = await complete(http, prompt="The capital", max_tokens=0, echo=True, logprobs=0)
    (choice,) = answer["choices"]
    assert (choice["text"], choice["logprobs"]["tokens"], choice["finish_reason"]) == (
        "The capital", ["The", " capital"], "length")
    assert engine.works[0].job.max_tokens == 1


async def test_a_streamed_echo_has_the_prompt_in_its_first_chunk(http: httpx.AsyncClient) -> None:
    first, second, done = await streamed(http, TEXT, prompt="The capital", max_tokens=2, echo=True, logprobs=0)
    assert first["choices"][0]["text"] == "The capitalThe"
    assert second["choices"][0]["logprobs"]["text_offset"] == [14]
    assert done == "[DONE]"


@pytest.mark.parametrize("fields", [{"suffix": "x"}, {"best_of": 2}])
async def test_what_is_refused(http: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await http.post(TEXT, json={"model": "tiny", "prompt": "The", **fields})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_parameter")
