"""Every mistake a client can make, and the one answer it gets: status, code and the field at fault."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.contract import body, request
from modelkit.contract.errors import ContractError
from tests.unit.contract.profiles import FULL, ask, limited, llama, user, weather, with_tool_parser

NAN = float("nan")

CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}


def allowed(name: str, mode: str = "required") -> dict[str, Any]:
    """A choice among some tools."""
    named = {"type": "function", "function": {"name": name}}
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named]}}


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


CHAT = [
    # the model
    ({"model": None}, 400, "missing_required_parameter", "model"),
    ({"model": 7}, 400, "invalid_type", "model"),
    ({"model": "gpt-4o"}, 404, "model_not_found", "model"),
    ({"model": "Support"}, 404, "model_not_found", "model"),
    # the conversation
    ({"messages": None}, 400, "missing_required_parameter", "messages"),
    ({"messages": []}, 400, "invalid_value", "messages"),
    ({"messages": "hello"}, 400, "invalid_type", "messages"),
    ({"messages": {}}, 400, "invalid_type", "messages"),
    ({"messages": ["hello"]}, 400, "invalid_type", "messages[0]"),
    ({"messages": [{"content": "x"}]}, 400, "missing_required_parameter", "messages[0].role"),
    ({"messages": [{"role": None, "content": "x"}]}, 400, "missing_required_parameter", "messages[0].role"),
    ({"messages": [{"role": 1, "content": "x"}]}, 400, "invalid_type", "messages[0].role"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "function", "content": "x"}]}, 400, "invalid_value", "messages[0].role"),
    ({"messages": [{"role": "user"}]}, 400, "missing_required_parameter", "messages[0].content"),
    ({"messages": user(None)}, 400, "missing_required_parameter", "messages[0].content"),
    ({"messages": user(7)}, 400, "invalid_type", "messages[0].content"),
    ({"messages": user({})}, 400, "invalid_type", "messages[0].content"),
    ({"messages": user([])}, 400, "invalid_value", "messages[0].content"),
    ({"messages": user(["x"])}, 400, "invalid_type", "messages[0].content[0]"),
    ({"messages": user([{"text": "x"}])}, 400, "missing_required_parameter", "messages[0].content[0].type"),
    ({"messages": user([{"type": 1}])}, 400, "invalid_type", "messages[0].content[0].type"),
    ({"messages": user([{"type": "txt", "text": "x"}])}, 400, "invalid_value", "messages[0].content[0].type"),
    ({"messages": user([{"type": "text"}])}, 400, "missing_required_parameter", "messages[0].content[0].text"),
    ({"messages": user([{"type": "text", "text": 1}])}, 400, "invalid_type", "messages[0].content[0].text"),
    ({"messages": user([{"type": "image_url", "image_url": {"url": "data:"}}])}, 400, "unsupported_parameter",
     "messages[0].content[0].type"),
    ({"messages": user([{"type": "input_audio"}])}, 400, "unsupported_parameter", "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": "x", "text": "y"}]}, 400, "unknown_parameter", "messages[0].text"),
    ({"messages": [{"role": "user", "content": "x", "name": 1}]}, 400, "invalid_type", "messages[0].name"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "missing_required_parameter", "messages[0].tool_call_id"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}]}, 400, "invalid_type", "messages[0].tool_calls"),
    ({"messages": [{"role": "assistant", "tool_calls": [1]}]}, 400, "invalid_type", "messages[0].tool_calls[0]"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"type": "custom"}]}]}, 400, "invalid_value",
     "messages[0].tool_calls[0].type"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": "x"}]}]}, 400, "invalid_type",
     "messages[0].tool_calls[0].function"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x"}}]}]}, 400,
     "missing_required_parameter", "messages[0].tool_calls[0].function.arguments"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]}]}, 400,
     "invalid_value", "messages[0].tool_calls[0].function.arguments"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "[1]"}}]}]}, 400,
     "invalid_value", "messages[0].tool_calls[0].function.arguments"),
    # numbers
    ({"temperature": -1}, 400, "invalid_value", "temperature"),
    ({"temperature": 2.01}, 400, "invalid_value", "temperature"),
    ({"temperature": "hot"}, 400, "invalid_type", "temperature"),
    ({"temperature": "0.7"}, 400, "invalid_type", "temperature"),
    ({"temperature": True}, 400, "invalid_type", "temperature"),
    ({"temperature": [1]}, 400, "invalid_type", "temperature"),
    ({"temperature": float("inf")}, 400, "invalid_value", "temperature"),
    ({"temperature": 10**400}, 400, "invalid_value", "temperature"),
    ({"top_p": 0}, 400, "invalid_value", "top_p"),
    ({"top_p": 2}, 400, "invalid_value", "top_p"),
    ({"top_p": -0.1}, 400, "invalid_value", "top_p"),
    ({"top_k": -2}, 400, "invalid_value", "top_k"),
    ({"top_k": 1.5}, 400, "invalid_type", "top_k"),
    ({"top_k": 2**31}, 400, "invalid_value", "top_k"),
    ({"min_p": 1.1}, 400, "invalid_value", "min_p"),
    ({"presence_penalty": 2.1}, 400, "invalid_value", "presence_penalty"),
    ({"frequency_penalty": -2.1}, 400, "invalid_value", "frequency_penalty"),
    ({"repetition_penalty": 0}, 400, "invalid_value", "repetition_penalty"),
    ({"repetition_penalty": 2.5}, 400, "invalid_value", "repetition_penalty"),
    ({"seed": 1.0}, 400, "invalid_type", "seed"),
    ({"seed": 2**63}, 400, "invalid_value", "seed"),
    ({"n": 0}, 400, "invalid_value", "n"),
    ({"n": 17}, 400, "invalid_value", "n"),
    ({"n": True}, 400, "invalid_type", "n"),
    ({"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
    ({"max_tokens": -5}, 400, "invalid_value", "max_tokens"),
    ({"max_tokens": 1.5}, 400, "invalid_type", "max_tokens"),
    ({"max_tokens": 2049}, 400, "invalid_value", "max_tokens"),
    ({"max_completion_tokens": 2049}, 400, "invalid_value", "max_completion_tokens"),
    ({"max_completion_tokens": 0}, 400, "invalid_value", "max_completion_tokens"),
    ({"max_tokens": 3, "max_completion_tokens": 4}, 400, "invalid_value", "max_completion_tokens"),
    ({"logit_bias": {"1": 101}}, 400, "invalid_value", "logit_bias.1"),
    ({"logit_bias": {"1": True}}, 400, "invalid_type", "logit_bias.1"),
    ({"logit_bias": {"cat": 1}}, 400, "invalid_value", "logit_bias"),
    ({"logit_bias": [1]}, 400, "invalid_type", "logit_bias"),
    # stop strings
    ({"stop": ""}, 400, "invalid_value", "stop"),
    ({"stop": ["a", ""]}, 400, "invalid_value", "stop[1]"),
    ({"stop": ["a", 1]}, 400, "invalid_type", "stop[1]"),
    ({"stop": 7}, 400, "invalid_type", "stop"),
    ({"stop": ["a"] * 17}, 400, "invalid_value", "stop"),
    ({"stop": "a" * 1025}, 400, "invalid_value", "stop"),
    # log-probabilities
    ({"logprobs": 3}, 400, "invalid_type", "logprobs"),
    ({"top_logprobs": 3}, 400, "invalid_value", "top_logprobs"),
    ({"top_logprobs": 3, "logprobs": False}, 400, "invalid_value", "top_logprobs"),
    ({"top_logprobs": 21, "logprobs": True}, 400, "invalid_value", "top_logprobs"),
    ({"top_logprobs": -1, "logprobs": True}, 400, "invalid_value", "top_logprobs"),
    # streaming
    ({"stream": "yes"}, 400, "invalid_type", "stream"),
    ({"stream": 1}, 400, "invalid_type", "stream"),
    ({"stream_options": {"include_usage": True}}, 400, "invalid_value", "stream_options"),
    ({"stream_options": {"include_usage": True}, "stream": False}, 400, "invalid_value", "stream_options"),
    ({"stream_options": {"include_usage": 1}, "stream": True}, 400, "invalid_type", "stream_options.include_usage"),
    ({"stream_options": {"usage": True}, "stream": True}, 400, "unknown_parameter", "stream_options.usage"),
    ({"stream_options": True, "stream": True}, 400, "invalid_type", "stream_options"),
    # fields that are not ours
    ({"temprature": 1}, 400, "unknown_parameter", "temprature"),
    ({"n_discard": -1}, 400, "unknown_parameter", "n_discard"),
    ({"id_slot": 0}, 400, "unknown_parameter", "id_slot"),
    ({"samplers": ["top_k"]}, 400, "unknown_parameter", "samplers"),
    ({"lora": []}, 400, "unknown_parameter", "lora"),
    ({"grammar": "root ::= x"}, 400, "unknown_parameter", "grammar"),
    ({"repeat_penalty": 1.1}, 400, "unknown_parameter", "repeat_penalty"),
    ({"guided_json": {}}, 400, "unknown_parameter", "guided_json"),
    ({"prompt": "x"}, 400, "unknown_parameter", "prompt"),
    ({"unknown": None}, 400, "unknown_parameter", "unknown"),
    ({"x" * 5000: 1}, 400, "unknown_parameter", "x" * 61 + "…"),
    ({"functions": []}, 400, "unsupported_parameter", "functions"),
    ({"audio": {}}, 400, "unsupported_parameter", "audio"),
    ({"modalities": ["audio"]}, 400, "unsupported_parameter", "modalities"),
    ({"web_search_options": {}}, 400, "unsupported_parameter", "web_search_options"),
    ({"reasoning_effort": "huge"}, 400, "invalid_value", "reasoning_effort"),
    ({"chat_template_kwargs": []}, 400, "invalid_type", "chat_template_kwargs"),
    # tools
    ({"tools": []}, 400, "invalid_value", "tools"),
    ({"tools": {}}, 400, "invalid_type", "tools"),
    ({"tools": [{"type": "custom"}], "tool_choice": "required"}, 400, "unsupported_parameter", "tools[0].type"),
    ({"tools": [{"type": "function"}]}, 400, "missing_required_parameter", "tools[0].function"),
    ({"tools": [{"function": {}}]}, 400, "missing_required_parameter", "tools[0].function.name"),
    ({"tools": [{"function": {"name": "a b"}}]}, 400, "invalid_value", "tools[0].function.name"),
    ({"tools": [{"function": {"name": "a", "parameters": 1}}]}, 400, "invalid_type", "tools[0].function.parameters"),
    ({"tools": [{"function": {"name": "a", "params": {}}}]}, 400, "unknown_parameter", "tools[0].function.params"),
    ({"tools": [weather()] * 129}, 400, "invalid_value", "tools"),
    ({"tools": [weather()]}, 400, "unsupported_parameter", "tools"),
    ({"tools": [weather()], "tool_choice": "auto"}, 400, "unsupported_parameter", "tools"),
    ({"tool_choice": "required"}, 400, "invalid_value", "tool_choice"),
    ({"tool_choice": "auto"}, 400, "invalid_value", "tool_choice"),
    ({"tools": [weather()], "tool_choice": "any"}, 400, "invalid_value", "tool_choice"),
    ({"tools": [weather()], "tool_choice": 1}, 400, "invalid_type", "tool_choice"),
    ({"tools": [weather()], "tool_choice": {"type": "custom"}}, 400, "unsupported_parameter", "tool_choice.type"),
    ({"tools": [weather()], "tool_choice": {"type": "function", "function": {"name": "news"}}}, 400, "invalid_value",
     "tool_choice"),
    ({"tools": [weather()], "tool_choice": {"type": "allowed_tools"}}, 400, "invalid_type",
     "tool_choice.allowed_tools"),
    ({"tools": [weather()], "tool_choice": allowed("news")}, 400, "invalid_value", "tool_choice"),
    ({"tools": [weather()], "tool_choice": allowed("weather", "never")}, 400, "invalid_value",
     "tool_choice.allowed_tools.mode"),
    ({"tools": [weather()], "tool_choice": allowed("weather", "auto")}, 400, "unsupported_parameter", "tools"),
    ({"tool_choice": allowed("weather")}, 400, "invalid_value", "tool_choice"),
    # formats
    ({"response_format": "json"}, 400, "invalid_type", "response_format"),
    ({"response_format": {}}, 400, "missing_required_parameter", "response_format.type"),
    ({"response_format": {"type": "xml"}}, 400, "invalid_value", "response_format.type"),
    ({"response_format": {"type": "json_object", "schema": {}}}, 400, "unknown_parameter", "response_format.schema"),
    ({"response_format": {"type": "json_schema"}}, 400, "missing_required_parameter", "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, 400, "missing_required_parameter",
     "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, 400, "missing_required_parameter",
     "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": deep(65)}}}, 400,
     "invalid_value", "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"d": "x" * 70_000}}}}, 400,
     "invalid_value", "response_format.json_schema.schema"),
    ({"structured_outputs": {}}, 400, "invalid_value", "structured_outputs"),
    ({"structured_outputs": {"json": SCHEMA, "choice": ["a"]}}, 400, "invalid_value", "structured_outputs"),
    ({"structured_outputs": {"structural_tag": "{}"}}, 400, "unsupported_parameter",
     "structured_outputs.structural_tag"),
    ({"structured_outputs": {"regex": ""}}, 400, "invalid_value", "structured_outputs.regex"),
    ({"structured_outputs": {"regex": 7}}, 400, "invalid_type", "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "a\0b"}}, 400, "invalid_value", "structured_outputs.regex"),
    ({"structured_outputs": {"regex": "a" * 8193}}, 400, "invalid_value", "structured_outputs.regex"),
    ({"structured_outputs": {"grammar": " \n"}}, 400, "invalid_value", "structured_outputs.grammar"),
    ({"structured_outputs": {"grammar": ["x"]}}, 400, "invalid_type", "structured_outputs.grammar"),
    ({"structured_outputs": {"grammar": "start: " + "a" * 70_000}}, 400, "invalid_value", "structured_outputs.grammar"),
    ({"structured_outputs": {"regex": "a", "grammar": "start: a"}}, 400, "invalid_value", "structured_outputs"),
    ({"structured_outputs": {"choices": ["a"]}}, 400, "unknown_parameter", "structured_outputs.choices"),
    ({"structured_outputs": {"choice": []}}, 400, "invalid_value", "structured_outputs.choice"),
    ({"structured_outputs": {"choice": [""]}}, 400, "invalid_value", "structured_outputs.choice"),
    ({"structured_outputs": {"json": "{"}}, 400, "invalid_value", "structured_outputs.json"),
    ({"structured_outputs": {"json": "[]"}}, 400, "invalid_type", "structured_outputs.json"),
    ({"structured_outputs": {"json_object": False}}, 400, "invalid_value", "structured_outputs.json_object"),
    ({"structured_outputs": {"choice": ["a"]}, "response_format": {"type": "json_object"}}, 400, "invalid_value",
     "structured_outputs"),
    ({"response_format": {"type": "json_object"}, "tools": [weather()], "tool_choice": "required"}, 400,
     "invalid_value", "response_format"),
]


@pytest.mark.parametrize("profile", [FULL, llama(FULL)], ids=["vllm", "llama-server"])
@pytest.mark.parametrize(("fields", "status", "code", "param"), CHAT, ids=[str(c[0])[:60] for c in CHAT])
def test_a_chat_with_a_mistake_is_refused(fields, status, code, param, profile) -> None:
    with pytest.raises(ContractError) as caught:
        request.chat(ask(**fields), profile)
    assert (caught.value.status, caught.value.code, caught.value.param) == (status, code, param)
    assert len(caught.value.message) < 300


COMPLETION = [
    ({"prompt": None}, "missing_required_parameter", "prompt"),
    ({"prompt": ""}, "invalid_value", "prompt"),
    ({"prompt": []}, "invalid_value", "prompt"),
    ({"prompt": 7}, "invalid_type", "prompt"),
    ({"prompt": {}}, "invalid_type", "prompt"),
    ({"prompt": ["a", ""]}, "invalid_value", "prompt[1]"),
    ({"prompt": ["a", 1]}, "invalid_type", "prompt[1]"),
    ({"prompt": [1, "a"]}, "invalid_value", "prompt[1]"),
    ({"prompt": [1, -1]}, "invalid_value", "prompt[1]"),
    ({"prompt": [1, True]}, "invalid_value", "prompt[1]"),
    ({"prompt": [True]}, "invalid_value", "prompt[0]"),
    ({"prompt": [[1], []]}, "invalid_value", "prompt[1]"),
    ({"prompt": [[1], "a"]}, "invalid_type", "prompt[1]"),
    ({"prompt": [[1, 2.0]]}, "invalid_value", "prompt[0][1]"),
    ({"prompt": ["a"] * 65}, "invalid_value", "prompt"),
    ({"echo": 1}, "invalid_type", "echo"),
    ({"max_tokens": 0}, "invalid_value", "max_tokens"),
    ({"max_tokens": 0, "echo": False}, "invalid_value", "max_tokens"),
    ({"suffix": "x"}, "unsupported_parameter", "suffix"),
    ({"best_of": 2}, "unsupported_parameter", "best_of"),
    ({"best_of": True}, "unsupported_parameter", "best_of"),
    ({"logprobs": True}, "invalid_type", "logprobs"),
    ({"logprobs": 21}, "invalid_value", "logprobs"),
    ({"max_completion_tokens": 3}, "unknown_parameter", "max_completion_tokens"),
    ({"messages": []}, "unknown_parameter", "messages"),
    ({"tools": []}, "unknown_parameter", "tools"),
    ({"stop": [""]}, "invalid_value", "stop[0]"),
    ({"stream_options": {}}, "invalid_value", "stream_options"),
]


@pytest.mark.parametrize(("fields", "code", "param"), COMPLETION, ids=[str(c[0])[:60] for c in COMPLETION])
def test_a_completion_with_a_mistake_is_refused(fields, code, param) -> None:
    with pytest.raises(ContractError) as caught:
        request.completion({"model": "support", "prompt": "x", **fields}, FULL)
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


@pytest.mark.parametrize(("fields", "status", "param"), [
    ({}, 400, "messages"),
    ({"messages": []}, 400, "messages"),
    ({"messages": user(), "prompt": "x"}, 400, "prompt"),
    ({"messages": user(), "temperature": 1}, 400, "temperature"),
    ({"messages": user(), "model": "other"}, 404, "model"),
    ({"prompt": ["x"]}, 400, "prompt"),
])
def test_a_tokenization_with_a_mistake_is_refused(fields, status, param) -> None:
    with pytest.raises(ContractError) as caught:
        request.tokenize(fields, FULL)
    assert (caught.value.status, caught.value.param) == (status, param)


def test_an_unknown_field_names_the_nearest_known_one() -> None:
    with pytest.raises(ContractError, match="did you mean `temperature`"):
        request.chat(ask(temprature=1), FULL)
    with pytest.raises(ContractError, match="did you mean `repetition_penalty`"):
        request.chat(ask(repeat_penalty=1), FULL)
    with pytest.raises(ContractError, match=r"`zzz` is not a field of this request$"):
        request.chat(ask(zzz=1), FULL)


def test_a_tool_parser_lets_the_model_choose_its_tools() -> None:
    assert request.chat(ask(tools=[weather()]), with_tool_parser(FULL))["tool_choice"] == "auto"


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_of_allowed_tools_the_others_are_not_offered(mode: str) -> None:
    asked = ask(tools=[weather("news"), weather()], tool_choice=allowed("weather", mode))
    filled = request.chat(asked, with_tool_parser(FULL))
    assert (filled["tools"], filled["tool_choice"]) == ([weather()], mode)
    assert ("stop" in filled) == (mode == "auto"), "a forced call is not cut by the Modelfile's stop strings"


def test_values_that_ask_for_nothing_go_no_further() -> None:
    assert "verbosity" not in request.chat(ask(verbosity="medium"), FULL)


def test_the_limits_are_the_profiles() -> None:
    tight = limited(messages=2, choices=1, stop=1, stop_length=3, tools=1, top_logprobs=5)
    for fields in ({"messages": user() * 3}, {"n": 2}, {"stop": ["a", "b"]}, {"stop": "abcd"},
                   {"tools": [weather()] * 2}, {"logprobs": True, "top_logprobs": 6}):
        with pytest.raises(ContractError) as caught:
            request.chat(ask(**fields), tight)
        assert caught.value.code == "invalid_value"
        request_is_fine_without_limits = ask(**fields)
        request.chat(request_is_fine_without_limits, with_tool_parser(FULL))


@pytest.mark.parametrize(("raw", "code"), [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b'{"a": NaN}', "invalid_json"),
    (b'{"a": -Infinity}', "invalid_json"),
    (b'{"a": "\xff"}', "invalid_json"),
    ('{"a": "ü"}'.encode("utf-16"), "invalid_json"),
    (b'\xef\xbb\xbf{"a": 1}', "invalid_json"),
    (b"[" * 100_000 + b"]" * 100_000, "invalid_json"),
    (b'{"a": ' + b"9" * 5000 + b"}", "invalid_json"),
    (b'{"a": 1} x', "invalid_json"),
    (b"[]", "invalid_type"),
    (b"null", "invalid_type"),
    (b'"x"', "invalid_type"),
])
def test_a_body_that_is_not_a_json_object_is_refused(raw, code) -> None:
    with pytest.raises(ContractError) as caught:
        body.read(raw)
    assert (caught.value.status, caught.value.code) == (400, code)


def test_of_a_key_that_comes_twice_the_last_counts() -> None:
    assert body.read(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\udfff": 1}, {"a": float("inf")}, {"a": NAN}])
def test_what_json_cannot_carry_is_refused(value) -> None:
    with pytest.raises(ContractError) as caught:
        body.write(value)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_a_tool_result_needs_the_call_it_answers() -> None:
    turns = [*user(), {"role": "assistant", "content": None, "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "1", "content": "sunny"}]
    request.chat(ask(messages=turns), FULL)
    del turns[2]["tool_call_id"]
    with pytest.raises(ContractError) as caught:
        request.chat(ask(messages=turns), FULL)
    assert caught.value.param == "messages[2].tool_call_id"
