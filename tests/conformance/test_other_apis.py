"""The Responses API and Anthropic's Messages API, asked by their own clients: what chat completions mean, they mean."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel, Field

from tests.conformance.client import QUESTION, Server, text, user
from tests.conformance.meaning import CONTEXT, MAX_TOKENS, NAME

CITY = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"], "additionalProperties": False}
LONG = "word " * (2 * CONTEXT)
STORY = "Count from one to one hundred, in words."


class Through(httpx2.BaseTransport):
    """The connection of a `Server`, for a client that brings its own HTTP package."""

    def __init__(self, server: Server) -> None:
        self.http = server.http

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
        asked = self.http.build_request(request.method, request.url.path, headers=headers, content=request.read())
        answer = self.http.send(asked, stream=True)
        kept = [(name, value) for name, value in answer.headers.raw
                if name.lower() not in (b"content-length", b"transfer-encoding", b"content-encoding")]
        return httpx2.Response(answer.status_code, headers=kept, stream=_Passing(answer))


class _Passing(httpx2.SyncByteStream):
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self.answer.iter_bytes()

    def close(self) -> None:
        self.answer.close()


@pytest.fixture
def responses(server: Server) -> Any:
    return server.openai.responses


@pytest.fixture
def messages(server: Server) -> Any:
    client = anthropic.DefaultHttpxClient(transport=Through(server))
    return anthropic.Anthropic(api_key="none", base_url="http://server", http_client=client, max_retries=0).messages


def ask(**fields: Any) -> dict[str, Any]:
    """The least that a message takes."""
    return {"model": NAME, "max_tokens": MAX_TOKENS, "messages": user(), **fields}


def said(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_text_is_answered_as_its_chat(server: Server, responses: Any) -> None:
    chat = server.chat()
    answer = responses.create(model=NAME, input=QUESTION)
    assert answer.output_text == text(chat)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (
        chat["usage"]["prompt_tokens"], chat["usage"]["completion_tokens"], chat["usage"]["total_tokens"])
    assert answer.model == NAME and answer.temperature == 0 and answer.top_p == 0.9 and answer.error is None


def test_a_message_is_answered_as_its_chat(server: Server, messages: Any) -> None:
    chat = server.chat()
    answer = messages.create(**ask())
    assert said(answer) == text(chat) and answer.model == NAME and answer.role == "assistant"
    usage = answer.usage
    assert usage.input_tokens + usage.cache_read_input_tokens == chat["usage"]["prompt_tokens"]
    assert usage.output_tokens == chat["usage"]["completion_tokens"]


def test_a_streamed_response_adds_up_to_the_whole_one(responses: Any) -> None:
    asked: Any = {"model": NAME, "input": QUESTION, "extra_body": {"stop": []}}
    whole = responses.create(**asked)
    with responses.stream(**asked) as stream:
        events = list(stream)
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == f"response.{whole.status}"
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


def test_a_streamed_message_adds_up_to_the_whole_one(messages: Any) -> None:
    whole = messages.create(**ask())
    with messages.stream(**ask()) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(pieces) == said(whole) == said(final) and len(pieces) > 1
    assert (final.stop_reason, final.stop_sequence, final.usage.output_tokens) == (
        whole.stop_reason, whole.stop_sequence, whole.usage.output_tokens)


def test_a_conversation_and_its_instructions(server: Server, responses: Any, messages: Any) -> None:
    turns: Any = [*user("My name is Ada."), {"role": "assistant", "content": "Hello, Ada."}, *user("What is my name?")]
    chat = server.chat(messages=[{"role": "system", "content": "Be kind."}, *turns], max_tokens=6)
    answer = responses.create(model=NAME, instructions="Be kind.", input=turns, max_output_tokens=6)
    assert (answer.output_text, answer.usage.input_tokens) == (text(chat), chat["usage"]["prompt_tokens"])
    message = messages.create(**ask(system=[{"type": "text", "text": "Be kind."}], messages=turns, max_tokens=6))
    assert said(message) == text(chat)
    parts = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}]
    assert responses.create(model=NAME, input=parts, max_output_tokens=4).output_text == text(server.chat(max_tokens=4))


def test_an_answer_goes_back_as_it_came(responses: Any, messages: Any) -> None:
    first = responses.create(model=NAME, input=QUESTION)
    again = responses.create(model=NAME, input=[*user(), *first.output, *user("And of Italy?")], max_output_tokens=2)
    assert again.output_text
    message = messages.create(**ask(max_tokens=4))
    assert said(messages.create(**ask(messages=[*user(), {"role": "assistant", "content": message.content},
                                                *user("And of Italy?")], max_tokens=2)))


@pytest.mark.parametrize("stream", [False, True])
def test_why_an_answer_ended(responses: Any, messages: Any, stream: bool) -> None:
    short: Any = {"model": NAME, "input": STORY, "max_output_tokens": 3, "stream": stream}
    answer = responses.create(**short)
    answer = list(answer)[-1].response if stream else answer
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    cut = messages.create(**ask(messages=user(STORY), max_tokens=3))
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 3)


def test_a_stop_sequence_ends_the_answer_and_is_not_in_it(server: Server, messages: Any) -> None:
    word = text(server.chat()).split()[2]
    message = messages.create(**ask(stop_sequences=[word]))
    assert word not in said(message)
    if server.engine in ("vllm", "llama.cpp"):  # llama-server does not say which
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", word)
    else:
        assert message.stop_reason in ("end_turn", "stop_sequence")


def test_a_schema_is_kept(responses: Any, messages: Any) -> None:
    named = {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}
    answer = responses.create(model=NAME, input=QUESTION, text={"format": named})
    assert json.loads(answer.output_text)["city"] in ("Paris", "Rome")
    message = messages.create(**ask(output_config={"format": {"type": "json_schema", "schema": CITY}}))
    assert json.loads(said(message))["city"] in ("Paris", "Rome")


def test_a_model_is_parsed(responses: Any) -> None:
    class City(BaseModel):
        city: str = Field(json_schema_extra={"enum": ["Paris", "Rome"]})

    answer = responses.parse(model=NAME, input=QUESTION, text_format=City)
    assert answer.output_parsed.city in ("Paris", "Rome")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_read(responses: Any, messages: Any, stream: bool) -> None:
    tool: Any = {"type": "function", "name": "go", "parameters": CITY}
    asked: Any = {"model": NAME, "input": QUESTION, "tools": [tool], "max_output_tokens": 100,
                  "tool_choice": {"type": "function", "name": "go"}}
    if stream:
        with responses.stream(**asked) as following:
            answer = following.get_final_response()
    else:
        answer = responses.create(**asked)
    (call,) = answer.output
    assert (call.type, call.name) == ("function_call", "go")
    assert json.loads(call.arguments)["city"] in ("Paris", "Rome")
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    assert responses.create(model=NAME, input=[*user(), call, result], max_output_tokens=2).status == "incomplete"

    used: Any = ask(max_tokens=100, tools=[{"name": "go", "input_schema": CITY}],
                    tool_choice={"type": "tool", "name": "go"})
    if stream:
        with messages.stream(**used) as heard:
            message = heard.get_final_message()
    else:
        message = messages.create(**used)
    (use,) = message.content
    assert (use.type, use.name, message.stop_reason) == ("tool_use", "go", "tool_use")
    assert use.input["city"] in ("Paris", "Rome")
    back = [*user(), {"role": "assistant", "content": message.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "done"}]}]
    assert messages.create(**ask(messages=back, max_tokens=2)).type == "message"


def test_any_tool(responses: Any, messages: Any) -> None:
    tool: Any = {"type": "function", "name": "go", "parameters": CITY}
    answer = responses.create(model=NAME, input=QUESTION, tools=[tool], tool_choice="required", max_output_tokens=100,
                              parallel_tool_calls=False)
    assert [item.name for item in answer.output if item.type == "function_call"][:1] == ["go"]
    message = messages.create(**ask(tools=[{"name": "go", "input_schema": CITY}], max_tokens=100,
                                    tool_choice={"type": "any", "disable_parallel_tool_use": True}))
    assert message.stop_reason == "tool_use" and [block.name for block in message.content] == ["go"]


def test_log_probabilities(responses: Any) -> None:
    answer = responses.create(model=NAME, input=QUESTION, include=["message.output_text.logprobs"], top_logprobs=2)
    (item,) = answer.output
    assert len(item.content[0].logprobs) >= 2 and all(len(one.top_logprobs) == 2 for one in item.content[0].logprobs)


def test_tokens_are_counted(server: Server, messages: Any) -> None:
    counted = messages.count_tokens(model=NAME, messages=user())
    assert counted.input_tokens == server.chat()["usage"]["prompt_tokens"]
    more = messages.count_tokens(model=NAME, messages=user(), system="Many more words than there were before, indeed.",
                                 tools=[{"name": "go", "input_schema": CITY}])
    assert more.input_tokens > 0


@pytest.mark.parametrize(("fields", "field"), [
    ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"background": True}, "background"),
    ({"store": True}, "store"), ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"max_output_tokens": 0}, "max_output_tokens"), ({"temperature": 9}, "temperature"),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]}, "input[0].content[0].text"),
    ({"input": LONG}, "input"),
])
def test_what_a_response_may_not_be(responses: Any, fields: Any, field: str) -> None:
    with pytest.raises(openai.BadRequestError) as found:
        responses.create(**{"model": NAME, "input": QUESTION, **fields})
    assert found.value.param == field


@pytest.mark.parametrize(("fields", "word"), [
    ({"max_tokens": 0}, "`max_tokens`"), ({"temperature": 9}, "`temperature`"), ({"messages": []}, "`messages`"),
    ({"messages": user([{"type": "text", "text": 5}])}, "`messages[0].content[0].text`"),
    ({"stop_sequences": [""]}, "`stop_sequences[0]`"), ({"messages": user(LONG)}, f"{CONTEXT} tokens"),
])
def test_what_a_message_may_not_be(messages: Any, fields: Any, word: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as found:
        messages.create(**ask(extra_body=fields))
    assert found.value.body["error"]["type"] == "invalid_request_error"
    assert word in found.value.body["error"]["message"]


def test_another_model_is_not_found(responses: Any, messages: Any) -> None:
    with pytest.raises(openai.NotFoundError) as found:
        responses.create(model="other", input=QUESTION)
    assert found.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        messages.create(**ask(model="other"))
    with pytest.raises(openai.NotFoundError, match="keeps no responses"):
        responses.retrieve("resp_1")


def test_a_client_that_leaves_frees_its_slot(server: Server) -> None:
    """As many clients as there are slots leave in mid-answer, and the next one does not wait for what they asked."""
    bodies: dict[str, Any] = {
        "/v1/responses": {"model": NAME, "input": STORY, "max_output_tokens": CONTEXT - 200, "stop": []},
        "/v1/messages": ask(messages=user(STORY), max_tokens=CONTEXT - 200)}
    for path, body in bodies.items():
        with server.http.stream("POST", path, json={**body, "stream": True, "ignore_eos": True}) as answer:
            assert answer.status_code == 200
            next(answer.iter_bytes())
    began = time.monotonic()
    server.chat(max_tokens=1)
    assert time.monotonic() - began < 30
