"""Answers of the translated APIs: the same whole and streamed, however the stream's bytes are cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import httpx
import httpx2
import pytest
from anthropic import Anthropic, DefaultHttpxClient
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from modelkit.contract.anthropic_answer import MessageWriter
from modelkit.contract.chat_reader import Reader
from modelkit.contract.responses_answer import ResponseWriter
from modelkit.contract.translated import Translation, encoded
from modelkit.contract.translation import Event, Writer, written
from tests.unit.contract.chat_streams import STREAMS, TOKEN, WHOLE

BROKEN = ("without an end", "with an error", "with the client's error", "given up", "not JSON", "not a chunk",
          "calls mixed up", "text in a call", "numbers for text")
COMPLETE = [name for name in STREAMS if name not in BROKEN]
OPENAI_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ANTHROPIC_EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def response_writer() -> ResponseWriter:
    echo = {"model": "support", "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return ResponseWriter(echo, tag="t", created=1)


def message_writer() -> MessageWriter:
    return MessageWriter("support", ["END"], tag="t")


WRITERS = [response_writer, message_writer]


def events_of(writer: Writer, parts: list[bytes]) -> list[Event]:
    """What the client of a stream gets for these parts of the engine's."""
    sent: list[Event] = []
    reader = Reader()
    events = writer.begin()
    for number, part in enumerate(parts):
        for said in Translation.read(reader, part, more=number + 1 < len(parts)):
            events += writer.say(said)
    sent += json.loads(json.dumps(events))
    assert reader.over
    return sent


@pytest.mark.parametrize("make", WRITERS)
@pytest.mark.parametrize("name", WHOLE)
def test_a_stream_adds_up_to_the_whole_answer(name: str, make: Any) -> None:
    streamed = make()
    events_of(streamed, list(STREAMS[name]))
    assert streamed.whole() == written(make())(WHOLE[name])


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(sorted(STREAMS)), st.sampled_from(WRITERS))
def test_any_split_gives_the_same_events(data: st.DataObject, name: str, make: Any) -> None:
    whole = b"".join(STREAMS[name])
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=12).map(sorted))
    parts = [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]
    merged = events_of(make(), parts)
    assert merged == events_of(make(), [whole])
    assert merged == events_of(make(), list(STREAMS[name]))


@pytest.mark.parametrize("make", WRITERS)
@pytest.mark.parametrize("name", ["text", "calls", "not JSON"])
def test_byte_by_byte_too(name: str, make: Any) -> None:
    whole = b"".join(STREAMS[name])
    assert events_of(make(), [whole[i : i + 1] for i in range(len(whole))]) == events_of(make(), [whole])


def wire(events: list[Event]) -> dict[str, Any]:
    """The events as an HTTP answer."""
    return {"headers": {"content-type": "text/event-stream"}, "content": b"".join(map(encoded, events))}


@pytest.mark.parametrize("name", COMPLETE)
def test_openais_own_client_follows_the_events(name: str) -> None:
    events = events_of(response_writer(), list(STREAMS[name]))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    for event in events:
        assert OPENAI_EVENTS.validate_python(event).type == event["type"]
    final = Response.model_validate(events[-1]["response"])
    assert events[-1]["type"] == f"response.{final.status}"
    added = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert added == [item["id"] for item in done] == [item.id for item in final.output]
    assert done == events[-1]["response"]["output"]
    transport = httpx.MockTransport(lambda _: httpx.Response(200, **wire(events)))
    with (OpenAI(api_key="k", http_client=httpx.Client(transport=transport)) as client,
          client.responses.stream(model="support", input="Hi") as stream):
        assert [event.type for event in stream] == [event["type"] for event in events]
        if final.status == "completed":
            assert stream.get_final_response().output_text == final.output_text


