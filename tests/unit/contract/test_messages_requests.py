"""What a request of Anthropic's API means as a chat completion, and what is refused in its own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.contract import anthropic, anthropic_errors, request
from modelkit.contract.errors import ContractError
from tests.unit.contract.profiles import FULL, with_tool_parser
from tests.unit.contract.rich_requests import COUNT, MESSAGE, SCHEMA

PROFILE = with_tool_parser(FULL)
TOOL = {"name": "weather", "input_schema": SCHEMA}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {"ü": 1}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "support", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **fields}


def said(content: Any, role: str = "user") -> dict[str, Any]:
    """A conversation whose first message is this one."""
    return {"messages": [{"role": role, "content": content}, {"role": "user", "content": "x"}]}


def chat(**fields: Any) -> dict[str, Any]:
    return anthropic.request(ask(**fields), PROFILE).body


def refused(body: dict[str, Any]) -> ContractError:
    """Its error, be it found here or by the contract after it."""
    with pytest.raises(ContractError) as found:
        translated = anthropic.request(body, PROFILE)
        try:
            request.chat(translated.body, PROFILE)
        except ContractError as error:
            raise translated.places.renamed(error) from None
    return found.value


def told(error: ContractError) -> str:
    """What the client reads of it."""
    return str(json.loads(anthropic_errors.body(error))["error"]["message"])


MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather in "}, {"type": "text", "text": "Rome?"}]},
    {"role": "assistant", "reasoning": "I must look.", "content": [{"type": "text", "text": "Let me see."}],
     "tool_calls": [
         {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
         {"id": "toolu_2", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ostia"}'}}]},
    {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
    {"role": "tool", "tool_call_id": "toolu_2", "content": [{"type": "text", "text": "windy"}]},
    {"role": "user", "content": [{"type": "text", "text": "So?"}]}]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "It tells.", "parameters": SCHEMA}}]
THINKS = {"enable_thinking": True, "thinking": True}


def test_everything_at_once() -> None:
    assert anthropic.request(MESSAGE, PROFILE).body == {
        "model": "support", "max_tokens": 50, "temperature": 0.5, "top_p": 0.8, "top_k": 5, "stop": ["END"],
        "stream": True, "stream_options": {"include_usage": True}, "tools": TOOLS, "tool_choice": "auto",
        "parallel_tool_calls": False, "chat_template_kwargs": THINKS, "reasoning_effort": "high",
        "messages": MESSAGES}
    request.chat(anthropic.request(MESSAGE, PROFILE).body, PROFILE)


def test_counting_asks_for_the_tokens_of_the_same_messages() -> None:
    assert anthropic.count(COUNT, PROFILE).body == {
        "model": "support", "messages": MESSAGES, "tools": TOOLS,
        "chat_template_kwargs": {"reasoning_effort": "high", **THINKS}}
    request.tokenize(anthropic.count(COUNT, PROFILE).body, PROFILE)


def test_few_words_get_all_that_the_modelfile_says() -> None:
    assert chat() == {"model": "support", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("system", ["Shout.", [{"type": "text", "text": "Sho"}, {"type": "text", "text": "ut."}]])
def test_system_takes_the_place_of_the_modelfiles(system: Any) -> None:
    messages = request.chat(chat(system=system), PROFILE)["messages"]
    assert [m["content"] for m in messages if m["role"] == "system"] == ["Shout."]


@pytest.mark.parametrize(("fields", "messages"), [
    (said("Hi"), [{"role": "user", "content": "Hi"}]),
    (said([{"type": "text", "text": "a"}, {"type": "tool_result", "tool_use_id": "t"}, {"type": "text", "text": "b"}]),
     [{"role": "user", "content": [{"type": "text", "text": "a"}]},
      {"role": "tool", "tool_call_id": "t", "content": ""},
      {"role": "user", "content": [{"type": "text", "text": "b"}]}]),
    (said([{"type": "tool_result", "tool_use_id": "t", "content": []}]),
     [{"role": "tool", "tool_call_id": "t", "content": ""}]),
    (said([USE], "assistant"),
     [{"role": "assistant", "tool_calls": [{"id": "t", "type": "function",
                                            "function": {"name": "f", "arguments": '{"ü": 1}'}}]}]),
    (said([IMAGE]), [{"role": "user", "content": [{"type": "image_url",
                                                  "image_url": {"url": "data:image/png;base64,AAAA"}}]}]),
    (said([{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]),
     [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]),
    (said([{"type": "text", "text": "S"}], "system"), [{"role": "system", "content": "S"}]),
], ids=["text", "a result between texts", "an empty result", "a call", "image", "image elsewhere", "system amid"])
def test_blocks_become_messages(fields: Any, messages: Any) -> None:
    assert chat(**fields)["messages"] == [*messages, {"role": "user", "content": "x"}]


@pytest.mark.parametrize(("fields", "expected"), [
    ({"stop_sequences": ["a", "b"]}, {"stop": ["a", "b"]}),
    ({"tools": [], "tool_choice": {"type": "auto"}}, {}),
    ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"tools": [CHAT_TOOL], "tool_choice": "required"}),
    ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"tools": [CHAT_TOOL], "tool_choice": "none"}),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": False}},
     {"tools": [CHAT_TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}},
      "parallel_tool_calls": True}),
    ({"thinking": {"type": "disabled"}}, {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
    ({"thinking": {"type": "adaptive", "display": "summarized"}}, {"chat_template_kwargs": THINKS}),
    ({"thinking": {"type": "disabled"}, "chat_template_kwargs": {"thinking": True}},
     {"chat_template_kwargs": {"enable_thinking": False, "thinking": True}}),
    ({"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
     {"reasoning_effort": "low",
      "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}}),
    ({"metadata": {"user_id": "x"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"},
      "inference_geo": "eu", "container": None, "speed": "standard", "mcp_servers": [],
      "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}, {}),
])
def test_fields_become_fields(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chat(**fields) == {"model": "support", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}],
                              **expected}


@pytest.mark.parametrize(("fields", "named"), [
    ({"max_tokens": None}, "`max_tokens` is required"),
    ({"max_tokens": 0}, "`max_tokens` is 0"),
    ({"max_tokens": 9999}, "context length is 2048"),
    ({"model": None}, "`model` is required"),
    ({"messages": []}, "`messages` is empty"),
    ({"messages": None}, "`messages` is required"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages[1]"),
    ({"max_completion_tokens": 5}, "`max_completion_tokens` is not a field"),
    ({"stop_sequences": "x"}, "`stop_sequences`"),
    ({"stop_sequences": [""]}, "`stop_sequences[0]`"),
    ({"temperature": 5}, "`temperature`"),
    ({"container": "c"}, "`container`"),
    ({"mcp_servers": [{}]}, "`mcp_servers`"),
    ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, "`context_management`"),
    ({"speed": "fast"}, "`speed`"),
    ({"system": 5}, "`system`"),
    ({"system": [IMAGE]}, "`system[0].type`"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "`tools[0].type`"),
    ({"tools": [{"name": "weather"}]}, "`tools[0].input_schema` is required"),
    ({"tools": [{"name": "a b", "input_schema": {}}]}, "`tools[0].name`"),
    ({"tools": [{"name": "a", "input_schema": 5}]}, "`tools[0].input_schema`"),
    ({"tool_choice": {"type": "any"}}, "`tool_choice` needs `tools`"),
    ({"tools": [TOOL], "tool_choice": "auto"}, "`tool_choice`"),
    ({"tools": [TOOL], "tool_choice": {"type": "required"}}, "`tool_choice.type`"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "`tool_choice.name` is required"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "no"}}, "not among `tools`"),
    ({"thinking": {"type": "enabled"}}, "`thinking.budget_tokens` is required"),
    ({"thinking": {"type": "enabled", "budget_tokens": 50}}, "less than `max_tokens`"),
    ({"thinking": {"type": "between_tools"}}, "`thinking.type`"),
    ({"thinking": {"type": "adaptive", "display": "omitted"}}, "`thinking.display`"),
    ({"output_config": {"effort": "none at all"}}, "`output_config.effort`"),
    ({"output_config": {"format": {"type": "json_schema"}}}, "`output_config.format.schema` is required"),
    (said([]), "`messages[0].content` is empty"),
    (said(None), "`messages[0].content` is required"),
    (said("x", "robot"), "`messages[0].role`"),
    (said([{"type": "text"}]), "`messages[0].content[0].text` is required"),
    (said([IMAGE]), "`messages[0].content[0].type`: this model reads text only, not images"),
    (said([{"type": "image", "source": {"type": "file", "file_id": "f"}}]), "`messages[0].content[0].source.type`"),
    (said([{"type": "document", "source": {}}]), "`messages[0].content[0].type`"),
    (said([{"type": "redacted_thinking", "data": "x"}], "assistant"), "redacted thinking"),
    (said([{"type": "server_tool_use"}], "assistant"), "`messages[0].content[0].type`"),
    (said([{"type": "tool_result"}]), "`messages[0].content[0].tool_use_id` is required"),
    (said([{"type": "text", "text": "a"}, {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text"}]}]),
     "`messages[0].content[1].content[0].text` is required"),
    (said([{"type": "text", "text": "a"}, {"type": "tool_use", "id": "t", "input": {}}], "assistant"),
     "`messages[0].content[1].name` is required"),
    (said([{"type": "tool_use", "name": "f", "input": {}}], "assistant"), "`messages[0].content[0].id` is required"),
    (said([{**USE, "id": 5}], "assistant"), "`messages[0].content[0].id` must be a string"),
    (said([{**USE, "input": "x"}], "assistant"), "`messages[0].content[0].input`"),
])
def test_mistakes_are_told_in_the_words_of_the_request(fields: dict[str, Any], named: str) -> None:
    error = refused(ask(**fields))
    assert error.status == 400 and named in told(error)


def test_another_model_is_not_found() -> None:
    assert refused(ask(model="other")).status == 404


@pytest.mark.parametrize(("status", "kind"), [
    (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
    (404, "not_found_error"), (405, "invalid_request_error"), (413, "request_too_large"),
    (415, "invalid_request_error"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
    (503, "overloaded_error"), (504, "timeout_error"),
])
def test_anthropics_word_for_a_status(status: int, kind: str) -> None:
    assert anthropic_errors.failure(status, "why") == {"type": "error", "error": {"type": kind, "message": "why"}}
