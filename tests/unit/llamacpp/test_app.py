"""The surface over a fake engine, behind the real contract: shapes, streams, errors, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from modelkit.contract.errors import ContractError, of_status
from modelkit.llamacpp.jobs import EngineDied
from tests.unit.llamacpp.fakes import FakeChat, FakeEngine
from tests.unit.llamacpp.surface import CHAT, TEXT, behind_the_contract, post, streamed

QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "The capital is"}]}


async def test_a_chat_is_openais(http: httpx.AsyncClient) -> None:
    answer = await post(http, CHAT, messages=QUESTION["messages"])
    assert answer.pop("id").startswith("chatcmpl-") and answer.pop("created") > 0
    assert answer == {
        "object": "chat.completion", "model": "tiny", "system_fingerprint": "fake-1", "service_tier": None,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "The capital is Paris.", "refusal": None,
                                             "annotations": None, "audio": None, "function_call": None,
                                             "reasoning": None},
                     "logprobs": None, "finish_reason": "stop", "stop_reason": None}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9, "prompt_tokens_details": None,
                  "completion_tokens_details": None}}


async def test_the_chat_gets_the_request_as_the_contract_filled_it(http: httpx.AsyncClient, chat: FakeChat) -> None:
    await post(http, CHAT, messages=[{"role": "developer", "content": "x"}, *QUESTION["messages"]], temperature=1,
               logit_bias={"3": -5}, chat_template_kwargs={"a": 1})
    (request,) = chat.requests
    assert request["messages"][0] == {"role": "system", "content": "x"}
    assert request["temperature"] == 1 and isinstance(request["temperature"], int)
    assert (request["top_p"], request["logit_bias"], request["chat_template_kwargs"]) == (1.0, {"3": -5}, {"a": 1})
    assert "stream_options" not in request


async def test_a_stream_begins_with_the_role_and_ends_with_done(http: httpx.AsyncClient) -> None:
    *chunks, done = await streamed(http, CHAT, messages=QUESTION["messages"])
    assert done == "[DONE]"
    assert [list(chunk) for chunk in chunks] == [
        ["id", "object", "created", "model", "system_fingerprint", "choices"]] * len(chunks)
    assert chunks[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None,
                                     "finish_reason": None}]
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "The capital is Paris."
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * 6 + ["stop"]
    assert len({c["id"] for c in chunks}) == 1 and chunks[0]["object"] == "chat.completion.chunk"


async def test_usage_comes_last_when_it_is_asked_for(http: httpx.AsyncClient) -> None:
    *_, last, done = await streamed(http, CHAT, messages=QUESTION["messages"], stream_options={"include_usage": True})
    assert last["choices"] == [] and done == "[DONE]"
    assert last["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}


async def test_every_choice_of_a_stream_begins_with_the_role(http: httpx.AsyncClient) -> None:
    *chunks, _ = await streamed(http, CHAT, messages=QUESTION["messages"], n=2)
    assert [c["choices"][0]["index"] for c in chunks[:2]] == [0, 1]
    assert all("role" in c["choices"][0]["delta"] for c in chunks[:2])
    assert sum(c["choices"][0]["finish_reason"] is not None for c in chunks) == 2


async def test_what_is_ready_goes_out_at_once(engine: FakeEngine, chat: FakeChat) -> None:
    writes: list[bytes] = []
    app = behind_the_contract(engine, chat)
    body = json.dumps({**QUESTION, "stream": True}).encode()
    inbox = iter(({"type": "http.request", "body": body},))

    async def receive() -> dict[str, Any]:
        for message in inbox:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            writes.append(message["body"])

    await app({"type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b"",
               "headers": [(b"content-type", b"application/json")]}, receive, send)
    assert len(writes) == 1 and writes[0].count(b"data: ") == 8


async def test_an_error_before_the_first_token_has_its_status(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refuses = ContractError(400, "context_length_exceeded", "the prompt has 300 tokens; … 256 tokens")
    for stream in (False, True):
        answer = await http.post(CHAT, json={**QUESTION, "stream": stream})
        assert answer.status_code == 400
        assert answer.json()["error"] == {"message": "the prompt has 300 tokens; … 256 tokens", "code":
                                          "context_length_exceeded", "param": "messages",
                                          "type": "invalid_request_error"}
    engine.refuses, engine.fault = None, of_status(400, "this picture is none", "messages[0].content[1]")
    answer = await http.post(CHAT, json={**QUESTION, "stream": True})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[0].content[1]")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_dead_engine_is_a_503(http: httpx.AsyncClient, engine: FakeEngine, stream: bool) -> None:
    engine.died, engine.fault = "ggml gave up", EngineDied("ggml gave up")
    answer = await http.post(CHAT, json={**QUESTION, "stream": stream})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
    assert (await http.get("/health")).status_code == 503


@pytest.mark.parametrize(("fault", "code"), [(EngineDied("x"), "engine_unavailable"),
                                             (RuntimeError("x"), "internal_error")])
async def test_a_stream_that_fails_in_the_middle_says_so_and_ends(
        http: httpx.AsyncClient, engine: FakeEngine, fault: Exception, code: str) -> None:
    engine.fault, engine.healthy = fault, 2
    *chunks, last = await streamed(http, CHAT, messages=QUESTION["messages"])
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "The capital"
    assert last["error"]["code"] == code and last["error"]["type"] == "server_error"
    assert engine.works[0].cancelled
    assert 'finished_reason="error",engine="0",model_name="tiny"} 1\n' in (await http.get("/metrics")).text


async def test_a_fault_of_ours_is_a_500_that_tells_nothing(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.fault = RuntimeError("/secret/path")
    answer = await http.post(CHAT, json=QUESTION)
    assert answer.status_code == 500
    assert "secret" not in answer.text and answer.json()["error"]["code"] == "internal_error"


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_is_cancelled_at_once(engine: FakeEngine, chat: FakeChat, stream: bool, path: str) -> None:
    engine.gate = asyncio.Semaphore(2 if stream else 0)
    app = behind_the_contract(engine, chat)
    left = asyncio.Event()
    body = json.dumps({"model": "tiny", "stream": stream} | (
        {"messages": QUESTION["messages"]} if path == CHAT else {"prompt": ["The", "The"]})).encode()
    inbox = iter(({"type": "http.request", "body": body},))

    async def receive() -> dict[str, Any]:
        for message in inbox:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        left.set()  # a stream's client goes with its first bytes

    if not stream:
        asyncio.get_running_loop().call_later(0.02, left.set)
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [(b"content-type", b"application/json")]}
    async with asyncio.timeout(5):
        await app(scope, receive, send)
    assert engine.works and all(work.cancelled for work in engine.works)


async def test_tokens_and_texts(http: httpx.AsyncClient) -> None:
    assert await post(http, "/tokenize", prompt="The capital", return_token_strs=True) == {
        "count": 2, "max_model_len": 256, "tokens": [0, 1], "token_strs": ["The", "Ġcapital"]}
    assert (await post(http, "/tokenize", messages=QUESTION["messages"]))["tokens"] == [0, 1, 2]
    assert await post(http, "/detokenize", tokens=[0, 1, 5]) == {"prompt": "The capital<|im_end|>"}
    answer = await http.post("/detokenize", json={"tokens": [8]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tokens")


async def test_a_conversation_can_be_rendered(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    said = await post(http, CHAT + "/render", messages=QUESTION["messages"], max_tokens=7)
    assert (said["token_ids"], said["prompt"], said["model"]) == ([0, 1, 2], "The capital is", "tiny")
    assert said["sampling_params"]["max_tokens"] == 7
    assert engine.works == []


async def test_what_the_engine_has_is_told_through_the_contract_alone(http: httpx.AsyncClient) -> None:
    assert (await http.get("/modelkit/state")).status_code == 404
    found = (await http.get("/modelkit/effective")).json()
    assert found == {"schema": "modelkit.effective/1", "version": "1", "model": "/models/m.gguf", "revision": None,
                     "context_length": 256, "max_concurrency": 4, "template": "sha256:0", "adapters": ["tuned"],
                     "kv_cache": "f16", "kv_tokens": 1024, "tensor_parallel": None}


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/redoc", "/v1/nothing", "/modelkit/props"])
async def test_nothing_else_is_there(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_metrics_have_vllms_names(http: httpx.AsyncClient, engine: FakeEngine) -> None:
    await post(http, CHAT, messages=QUESTION["messages"], n=2)
    text = (await http.get("/metrics")).text
    labels = 'engine="0",model_name="tiny"'
    for line in (f"vllm:num_requests_running{{{labels}}} 2", f"vllm:kv_cache_usage_perc{{{labels}}} 0.25",
                 f"vllm:prompt_tokens_total{{{labels}}} 3", f"vllm:generation_tokens_total{{{labels}}} 12",
                 f'vllm:request_success_total{{finished_reason="stop",{labels}}} 2',
                 f'vllm:request_success_total{{finished_reason="abort",{labels}}} 0',
                 f"vllm:time_to_first_token_seconds_count{{{labels}}} 2",
                 f"vllm:inter_token_latency_seconds_count{{{labels}}} 10",
                 f'vllm:request_queue_time_seconds_bucket{{{labels},le="0.3"}} 1',
                 f"vllm:request_queue_time_seconds_sum{{{labels}}} 0.25",
                 f'vllm:e2e_request_latency_seconds_bucket{{{labels},le="+Inf"}} 2'):
        assert line in text.splitlines()
