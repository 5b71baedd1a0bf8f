"""Chats with the real model: forced calls, shapes, and that a stream is the whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.live.llamacpp.process import Process

pytestmark = pytest.mark.live_llamacpp

_MESSAGES = [{"role": "user", "content": "What is the weather in Paris?"}]
_TOOLS = [{"type": "function", "function": {"name": name, "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}}, "required": ["city"],
    "additionalProperties": False}}} for name in ("get_weather", "get_time")]
_CHAT = "/v1/chat/completions"


def _asked(**fields: Any) -> dict[str, Any]:
    return {"messages": _MESSAGES, "temperature": 0, "max_tokens": 80, **fields}


def _streamed(engine: Process, **fields: Any) -> tuple[str, list[tuple[str, str]], str | None]:
    """Content, calls, and why it ended, as OpenAI's client puts them together."""
    content, calls, finish = "", [], None
    for chunk in engine.openai.chat.completions.create(model="tiny", stream=True, **_asked(**fields)):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            for call in choice.delta.tool_calls or ():
                assert call.function is not None
                if call.index == len(calls):
                    calls.append((call.function.name or "", ""))
                calls[-1] = calls[-1][0], calls[-1][1] + (call.function.arguments or "")
            finish = choice.finish_reason or finish
    return content, calls, finish


@pytest.mark.parametrize(("choice", "finish"), [
    pytest.param("required", "tool_calls", id="required"),
    pytest.param({"type": "function", "function": {"name": "get_time"}}, "stop", id="named")])
def test_a_forced_call_is_one_whole_and_streamed(engine: Process, choice: Any, finish: str) -> None:
    fields = {"tools": _TOOLS, "tool_choice": choice, "parallel_tool_calls": False}
    (whole,) = engine.post(_CHAT, **_asked(**fields))["choices"]
    (call,) = whole["message"]["tool_calls"]
    assert set(json.loads(call["function"]["arguments"])) == {"city"}
    assert call["function"]["name"] == "get_time" if finish == "stop" else call["function"]["name"].startswith("get_")
    assert whole["finish_reason"] == finish and not whole["message"]["content"]
    assert _streamed(engine, **fields) == (
        "", [(call["function"]["name"], call["function"]["arguments"])], finish)


def test_a_shape_holds_from_the_first_token(engine: Process) -> None:
    schema = {"type": "object", "properties": {"warm": {"type": "boolean"}}, "required": ["warm"],
              "additionalProperties": False}
    shape = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    (whole,) = engine.post(_CHAT, **_asked(**shape))["choices"]
    assert isinstance(json.loads(whole["message"]["content"])["warm"], bool)
    content, _, finish = _streamed(engine, **shape)
    assert (content, finish) == (whole["message"]["content"], whole["finish_reason"])


def test_tools_are_shown_though_no_call_is_wanted(engine: Process) -> None:
    for choice in ("none", "required"):
        said = engine.post("/tokenize", messages=_MESSAGES, tools=_TOOLS)
        answer = engine.post(_CHAT, **_asked(tools=_TOOLS, tool_choice=choice, max_tokens=2))
        assert answer["usage"]["prompt_tokens"] == said["count"]
