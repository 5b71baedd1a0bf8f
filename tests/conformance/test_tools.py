"""Tools that must be called, and tools' answers in the conversation"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.client import Server, finish, joined, user

UNIT = {"type": "object", "properties": {"unit": {"enum": ["celsius", "kelvin"]}}, "required": ["unit"],
        "additionalProperties": False}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather", "parameters": UNIT}}
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {},
                                                                           "additionalProperties": False}}}
ZONE = {"type": "function", "function": {"name": "zone-of.v2", "parameters": {
    "type": "object", "properties": {"hours": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["hours"],
    "additionalProperties": False}}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def calls_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the deltas of a stream make together."""
    calls: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for delta in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(delta["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] += delta.get("id") or ""
                function = delta.get("function") or {}
                call["name"] += function.get("name") or ""
                call["arguments"] += function.get("arguments") or ""
    return [calls[index] for index in sorted(calls)]


FORCED = [
    ("required", [WEATHER], "get_weather"), (named("get_time"), [TIME], "get_time"),
    (named("zone-of.v2"), [TIME, ZONE, WEATHER], "zone-of.v2"),
]


@pytest.mark.parametrize(("choice", "tools", "name"), FORCED, ids=["required", "named", "named, one of three"])
def test_a_tool_that_must_be_called_is(engine: Server, choice: Any, tools: list[Any], name: str) -> None:
    asked = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": False, "max_tokens": 80}
    answer = engine.chat(**asked)
    message = answer["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["type"] == "function" and call["function"]["name"] == name
    arguments = json.loads(call["function"]["arguments"])
    if name == "get_weather":
        assert arguments["unit"] in ("celsius", "kelvin")
    elif name == "zone-of.v2":
        assert 1 <= arguments["hours"] <= 9
    assert not message["content"]
    chunks = engine.streamed(**asked)
    (streamed,) = calls_of(chunks)
    assert (streamed["name"], json.loads(streamed["arguments"])) == (name, arguments)
    assert streamed["id"] and not joined(chunks)
    assert finish(chunks) == answer["choices"][0]["finish_reason"] == ("tool_calls" if choice == "required" else "stop")


def test_each_call_has_an_id_of_its_own(engine: Server) -> None:
    asked = {"tools": [TIME], "tool_choice": named("get_time"), "temperature": 0.05, "max_tokens": 80, "n": 3}
    calls = [choice["message"]["tool_calls"][0]["id"] for choice in engine.chat(**asked)["choices"]]
    assert len(set(calls)) == 3


def test_a_call_that_is_cut_off_ends_by_its_length(engine: Server) -> None:
    asked = {"tools": [WEATHER], "tool_choice": named("get_weather"), "max_tokens": 2}
    answer = engine.chat(**asked)
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2
    engine.seen.note("what a cut call looks like", bool(answer["choices"][0]["message"].get("tool_calls")))


def test_tools_that_may_not_be_called_are_not(engine: Server) -> None:
    answer = engine.chat(tools=[WEATHER], tool_choice="none", max_tokens=4)
    assert not answer["choices"][0]["message"].get("tool_calls")
    assert answer["choices"][0]["message"]["content"]


CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"unit": "kelvin"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "It is 290 K."}
TURNS: dict[str, list[dict[str, Any]]] = {
    "content null": [*user(), {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT],
    "content absent": [*user(), {"role": "assistant", "tool_calls": [CALL]}, RESULT],
    "content beside it": [*user(), {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]}, RESULT],
    "two calls": [*user(), {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
                  RESULT,
                  {**RESULT, "tool_call_id": "call_2"}],
    "a result in parts": [*user(), {"role": "assistant", "content": None, "tool_calls": [CALL]},
                          {**RESULT, "content": [{"type": "text", "text": "It is "},
                                                 {"type": "text", "text": "290 K."}]}],
    "empty arguments": [*user(), {"role": "assistant", "content": None, "tool_calls": [
        {**CALL, "function": {"name": "get_time", "arguments": ""}}]}, RESULT],
    "a result and a question": [*user(), {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT,
                                *user("And?")],
    "an empty list of calls": [*user(), {"role": "assistant", "content": "No.", "tool_calls": []}, *user("And?")],
}


@pytest.mark.parametrize("turns", TURNS.values(), ids=list(TURNS))
def test_a_tools_answer_is_part_of_the_conversation(engine: Server, turns: list[dict[str, Any]]) -> None:
    answer = engine.chat(messages=turns, max_tokens=1, stop=[], ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 1
    engine.seen.note("prompt tokens", answer["usage"]["prompt_tokens"])


def test_a_tools_answer_is_read_by_the_model(engine: Server) -> None:
    """Not dropped on the way: a longer result is a longer prompt."""
    turns = TURNS["content null"]
    longer = [*turns[:-1], {**RESULT, "content": "It is 290 K and very windy, with some rain in the evening."}]
    short, long = (engine.chat(messages=said, max_tokens=1, stop=[])["usage"]["prompt_tokens"] for said in (turns,
        longer))
    assert long > short + 5


def test_the_openai_package_reads_tool_calls_and_can_send_them_back(engine: Server) -> None:
    client = engine.openai
    answer = client.chat.completions.create(  # type: ignore[call-overload]
        model="conformance", messages=user(), tools=[WEATHER], tool_choice="required", parallel_tool_calls=False,
        max_tokens=80)
    message = answer.choices[0].message
    turns = [*user(), message, {**RESULT, "tool_call_id": message.tool_calls[0].id}]
    again = client.chat.completions.create(model="conformance", messages=turns, tools=[WEATHER],
                                           # type: ignore[call-overload]
                                           tool_choice="none", max_tokens=2)
    assert again.choices[0].finish_reason in ("stop", "length")