@pytest.mark.parametrize("name", COMPLETE)
def test_anthropics_own_client_follows_the_events(name: str) -> None:
    writer = message_writer()
    events = events_of(writer, list(STREAMS[name]))
    for event in events:
        assert ANTHROPIC_EVENTS.validate_python(event).type == event["type"]
    assert [event["type"] for event in (events[0], *events[-2:])] == ["message_start", "message_delta", "message_stop"]
    final = Message.model_validate(writer.whole())
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, **wire(events)))
    ask: Any = {"model": "support", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    with (Anthropic(api_key="k", http_client=DefaultHttpxClient(transport=transport)) as client,
          client.messages.stream(**ask) as stream):
        read = stream.get_final_message()
    if name != "a call cut short":  # the client reads what is there of it
        assert read.model_dump(exclude_none=True) == final.model_dump(exclude_none=True)


@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_that_breaks_ends_with_the_apis_own_event(name: str) -> None:
    last = events_of(response_writer(), list(STREAMS[name]))[-1]
    assert last["type"] == "response.failed" and last["response"]["status"] == "failed"
    assert last["response"]["error"]["code"] == ("invalid_prompt" if "client" in name else "server_error")
    assert "/usr" not in last["response"]["error"]["message"]
    OPENAI_EVENTS.validate_python(last)
    last = events_of(message_writer(), list(STREAMS[name]))[-1]
    assert last["type"] == "error"
    assert last["error"]["type"] == ("invalid_request_error" if "client" in name else "api_error")


def test_every_event_of_a_response_in_order() -> None:
    events = events_of(response_writer(), list(STREAMS["all"]))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed"]


def test_every_event_of_a_message_in_order() -> None:
    events = events_of(message_writer(), list(STREAMS["all"]))
    blocks = [(event["type"], event.get("index"), (event.get("delta") or event.get("content_block") or {}).get("type"))
              for event in events[1:-2]]
    assert blocks == [
        ("content_block_start", 0, "thinking"), ("content_block_delta", 0, "thinking_delta"),
        ("content_block_stop", 0, None), ("content_block_start", 1, "text"), ("content_block_delta", 1, "text_delta"),
        ("content_block_stop", 1, None), ("content_block_start", 2, "tool_use"),
        ("content_block_delta", 2, "input_json_delta"), ("content_block_stop", 2, None)]


@pytest.mark.parametrize(("name", "reason", "sequence"), [
    ("text", "end_turn", None), ("finish with the last text", "max_tokens", None), ("calls", "tool_use", None),
    ("a named call", "tool_use", None), ("a call cut short", "max_tokens", None),
    ("a stop string", "stop_sequence", "END"), ("a stop token", "end_turn", None), ("nothing", "end_turn", None),
])
def test_why_a_message_ended(name: str, reason: str, sequence: str | None) -> None:
    said = written(message_writer())(WHOLE[name])
    assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)


def test_a_stop_string_of_the_modelfile_is_the_end_of_a_turn() -> None:
    said = written(MessageWriter("support", ["other"]))(WHOLE["a stop string"])
    assert (said["stop_reason"], said["stop_sequence"]) == ("end_turn", None)


@pytest.mark.parametrize(("limit", "reason"), [(7, "max_tokens"), (8, "model_context_window_exceeded")])
def test_a_full_context_is_not_the_clients_limit(limit: int, reason: str) -> None:
    said = written(MessageWriter("support", limit=limit))(WHOLE["finish with the last text"])
    assert said["stop_reason"] == reason


def test_what_was_cached_is_told() -> None:
    assert written(message_writer())(WHOLE["text"])["usage"] == {
        "input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 7}
    assert written(response_writer())(WHOLE["text"])["usage"] == {
        "input_tokens": 5, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0}, "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12}


def test_an_answer_cut_short_is_incomplete() -> None:
    said = written(response_writer())(WHOLE["a call cut short"])
    assert (said["status"], said["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert said["output"][-1]["status"] == "incomplete"


def test_log_probabilities_are_told() -> None:
    (item,) = written(response_writer())(WHOLE["logprobs"])["output"]
    assert item["content"][0]["logprobs"] == [TOKEN]


def test_a_call_has_an_id_though_the_engine_gave_none() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {**WHOLE["a named call"], "choices": [{"index": 0, "message": {"tool_calls": [call, call]},
                                                    "finish_reason": "stop"}]}
    assert [item["call_id"] for item in written(response_writer())(answer)["output"]] == ["call_t00", "call_t01"]
    assert [block["id"] for block in written(message_writer())(answer)["content"]] == ["toolu_t00", "toolu_t01"]
