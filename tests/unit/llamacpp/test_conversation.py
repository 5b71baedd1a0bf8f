"""What a chat template gets: vLLM's form of messages and tools, in its order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.conversation import IMAGE_MARKER, conversation, tools, variables


def one(message: dict[str, Any], content_format: Any = "string") -> dict[str, Any]:
    ((found,), _) = conversation([message], content_format)
    return found


def test_a_call_is_written_in_vllms_order_with_its_arguments_as_an_object() -> None:
    said = {"role": "assistant", "content": "", "reasoning": "r", "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": '{"b": 1, "a": [2]}'}, "id": "x"}]}
    assert json.dumps(one(said)) == json.dumps({
        "role": "assistant", "content": "", "tool_calls": [
            {"id": "x", "function": {"arguments": {"b": 1, "a": [2]}, "name": "f"}, "type": "function"}],
        "reasoning": "r", "reasoning_content": "r"})


@pytest.mark.parametrize("arguments", ["", "{", "[]", "42", None])
def test_arguments_that_are_no_object_do_not_break_a_conversation(arguments: Any) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    (found,) = one({"role": "assistant", "content": "", "tool_calls": [call]})["tool_calls"]
    assert found["function"]["arguments"] == {}


@pytest.mark.parametrize(("message", "text", "parts"), [
    ({"role": "user", "content": "a"}, "a", [{"type": "text", "text": "a"}]),
    ({"role": "user", "content": ""}, "", [{"type": "text", "text": ""}]),
    ({"role": "assistant", "content": None}, "", []),
    ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb",
     [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
    ({"role": "tool", "content": "a", "tool_call_id": "x"}, "a", "a"),
    ({"role": "system", "content": "x-anthropic-billing-header: 1\nBe kind."}, "Be kind.",
     [{"type": "text", "text": "Be kind."}]),
])
def test_content_is_text_or_parts_as_the_template_wants_it(message: dict[str, Any], text: str, parts: Any) -> None:
    assert one(message)["content"] == text
    assert one(message, "openai")["content"] == parts


def test_images_are_marks_in_the_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    said = [{"role": "user", "content": [image, {"type": "text", "text": f"{IMAGE_MARKER} ?"}, {**image}]}]
    messages, images = conversation(said, "openai")
    first, text, second = (part["text"] for part in messages[0]["content"])
    assert images.parts == [image, image]
    assert images.split(f"a{first}{text}{second}b") == ["a", 0, f"{IMAGE_MARKER} ?", 1, "b"]
    assert images.split(second + first) == [1, 0]
    again, _ = conversation(said, "openai")
    assert again[0]["content"][0]["text"] != first  # nobody can write one
    for left in (first, first + second + first, ""):
        with pytest.raises(ContractError, match="does not write each image"):
            images.split(left)
    with pytest.raises(ContractError, match="input_audio"):
        conversation([{"role": "user", "content": [{"type": "input_audio"}]}], "string")


def test_tools_say_null_for_what_they_do_not_say() -> None:
    offered = [{"type": "function", "function": {"name": "f"}},
               {"type": "function", "function": {"strict": True, "parameters": {"type": "object"}, "name": "g"}}]
    assert json.dumps(tools(offered)) == json.dumps([
        {"type": "function", "function": {"name": "f", "description": None, "parameters": None}},
        {"type": "function", "function": {"name": "g", "description": None, "parameters": {"type": "object"},
                                          "strict": True}}])
    assert tools(None) is None


@pytest.mark.parametrize(("request_", "wanted"), [
    ({}, {}), ({"reasoning_effort": "low"}, {"reasoning_effort": "low", "enable_thinking": True}),
    ({"reasoning_effort": "none"}, {"reasoning_effort": "none", "enable_thinking": False}),
    ({"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}},
     {"reasoning_effort": "none", "enable_thinking": True}),
])
def test_effort_is_a_word_on_thinking(request_: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert variables(request_) == wanted
