"""The same mistake, the same status and the same envelope, on every engine; and nothing reaches it."""

from __future__ import annotations

import json

import pytest

from tests.conformance.client import QUESTION, Server, envelope, user
from tests.conformance.meaning import CONTEXT, NAME

CHAT = "/v1/chat/completions"
DEEP = b'{"model": "conformance", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("model", ["gpt-4o", "CONFORMANCE", "", "conformance:latest"])
def test_another_model_is_a_404(server: Server, model: str) -> None:
    error = server.refused(status=404, model=model)
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert NAME in error["message"]


def test_another_model_is_a_404_to_look_at_too(server: Server) -> None:
    assert envelope(server.http.get("/v1/models/gpt-4o"), 404)["code"] == "model_not_found"


def test_no_model_is_a_400(server: Server) -> None:
    assert server.refused(model=None)["code"] == "missing_required_parameter"


@pytest.mark.parametrize("messages", [[], None, {}, "hello", ["hello"], [{"role": "wizard", "content": "x"}],
                                      [{"role": "user"}], [{"content": "x"}], [{"role": "user", "content": 7}],
                                      [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]],
                         ids=lambda m: json.dumps(m)[:40])
def test_a_conversation_that_is_none_is_a_400(server: Server, messages: object) -> None:
    assert server.refused(messages=messages)["param"].startswith("messages")


OUT_OF_RANGE = [
    ("temperature", -1), ("temperature", 2.5), ("temperature", "hot"), ("temperature", True), ("top_p", 2),
    ("top_p", 0), ("top_k", -2), ("min_p", 2), ("presence_penalty", 3), ("frequency_penalty", -3),
    ("repetition_penalty", 0), ("n", 0), ("n", 1000), ("max_tokens", 0), ("max_tokens", -5), ("max_tokens", 1.5),
    ("max_tokens", CONTEXT + 1), ("max_completion_tokens", 0), ("seed", "seven"), ("seed", 2**64), ("stop", ""),
    ("stop", ["x"] * 1000), ("stop", 7), ("logit_bias", {"1": 1000}), ("stream", "yes"),
    ("stream_options", {"include_usage": True}), ("top_logprobs", 3), ("logprobs", 3), ("tools", []),
    ("tool_choice", "required"), ("response_format", {"type": "xml"}), ("messages", []),
]


@pytest.mark.parametrize(("field", "value"), OUT_OF_RANGE, ids=lambda v: str(v)[:30])
def test_a_value_out_of_range_is_a_400_that_names_the_field(server: Server, field: str, value: object) -> None:
    error = server.refused(**{field: value})
    assert error["param"].split("[")[0].split(".")[0] == field
    assert field in error["message"]


@pytest.mark.parametrize("field", ["temprature", "n_discard", "id_slot", "grammar", "lora", "samplers", "mirostat",
                                   "cache_prompt", "n_predict", "stop_token_ids", "prompt_logprobs", "chat_template",
                                   "vllm_xargs", "kv_transfer_params", "guided_json", "priority"])
def test_an_unknown_field_is_a_400_whatever_an_engine_knows(server: Server, field: str) -> None:
    error = server.refused(**{field: 1})
    assert (error["code"], error["param"]) == ("unknown_parameter", field)


@pytest.mark.parametrize("field", ["user", "store", "metadata", "service_tier", "safety_identifier"])
def test_a_field_that_only_describes_is_accepted(server: Server, field: str) -> None:
    server.chat(**{field: {"a": "b"} if field == "metadata" else "x"}, max_tokens=2)


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", b"[]", b"null", b'{"model": NaN}', b'{"a": "\xff"}', DEEP],
                         ids=lambda r: repr(r[:20]))
def test_a_body_that_is_no_json_object_is_a_400(server: Server, raw: bytes) -> None:
    for path in (CHAT, "/v1/completions"):
        assert envelope(server.post(path, raw=raw), 400)["code"] in ("invalid_json", "invalid_type")


def test_half_a_character_is_a_400(server: Server) -> None:
    raw = json.dumps({"model": NAME, "messages": user("\ud800")}).encode()
    assert envelope(server.post(CHAT, raw=raw), 400)["code"] == "invalid_json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_body_of_another_type_is_a_415(server: Server, kind: str) -> None:
    raw = json.dumps({"model": NAME, "messages": user()}).encode()
    error = envelope(server.post(CHAT, raw=raw, headers={"content-type": kind}), 415)
    assert error["code"] == "unsupported_media_type"


def test_a_body_beyond_the_limit_is_a_413(server: Server) -> None:
    raw = json.dumps({"model": NAME, "messages": user("x" * 9_000_000)}).encode()
    assert envelope(server.post(CHAT, raw=raw), 413)["code"] == "request_too_large"
    server.chat(max_tokens=2)  # and the next one is served


def test_a_prompt_beyond_the_context_is_a_400_with_both_numbers(server: Server) -> None:
    for stream in (False, True):
        error = server.refused(messages=user("word " * (CONTEXT + 500)), stream=stream)
        assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
        assert str(CONTEXT) in error["message"]
    error = server.refused("/v1/completions", prompt="word " * (CONTEXT + 500))
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")


def test_a_prompt_far_beyond_the_context_too(server: Server) -> None:
    error = server.refused(messages=user("word " * 200_000))
    assert error["code"] == "context_length_exceeded"


def test_a_prompt_that_leaves_no_room_for_an_answer_is_too_long(server: Server) -> None:
    error = server.refused("/v1/completions", prompt=[300] * CONTEXT)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    answer = server.complete(prompt=[300] * (CONTEXT - 2), max_tokens=9, stop=[], ignore_eos=True)
    assert answer["usage"]["prompt_tokens"] == CONTEXT - 2
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_tool_that_the_model_may_choose_needs_a_tool_parser(server: Server) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    for fields in ({}, {"tool_choice": "auto"}):
        assert "SERVE tool_parser" in server.refused(tools=[tool], **fields)["message"]


@pytest.mark.parametrize("prompt", [None, "", [], [[]], 7, ["a", 1], [-1]], ids=json.dumps)
def test_a_prompt_that_is_none_is_a_400(server: Server, prompt: object) -> None:
    assert server.refused("/v1/completions", prompt=prompt)["param"].startswith("prompt")


@pytest.mark.parametrize(("field", "value"), [("suffix", "x"), ("best_of", 2)])
def test_what_not_every_engine_can_is_a_400(server: Server, field: str, value: object) -> None:
    error = server.refused("/v1/completions", prompt=QUESTION, **{field: value})
    assert (error["code"], error["param"]) == ("unsupported_parameter", field)


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/chat", "/v1/responses/resp_1/cancel"])
def test_a_path_that_is_none_is_a_404(server: Server, path: str) -> None:
    assert envelope(server.post(path, {}), 404)["code"]


def test_a_wrong_method_is_a_405(server: Server) -> None:
    assert envelope(server.http.get(CHAT), 405)["code"] == "method_not_allowed"
    assert envelope(server.http.put("/v1/models"), 405)["code"] == "method_not_allowed"


def test_after_all_that_it_still_answers(server: Server) -> None:
    server.chat(max_tokens=2)
