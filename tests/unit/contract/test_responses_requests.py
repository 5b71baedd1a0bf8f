"""What a request of the Responses API means as a chat completion, and what is refused in its own words."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.contract import request, responses
from modelkit.contract.errors import ContractError
from tests.unit.contract.profiles import FULL, with_tool_parser
from tests.unit.contract.rich_requests import RESPONSE, SCHEMA

PROFILE = with_tool_parser(FULL)
FORMAT = {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TIME = {"type": "function", "name": "time"}


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "support", "input": "Hi", **fields}


def chat(**fields: Any) -> dict[str, Any]:
    """The chat completion request of one with these fields."""
    return responses.request(ask(**fields), PROFILE).body


def refused(body: dict[str, Any]) -> ContractError:
    """Its error, be it found here or by the contract after it."""
    with pytest.raises(ContractError) as found:
        translated = responses.request(body, PROFILE)
        try:
            request.chat(translated.body, PROFILE)
        except ContractError as error:
            raise translated.places.renamed(error) from None
    return found.value


def test_everything_at_once() -> None:
    assert responses.request(RESPONSE, PROFILE).body == {
        "model": "support",
        "temperature": 0.5, "top_p": 0.8, "top_k": 5, "seed": 3, "stop": ["END"], "stream": True,
        "stream_options": {"include_usage": True}, "parallel_tool_calls": True, "max_tokens": 50,
        "response_format": {"type": "text"}, "reasoning_effort": "low", "logprobs": True, "top_logprobs": 2,
        "tools": [{"type": "function", "function": {"name": "weather", "description": "It tells.",
                                                    "parameters": SCHEMA, "strict": True}}],
        "tool_choice": "auto",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Say please."},
            {"role": "user", "content": [{"type": "text", "text": "Weather in "}, {"type": "text", "text": "Rome?"}]},
            {"role": "assistant", "reasoning": "I must look.", "content": [{"type": "text", "text": "Let me see."}],
             "tool_calls": [
                 {"id": "call_1", "type": "function",
                  "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
                 {"id": "call_2", "type": "function",
                  "function": {"name": "weather", "arguments": '{"city": "Ostia"}'}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "windy"}]},
            {"role": "user", "content": "So?"}]}
    request.chat(responses.request(RESPONSE, PROFILE).body, PROFILE)


def test_a_text_alone_gets_all_that_the_modelfile_says() -> None:
    assert chat() == {"model": "support", "messages": [{"role": "user", "content": "Hi"}]}


def test_instructions_take_the_place_of_the_system_prompt() -> None:
    messages = request.chat(chat(instructions="Shout."), PROFILE)["messages"]
    assert [m["content"] for m in messages if m["role"] == "system"] == ["Shout."]


@pytest.mark.parametrize(("items", "messages"), [
    ([{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"role": "assistant", "content": "x"}],
     [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
                                            "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "assistant", "content": "x"}]),
    ([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
     [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]),
    ([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}, {"type": "summary_text", "text": "t"}]},
      {"role": "user", "content": "x"}],
     [{"role": "assistant", "reasoning": "s\nt"}, {"role": "user", "content": "x"}]),
    ([{"role": "assistant", "content": "a"},
      {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "r"}]},
      {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
     [{"role": "assistant", "content": "a"},
      {"role": "assistant", "reasoning": "r", "content": [{"type": "text", "text": "no"}]}]),
    ([{"type": "reasoning", "summary": []}, {"role": "user", "content": "x"}], [{"role": "user", "content": "x"}]),
    ([{"role": "user", "content": [{"type": "input_image", "image_url": "data:x", "detail": "low"}]}],
     [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}}]}]),
], ids=["call, then text", "two texts", "summary alone", "a second round", "empty reasoning", "image"])
def test_items_become_messages(items: Any, messages: Any) -> None:
    assert chat(input=items)["messages"] == messages


@pytest.mark.parametrize(("fields", "expected"), [
    ({"max_output_tokens": 9}, {"max_tokens": 9}),
    ({"text": {"format": FORMAT}},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}}),
    ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    ({"reasoning": {"effort": "high", "summary": "auto"}}, {"reasoning_effort": "high"}),
    ({"reasoning": {"effort": None}}, {}),
    ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
    ({"top_logprobs": 0}, {"top_logprobs": 0}),
    ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 0}),
    ({"include": ["reasoning.encrypted_content"]}, {}),
    ({"tools": [], "tool_choice": "auto"}, {}),
    ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [CHAT_TOOL], "tool_choice": "required"}),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "weather"}},
     {"tools": [CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}}),
    ({"tools": [TIME, TOOL], "tool_choice": {"type": "allowed_tools", "mode": "required",
                                             "tools": [{"type": "function", "name": "weather"}]}},
     {"tools": [{"type": "function", "function": {"name": "time"}}, CHAT_TOOL],
      "tool_choice": {"type": "allowed_tools", "allowed_tools": {
          "mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}}}),
    ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ({"stream": False}, {"stream": False}),
    ({"store": False, "background": False, "truncation": "disabled", "previous_response_id": None, "metadata": {},
      "prompt": None, "user": "u", "max_tool_calls": 3, "service_tier": "auto", "safety_identifier": "s",
      "context_management": []}, {}),
])
def test_fields_become_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chat(**fields) == {"model": "support", "messages": [{"role": "user", "content": "Hi"}], **expected}


@pytest.mark.parametrize(("fields", "param"), [
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"),
    ({"store": True}, "store"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"truncation": "auto"}, "truncation"),
    ({"context_management": [{"type": "compaction"}]}, "context_management"),
    ({"include": ["web_search_call.results"]}, "include[0]"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
    ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    ({"text": {"verbosity": "high"}}, "text.verbosity"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
    ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}]}, "input[0].encrypted_content"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0].type"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
     "input[0].content[0].file_id"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
     "input[0].content[0].type"),
])
def test_what_this_server_does_not_have_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    error = refused(ask(**fields))
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize(("fields", "param", "code"), [
    ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
    ({"max_output_tokens": 9999}, "max_output_tokens", "invalid_value"),
    ({"max_tokens": 5}, "max_tokens", "unknown_parameter"),
    ({"temperature": 3}, "temperature", "invalid_value"),
    ({"top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
    ({"instructions": ["x"]}, "instructions", "invalid_type"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
    ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "text.format.name", "invalid_value"),
    ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema", "missing_required_parameter"),
    ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "other"}}, "tool_choice", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.name", "missing_required_parameter"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [TIME]}},
     "tool_choice", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto",
                                       "tools": [{"type": "function", "name": "a b"}]}},
     "tool_choice.tools[0].name", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}},
     "tool_choice.tools[0].type", "unsupported_parameter"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": [TOOL]}}, "tool_choice.tools[0].parameters",
     "unknown_parameter"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.mode", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools",
     "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"stream_options": {"include_obfuscation": True}}, "stream_options", "invalid_value"),
    ({"stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage", "unknown_parameter"),
    ({"input": []}, "input", "invalid_value"),
    ({"input": None}, "input", "missing_required_parameter"),
    ({"input": 5}, "input", "invalid_type"),
    ({"input": {"role": "user"}}, "input", "invalid_type"),
    ({"input": [{"content": "x"}]}, "input[0].type", "missing_required_parameter"),
    ({"input": ["x"]}, "input[0]", "invalid_type"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "invalid_value"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
    ({"input": [{"type": "message", "content": "x"}]}, "input[0].role", "missing_required_parameter"),
    ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
    ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text",
     "missing_required_parameter"),
    ({"input": [{"role": "user", "content": "x"}, {"type": "function_call", "call_id": "c", "name": "f",
                                                   "arguments": "{"}]}, "input[1].arguments", "invalid_value"),
    ({"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"},
                {"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[2].name",
     "missing_required_parameter"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "missing_required_parameter"),
    ({"input": [{"type": "function_call_output", "call_id": 5, "output": "x"}]}, "input[0].call_id", "invalid_type"),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output", "missing_required_parameter"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": 4}]}]},
     "input[0].output[0].text", "invalid_type"),
    ({"model": "other"}, "model", "model_not_found"),
    ({"model": None}, "model", "missing_required_parameter"),
])
def test_mistakes_are_told_in_the_words_of_the_request(fields: dict[str, Any], param: str, code: str) -> None:
    error = refused(ask(**fields))
    assert (error.param, error.code) == (param, code), error.message
    assert error.status == (404 if code == "model_not_found" else 400)
    assert "messages" not in error.message and "max_tokens" not in error.message.replace("`max_tokens` is not", "")


def test_tools_that_the_model_may_choose_need_a_parser_here_too() -> None:
    with pytest.raises(ContractError) as found:
        request.chat(chat(tools=[TOOL]), FULL)
    assert found.value.param == "tools"
