"""The official `openai` package: what it reads, and the exceptions that it raises"""

from __future__ import annotations

from typing import Any, Literal

import openai
import pydantic
import pytest

from tests.conformance.client import QUESTION, Server, text, user
from tests.conformance.meaning import CONTEXT, NAME

ASK: Any = {"model": NAME, "messages": user(), "max_tokens": 4}


class Choice(pydantic.BaseModel):
    answer: Literal["a", "b"]


def test_a_chat(engine: Server) -> None:
    answer = engine.openai.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == text(engine.chat(max_tokens=4))
    assert answer.usage is not None and answer.usage.completion_tokens == 4
    assert answer.choices[0].message.tool_calls is None and answer.choices[0].message.refusal is None


def test_a_stream_with_its_usage(engine: Server) -> None:
    chunks = list(engine.openai.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text(engine.chat(max_tokens=4))
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 4


def test_the_packages_own_stream_helper(engine: Server) -> None:
    with engine.openai.chat.completions.stream(**{**ASK, "max_tokens": 16}) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == text(engine.chat(max_tokens=16))


def test_a_parsed_answer(engine: Server) -> None:
    answer = engine.openai.chat.completions.parse(model=NAME, messages=ASK["messages"], response_format=Choice,
                                                  max_tokens=40)
    assert answer.choices[0].message.parsed is not None
    assert answer.choices[0].message.parsed.answer in ("a", "b")


def test_a_parsed_tool_call(engine: Server) -> None:
    tool = openai.pydantic_function_tool(Choice, name="choose")
    answer = engine.openai.chat.completions.parse(model=NAME, messages=ASK["messages"], tools=[tool], max_tokens=80,
                                                  tool_choice={"type": "function", "function": {"name": "choose"}})
    (call,) = answer.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, Choice)


def test_a_completion(engine: Server) -> None:
    answer = engine.openai.completions.create(model=NAME, prompt="Once upon a time", max_tokens=3, logprobs=2)
    assert answer.choices[0].text == text(engine.complete(max_tokens=3, logprobs=2))
    assert answer.choices[0].logprobs is not None and len(answer.choices[0].logprobs.tokens or ()) == 3


def test_log_probabilities(engine: Server) -> None:
    answer = engine.openai.chat.completions.create(**ASK, logprobs=True, top_logprobs=2)
    found = answer.choices[0].logprobs
    assert found is not None and found.content is not None
    assert all(token.bytes is not None and len(token.top_logprobs) == 2 for token in found.content)


def test_the_raw_answer_has_headers(engine: Server) -> None:
    raw = engine.openai.chat.completions.with_raw_response.create(**ASK)
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().object == "chat.completion"


def test_vllms_own_fields_go_in_the_extra_body(engine: Server) -> None:
    answer = engine.openai.chat.completions.create(**ASK,
                                                   extra_body={"top_k": 1, "min_p": 0, "repetition_penalty": 1.0})
    assert answer.choices[0].message.content == text(engine.chat(max_tokens=4))


async def test_the_asynchronous_client(engine: Server) -> None:
    async with openai.AsyncOpenAI(base_url=str(engine.http.base_url.join("/v1")), api_key="none",
                                  max_retries=0) as client:
        answer = await client.chat.completions.create(**ASK)
        assert answer.choices[0].message.content == text(engine.chat(max_tokens=4))
        stream = await client.chat.completions.create(**ASK, stream=True)
        said = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(said) == text(engine.chat(max_tokens=4))


MISTAKES: list[tuple[dict[str, Any], type[openai.APIStatusError], str, str | None]] = [
    ({"model": "gpt-4o"}, openai.NotFoundError, "model_not_found", "model"),
    ({"temperature": 3}, openai.BadRequestError, "invalid_value", "temperature"),
    ({"messages": []}, openai.BadRequestError, "invalid_value", "messages"),
    ({"messages": user("word " * CONTEXT)}, openai.BadRequestError, "context_length_exceeded", "messages"),
    ({"extra_body": {"nonsense": 1}}, openai.BadRequestError, "unknown_parameter", "nonsense"),
    ({"extra_headers": {"content-type": "text/plain"}}, openai.APIStatusError, "unsupported_media_type", None),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=[code for *_, code, _ in MISTAKES])
@pytest.mark.parametrize("stream", [False, True])
def test_a_mistake_raises_the_packages_exception(server: Server, mistake: tuple[Any, ...], stream: bool) -> None:
    fields, kind, code, param = mistake
    with pytest.raises(kind) as raised:
        server.openai.chat.completions.create(**{**ASK, **fields}, stream=stream)
    assert (raised.value.code, raised.value.param) == (code, param)
    assert raised.value.type == "invalid_request_error"


def test_a_model_that_is_not_there(server: Server) -> None:
    with pytest.raises(openai.NotFoundError):
        server.openai.models.retrieve("gpt-4o")
    assert server.openai.models.retrieve(NAME).id == NAME


def test_the_same_question_the_packages_way(engine: Server) -> None:
    assert engine.openai.chat.completions.create(model=NAME, messages=[{"role": "user", "content": QUESTION}]
                                                 ).choices[0].message.content == text(engine.chat())
