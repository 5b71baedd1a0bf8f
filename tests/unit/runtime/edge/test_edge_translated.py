"""The paths of other APIs at the edge: what it refuses and how it ends a stream, as their own clients read it."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

from modelkit.runtime.edge import Access, EdgeLimits, key_hash
from tests.unit.contract.chat_streams import STREAMS
from tests.unit.contract.test_translated_answers import events_of, message_writer, response_writer
from tests.unit.runtime.edge.harness import END, EVENTS, JSON, OK, Bench, Call, always, bench, get, post

KEYED = Access((key_hash("the-key"),))
MESSAGES, COUNT, RESPONSES = b"/v1/messages", b"/v1/messages/count_tokens", b"/v1/responses"
ASK: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def claude(made: Bench, **options: Any) -> anthropic.AsyncAnthropic:
    settings: dict[str, Any] = {"api_key": "the-key", "max_retries": 0} | options
    return anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{made.port}", **settings)


def gpt(made: Bench) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{made.port}/v1", api_key="the-key", max_retries=0)


def streamed(made: Any) -> bytes:
    """The engine's stream, as the contract in it translates one."""
    out = b""
    for event in events_of(made(), list(STREAMS["text"])):
        data = b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        out += b"%x\r\n%b\r\n" % (len(data), data)
    return out


def shape(body: bytes) -> tuple[str, str]:
    """The type and the sentence of an error in Anthropic's shape."""
    said = json.loads(body)
    assert set(said) == {"type", "error"} and said["type"] == "error" and set(said["error"]) == {"type", "message"}
    return said["error"]["type"], said["error"]["message"]


@pytest.mark.parametrize("path", [MESSAGES, COUNT, RESPONSES])
async def test_they_are_served(path: bytes) -> None:
    async with bench(always(OK), access=KEYED) as made:
        assert (await made.ask(post(b"{}", b"x-api-key: the-key", b"anthropic-version: 2023-06-01",
                                    path=path))).status == 200
        assert made.engines[0].requests[0].startswith(b"POST %b HTTP/1.1\r\n" % path)
        assert b"the-key" not in made.engines[0].requests[0]
        wrong = await made.ask(get(path, b"x-api-key: the-key"))
        assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", [MESSAGES, COUNT, b"/v1/messages/batches"])
async def test_without_a_key(path: bytes) -> None:
    async with bench(always(OK), access=KEYED) as made:
        response = await made.ask(post(path=path))
        assert response.status == 401 and shape(response.body)[0] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("request_", "status", "kind"), [
    (post(path=b"/v1/messages/batches"), 404, "not_found_error"),
    (get(MESSAGES), 405, "invalid_request_error"),
    (post(path=MESSAGES, length=10**9), 413, "request_too_large"),
    (post(path=MESSAGES, host=b"elsewhere"), 421, "invalid_request_error"),
    (post(path=MESSAGES).replace(JSON, b"Content-Type: text/plain\r\n"), 415, "invalid_request_error"),
])
async def test_refusals_have_the_paths_shape(request_: bytes, status: int, kind: str) -> None:
    async with bench(always(OK), limits=EdgeLimits(body_bytes=1000)) as made:
        response = await made.ask(request_)
        assert (response.status, shape(response.body)[0]) == (status, kind)


async def test_without_an_engine() -> None:
    async with bench() as made:
        response = await made.ask(post(path=MESSAGES))
        assert response.status == 503 and shape(response.body)[0] == "overloaded_error"
        assert (await made.ask(post(path=RESPONSES))).error["code"] == "engine_unavailable"


async def test_an_engine_that_is_gone() -> None:
    async def dies(call: Call) -> None:
        await call.request()

    async with bench(dies) as made:
        response = await made.ask(post(path=MESSAGES))
        assert response.status == 502 and shape(response.body)[0] == "api_error"


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"POST"])
@pytest.mark.parametrize("path", [b"/v1/responses/resp_1", b"/v1/responses/resp_1/cancel", b"/v1/responses/"])
async def test_no_response_is_kept(method: bytes, path: bytes) -> None:
    async with bench(always(OK)) as made:
        response = await made.ask(get(path, method=method))
        assert response.status == 404 and "keeps no responses" in response.error["message"]
        assert made.engines[0].connections == 0


async def test_their_clients_read_refusals() -> None:
    async with bench(always(OK), access=KEYED) as made:
        with pytest.raises(anthropic.AuthenticationError):
            await claude(made, api_key="wrong").messages.create(**ASK)
        with pytest.raises(openai.NotFoundError, match="keeps no responses"):
            await gpt(made).responses.retrieve("resp_1")
    async with bench() as made:
        with pytest.raises(anthropic.InternalServerError) as caught:
            await claude(made).messages.create(**ASK)
        assert caught.value.status_code == 503 and caught.value.body["error"]["type"] == "overloaded_error"


async def test_their_clients_read_streams() -> None:
    async with (bench(always(EVENTS, streamed(message_writer), END)) as made,
                claude(made).messages.stream(**ASK) as stream):
        assert "".join([text async for text in stream.text_stream]) == "Grüße 🙂\n\ndata: x"
        assert (await stream.get_final_message()).usage.output_tokens == 7
    async with (bench(always(EVENTS, streamed(response_writer), END)) as made,
                gpt(made).responses.stream(model="m", input="hi") as following):
        assert (await following.get_final_response()).output_text == "Grüße 🙂\n\ndata: x"


async def test_their_clients_are_told_that_the_engine_stopped() -> None:
    async def dies(call: Call) -> None:
        request = await call.request()
        whole = streamed(message_writer if MESSAGES in request else response_writer)
        await call.say(EVENTS, b"\n\n\r\n".join(whole.split(b"\n\n\r\n")[:4]) + b"\n\n\r\n")

    async with bench(dies) as made:
        with pytest.raises(anthropic.APIStatusError) as caught:
            async for _ in await claude(made).messages.create(**ASK, stream=True):
                pass
        assert "stopped before" in str(caught.value) and caught.value.body["error"]["type"] == "api_error"
        with pytest.raises(openai.APIError, match="stopped before"):
            async for _ in await gpt(made).responses.create(model="m", input="hi", stream=True):
                pass
