"""Fields: what each may hold, and how a wrong one is answered"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.client import Server, envelope, user
from tests.conformance.meaning import CONTEXT

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
TYPE, VALUE, UNKNOWN = "invalid_type", "invalid_value", "unknown_parameter"
MISSING, UNSUPPORTED = "missing_required_parameter", "unsupported_parameter"

# A JSON value of every type but the right ones is a type error, for every field that either request has.
NUMBERS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")
INTEGERS = ("max_tokens", "n", "seed", "top_k")
WRONG_TYPES = [
    *((name, value) for name in NUMBERS for value in ("1", True, [1], {})),
    *((name, value) for name in INTEGERS for value in ("1", True, 1.5, [1], {})),
    *(("stop", value) for value in (1, True, {}, [1], [None], [["a"]])),
    *(("stream", value) for value in ("true", 1, [], {})),
    *(("ignore_eos", value) for value in ("true", 1, [])),
    *(("logit_bias", value) for value in ("x", 1, True, [], [1], {"5": "1"}, {"5": None}, {"5": True})),
    *(("stream_options", value) for value in ("x", 1, True, [])),
    *(("response_format", value) for value in ("json", 1, True, [])),
    *(("structured_outputs", value) for value in ("json", 1, True, [])),
    *(("model", value) for value in (1, True, [], {})),
]
CHAT_ONLY = [
    *(("messages", value) for value in ("hello", 1, True, {})),
    *(("max_completion_tokens", value) for value in ("1", 1.5, True)),
    *(("logprobs", value) for value in (1, "yes", [])),
    *(("top_logprobs", value) for value in ("2", 1.5, True)),
    *(("tools", value) for value in ("x", 1, {}, ["x"], [1])),
    *(("tool_choice", value) for value in (1, True, [])),
    *(("parallel_tool_calls", value) for value in (1, "yes")),
    *(("chat_template_kwargs", value) for value in (1, "x", [])),
    *(("reasoning_effort", value) for value in (1, True)),
]
TEXT_ONLY = [
    *(("prompt", value) for value in (1, True, {}, 1.5)),
    *(("logprobs", value) for value in (True, "2", 1.5)),
]


def body(path: str, **fields: Any) -> dict[str, Any]:
    asked = {"messages": user()} if path == CHAT else {"prompt": "Once upon a time"}
    return {"model": "conformance", **asked, "max_tokens": 2, **fields}


def refused(server: Server, path: str, code: str, param: str, **fields: Any) -> dict[str, Any]:
    """The error of a request that is right but for these fields, streamed or not; it names the one at fault."""
    errors = [envelope(server.post(path, {**body(path, **fields), **more}), 400)
              for more in ({}, {"stream": True}) if not more.keys() & fields.keys()]
    for error in errors:
        assert (error["code"], error["param"]) == (code, param)
        assert error["type"] == "invalid_request_error"
    return errors[0]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("name", "value"), WRONG_TYPES, ids=json.dumps)
def test_a_value_of_another_type(server: Server, path: str, name: str, value: object) -> None:
    error = envelope(server.post(path, body(path, **{name: value})), 400)
    assert error["code"] == TYPE
    assert error["param"].startswith(name)


@pytest.mark.parametrize(("name", "value"), CHAT_ONLY, ids=json.dumps)
def test_a_value_of_another_type_in_a_chat(server: Server, name: str, value: object) -> None:
    error = envelope(server.post(CHAT, body(CHAT, **{name: value})), 400)
    assert error["code"] == TYPE
    assert error["param"].startswith(name)


@pytest.mark.parametrize(("name", "value"), TEXT_ONLY, ids=json.dumps)
def test_a_value_of_another_type_in_a_completion(server: Server, name: str, value: object) -> None:
    error = envelope(server.post(TEXT, body(TEXT, **{name: value})), 400)
    assert error["code"] == TYPE
    assert error["param"].startswith(name)


RANGES: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ("temperature", (0, 2, 0.0, 1e-9), (-0.001, 2.001, 1e308, -1e308, 10**40)),
    ("top_p", (1, 1e-9), (0, -0.1, 1.001, 1e308)),
    ("min_p", (0, 1), (-0.001, 1.001)),
    ("top_k", (-1, 0, 1, 2**31 - 1), (-2, 2**31, 10**40)),
    ("presence_penalty", (-2, 2), (-2.001, 2.001)),
    ("frequency_penalty", (-2, 2), (-2.001, 2.001)),
    ("repetition_penalty", (2, 1e-2), (0, -1, 2.001)),
    ("max_tokens", (1, 2), (0, -1, CONTEXT + 1, 2**31, 10**40)),
    ("n", (1,), (0, -1, 17, 2**63)),
    ("seed", (0, -1, 2**63 - 1, -(2**63)), (2**63, -(2**63) - 1, 10**40)),
]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("name", "value"), [(n, v) for n, _, wrong in RANGES for v in wrong], ids=str)
def test_a_number_beyond_its_bounds(server: Server, path: str, name: str, value: object) -> None:
    refused(server, path, VALUE, name, **{name: value})


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, right, _ in RANGES for v in right], ids=str)
def test_a_number_at_its_bounds(server: Server, name: str, value: object) -> None:
    answer = server.complete(prompt="a", stop=[], ignore_eos=True, **{"max_tokens": 1} | {name: value})
    assert answer["choices"][0]["finish_reason"] == "length"


LISTS: list[tuple[str, Any, str]] = [
    ("stop", "", "stop"), ("stop", ["a", ""], "stop[1]"), ("stop", ["a"] * 17, "stop"), ("stop", "a" * 1025, "stop"),
    ("stop", ["b", "a" * 1025], "stop[1]"), ("logit_bias", {"x": 1}, "logit_bias"),
    ("logit_bias", {"-1": 1}, "logit_bias"),
    ("logit_bias", {"": 1}, "logit_bias"), ("logit_bias", {"1.5": 1}, "logit_bias"),
    ("logit_bias", {"5": 101}, "logit_bias.5"), ("logit_bias", {"5": -101}, "logit_bias.5"),
    ("logit_bias", {str(n): 1 for n in range(1025)}, "logit_bias"),
]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("name", "value", "param"), LISTS, ids=lambda v: json.dumps(v)[:24])
def test_a_list_that_is_too_long_or_has_a_bad_member(server: Server, path: str, name: str, value: object,
                                                     param: str) -> None:
    refused(server, path, VALUE, param, **{name: value})


SHAPES: list[tuple[dict[str, Any], str, str]] = [
    ({"response_format": {}}, MISSING, "response_format.type"),
    ({"response_format": {"type": "xml"}}, VALUE, "response_format.type"),
    ({"response_format": {"type": "text", "x": 1}}, UNKNOWN, "response_format.x"),
    ({"response_format": {"type": "json_schema"}}, MISSING, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, MISSING,
     "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, MISSING,
     "response_format.json_schema.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}, VALUE,
     "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 7}}}, TYPE,
     "response_format.json_schema.schema"),
    ({"structured_outputs": {}}, VALUE, "structured_outputs"),
    ({"structured_outputs": {"json": {}, "choice": ["a"]}}, VALUE, "structured_outputs"),
    ({"structured_outputs": {"choice": []}}, VALUE, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": [""]}}, VALUE, "structured_outputs.choice"),
    ({"structured_outputs": {"choice": "a"}}, VALUE, "structured_outputs.choice"),
    ({"structured_outputs": {"json": "{"}}, VALUE, "structured_outputs.json"),
    ({"structured_outputs": {"json_object": False}}, VALUE, "structured_outputs.json_object"),
    ({"structured_outputs": {"yaml": 1}}, UNKNOWN, "structured_outputs.yaml"),
    ({"structured_outputs": {"choice": ["a"]}, "response_format": {"type": "json_object"}}, VALUE,
     "structured_outputs"),
    ({"stream_options": {"x": True}, "stream": True}, UNKNOWN, "stream_options.x"),
    ({"stream_options": {"include_usage": "yes"}, "stream": True}, TYPE, "stream_options.include_usage"),
]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(("fields", "code", "param"), SHAPES, ids=lambda v: json.dumps(v)[:60])
def test_an_object_with_a_wrong_part(server: Server, path: str, fields: dict[str, Any], code: str, param: str) -> None:
    refused(server, path, code, param, **fields)


FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
TOOLS: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": []}, VALUE, "tools"),
    ({"tools": [TOOL] * 129}, VALUE, "tools"),
    ({"tools": [{"type": "function"}]}, MISSING, "tools[0].function"),
    ({"tools": [{"type": "retrieval", "function": FUNCTION}]}, UNSUPPORTED, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {}}]}, MISSING, "tools[0].function.name"),
    ({"tools": [TOOL, {"type": "function", "function": {"name": "a b"}}]}, VALUE, "tools[1].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f" * 65}}]}, VALUE, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, TYPE,
     "tools[0].function.parameters"),
    ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, UNKNOWN, "tools[0].function.x"),
    ({"tools": [TOOL], "tool_choice": "f"}, VALUE, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, VALUE, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function"}}, TYPE, "tool_choice.function"),
    ({"tools": [TOOL], "tool_choice": {"type": "x"}}, UNSUPPORTED, "tool_choice.type"),
    ({"tool_choice": "auto"}, VALUE, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": "required", "response_format": {"type": "json_object"}}, VALUE,
     "response_format"),
    ({"functions": [FUNCTION]}, UNSUPPORTED, "functions"),
    ({"function_call": "auto"}, UNSUPPORTED, "function_call"),
    ({"top_logprobs": 2}, VALUE, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, VALUE, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": -1}, VALUE, "top_logprobs"),
    ({"max_tokens": 2, "max_completion_tokens": 3}, VALUE, "max_completion_tokens"),
    ({"reasoning_effort": "enormous"}, VALUE, "reasoning_effort"),
    ({"modalities": ["text", "audio"]}, UNSUPPORTED, "modalities"),
    ({"audio": {"voice": "x"}}, UNSUPPORTED, "audio"),
    ({"web_search_options": {}}, UNSUPPORTED, "web_search_options"),
]


@pytest.mark.parametrize(("fields", "code", "param"), TOOLS, ids=lambda v: json.dumps(v)[:60])
def test_what_only_a_chat_has(server: Server, fields: dict[str, Any], code: str, param: str) -> None:
    refused(server, CHAT, code, param, **fields)


MESSAGES: list[tuple[Any, str, str]] = [
    ({"content": "x"}, MISSING, "messages[0].role"),
    ({"role": None, "content": "x"}, MISSING, "messages[0].role"),
    ({"role": 1, "content": "x"}, TYPE, "messages[0].role"),
    ({"role": "User", "content": "x"}, VALUE, "messages[0].role"),
    ({"role": "function", "content": "x"}, VALUE, "messages[0].role"),
    ({"role": "user"}, MISSING, "messages[0].content"),
    ({"role": "user", "content": None}, MISSING, "messages[0].content"),
    ({"role": "user", "content": 1}, TYPE, "messages[0].content"),
    ({"role": "user", "content": {}}, TYPE, "messages[0].content"),
    ({"role": "user", "content": []}, VALUE, "messages[0].content"),
    ({"role": "user", "content": ["x"]}, TYPE, "messages[0].content[0]"),
    ({"role": "user", "content": [{}]}, MISSING, "messages[0].content[0].type"),
    ({"role": "user", "content": [{"type": "text"}]}, MISSING, "messages[0].content[0].text"),
    ({"role": "user", "content": [{"type": "text", "text": 1}]}, TYPE, "messages[0].content[0].text"),
    ({"role": "user", "content": [{"type": "smell", "text": "x"}]}, VALUE, "messages[0].content[0].type"),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, UNSUPPORTED,
     "messages[0].content[0].type"),
    ({"role": "user", "content": "x", "tool_call_id": "1"}, UNKNOWN, "messages[0].tool_call_id"),
    ({"role": "tool", "content": "x"}, MISSING, "messages[0].tool_call_id"),
    ({"role": "assistant", "tool_calls": {}}, TYPE, "messages[0].tool_calls"),
    ({"role": "assistant", "tool_calls": [{"type": "function"}]}, TYPE, "messages[0].tool_calls[0].function"),
    ({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}, MISSING,
     "messages[0].tool_calls[0].function.name"),
    ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, VALUE,
     "messages[0].tool_calls[0].function.arguments"),
    ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}, VALUE,
     "messages[0].tool_calls[0].function.arguments"),
]


@pytest.mark.parametrize(("message", "code", "param"), MESSAGES, ids=lambda v: json.dumps(v)[:50])
def test_a_message_with_a_wrong_part(server: Server, message: object, code: str, param: str) -> None:
    refused(server, CHAT, code, param, messages=[message])
    refused(server, CHAT, code, param.replace("[0]", "[1]", 1), messages=[*user("Hi."), message])


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("name", ["max_token", "Temperature", "stop_sequences", "top_n", "frequency_penality",
                                  "__proto__",
                                  "", "best_off", "use_beam_search", "length_penalty", "min_tokens", "bad_words",
                                  "allowed_token_ids", "typical_p", "dry_multiplier", "repeat_penalty", "json_schema",
                                  "guided_regex", "add_generation_prompt", "request_id", "cache_salt",
                                  "skip_special_tokens",
                                  "timings_per_token", "post_sampling_probs", "n_probs", "t_max_predict_ms"])
def test_a_field_that_is_no_field_of_this_api(server: Server, path: str, name: str) -> None:
    error = envelope(server.post(path, body(path, **{name: 1})), 400)
    assert (error["code"], error["param"]) == (UNKNOWN, name)


@pytest.mark.parametrize("name", ["user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
                                  "seed", "stop", "stream", "n", "logprobs", "logit_bias", "response_format"])
def test_null_is_as_good_as_nothing(server: Server, name: str) -> None:
    assert server.complete(**{name: None}, max_tokens=1)["usage"] == server.complete(max_tokens=1)["usage"]


@pytest.mark.parametrize("value", [True, False, 0, 1, "", [], {}], ids=json.dumps)
def test_two_mistakes_are_answered_by_one_error(server: Server, value: object) -> None:
    error = envelope(server.post(CHAT, body(CHAT, temperature=9, unknown_field=value)), 400)
    assert error["param"] in ("temperature", "unknown_field")
