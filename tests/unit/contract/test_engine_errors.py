"""The same mistake gets the same answer, whatever the engine called it."""

from __future__ import annotations

import json

import pytest

from modelkit.contract.engine_errors import from_engine, from_our_engine
from modelkit.contract.errors import CODES, ContractError, envelope, of_status

FAILED = "the engine failed on this request; its log says why"


def engine(**error) -> bytes:
    return json.dumps({"error": error}).encode()


VLLM_TOO_LONG = engine(
    message="This model's maximum context length is 2048 tokens. However, your prompt contains at least 2049 input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce the length of …",
    type="BadRequestError", param="input_tokens", code=400)
VLLM_TOO_MANY_CHARACTERS = engine(
    message="This model's maximum context length is 2048 tokens. However, your prompt contains 90000 characters (more "
            "than 20480 characters, which is the upper bound for 2048 input tokens). Please reduce …",
    type="BadRequestError", param="input_text", code=400)
VLLM_EXACTLY_FULL = engine(
    message="The decoder prompt (length 2048) plus the number of requested output tokens (at least 1) is longer than "
            "the maximum model length of 2048. Make sure that …", type="BadRequestError", param=None, code=400)
VLLM_NO_ROOM = engine(
    message="max_tokens must be at least 1, got 0.", type="BadRequestError", param="max_tokens", code=400)
LLAMA_TOO_LONG = engine(
    message="request (2339 tokens) exceeds the available context size (2048 tokens), try increasing it", code=400,
    type="exceed_context_size_error", n_prompt_tokens=2339, n_ctx=2048)
LLAMA_TOO_LONG_TEXT = engine(
    message="request (2339 tokens) exceeds the available context size (2048 tokens), try increasing it", code=400)


@pytest.mark.parametrize(("body", "message"), [
    (VLLM_TOO_LONG, "the prompt has at least 2049 tokens; this model's context length is 2048 tokens"),
    (VLLM_TOO_MANY_CHARACTERS, "the prompt is too long; this model's context length is 2048 tokens"),
    (VLLM_EXACTLY_FULL, "the prompt has 2048 tokens; this model's context length is 2048 tokens"),
    (VLLM_NO_ROOM, "the prompt has 2048 tokens; this model's context length is 2048 tokens"),
    (LLAMA_TOO_LONG, "the prompt has 2339 tokens; this model's context length is 2048 tokens"),
    (LLAMA_TOO_LONG_TEXT, "the prompt has 2339 tokens; this model's context length is 2048 tokens"),
    (engine(type="exceed_context_size_error", message="?"), "the prompt is too long"),
])
def test_a_prompt_beyond_the_context(body, message) -> None:
    error = from_engine(400, body, "messages", 2048)
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert error.message == message


@pytest.mark.parametrize(("status", "body", "expected"), [
    (400, engine(message="bad", type="BadRequestError", param="body.temperature", code=400),
     (400, "invalid_request", "bad", "temperature")),
    (400, engine(code=400, message="bad", type="invalid_request_error"), (400, "invalid_request", "bad", None)),
    (400, b'{"object": "error", "message": "flat", "param": "n", "code": 400}', (400, "invalid_request", "flat", "n")),
    (400, b'{"detail": "There was an error parsing the body"}',
     (400, "invalid_request", "There was an error parsing the body", None)),
    (400, b'{"error": "just text"}', (400, "invalid_request", "just text", None)),
    (400, b"plain text", (400, "invalid_request", "plain text", None)),
    (400, b"", (400, "invalid_request", "Bad Request", None)),
    (400, b"<html>nginx</html>", (400, "invalid_request", "Bad Request", None)),
    (400, b"[1]", (400, "invalid_request", "Bad Request", None)),
    (400, b'{"error": {"message": ["a"], "param": 7}}', (400, "invalid_request", "Bad Request", None)),
    (400, b"\xff\xfe", (400, "invalid_request", "��", None)),
    (422, b'{"detail": "x"}', (400, "invalid_request", "x", None)),
    (401, b'{"error": "Unauthorized"}', (401, "invalid_api_key", "Unauthorized", None)),
    (404, engine(message="The model `x` does not exist.", type="NotFoundError", param="model", code=404),
     (404, "model_not_found", "The model `x` does not exist.", "model")),
    (404, b'{"detail": "Not Found"}', (404, "not_found", "Not Found", None)),
    (405, b'{"detail": "Method Not Allowed"}', (405, "method_not_allowed", "Method Not Allowed", None)),
    (429, b"", (429, "rate_limit_exceeded", "Too Many Requests", None)),
    (501, engine(message="This server does not support embeddings", type="not_supported_error", code=501),
     (400, "invalid_request", "This server does not support embeddings", None)),
    (500, engine(message="Jinja Exception: Conversation roles must alternate", type="server_error", code=500),
     (400, "invalid_request", "Jinja Exception: Conversation roles must alternate", None)),
    (500, engine(message="EngineDeadError at /usr/lib/x.py", type="InternalServerError", code=500),
     (500, "internal_error", FAILED, None)),
    (500, b"Internal Server Error", (500, "internal_error", FAILED, None)),
    (500, engine(message="Context size has been exceeded.", type="server_error", code=500),
     (503, "engine_overloaded", "other conversations fill the engine's memory; try again", None)),
    (503, engine(message="Loading model", type="unavailable_error", code=503),
     (503, "engine_unavailable", "the engine is not ready; try again", None)),
    (502, b"", (502, "engine_unreachable", "the engine cannot be reached", None)),
    (504, b"", (504, "engine_timeout", "the engine took too long", None)),
    (599, b"", (500, "internal_error", FAILED, None)),
    (418, b"", (418, "invalid_request", "I'm a Teapot", None)),
    (499, b"", (499, "invalid_request", "The request failed", None)),
])
def test_an_engines_error_in_our_words(status, body, expected) -> None:
    error = from_engine(status, body)
    assert (error.status, error.code, error.message, error.param) == expected


@pytest.mark.parametrize(("said", "kept"), [
    ("cannot open /usr/lib/python3/site.py now", "cannot open <path> now"),
    ("object at 0x7f00aa12 is bad", "object at <address> is bad"),
    ("bad\nTraceback (most recent call last):\n  File \"x\"", "bad"),
    ("Traceback (most recent call last): secret", "Bad Request"),
    ("no route /v1/foo/bar", "no route /v1/foo/bar"),
    ("see https://example.org/a/b", "see https://example.org/a/b"),
    ("x" * 5000, "x" * 999 + "…"),
])
def test_what_an_engine_says_about_its_machine_stays_there(said, kept) -> None:
    assert from_engine(400, engine(message=said)).message == kept


def test_the_envelope_is_openais_with_string_codes() -> None:
    for status in (*CODES, 418, 599):
        error = json.loads(of_status(status).body())["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["code"], str) and isinstance(error["message"], str) and error["message"]
        assert error["type"] in {"invalid_request_error", "permission_error", "rate_limit_error", "server_error"}
    assert json.loads(envelope(400, "c", "half a pair: \ud800"))["error"]["code"] == "c"


def test_our_own_engine_keeps_its_words_and_codes() -> None:
    said = of_status(503, "the engine is full").body()
    error = from_our_engine(503, said, "messages")
    assert (error.status, error.code, error.message, error.param) == (503, "engine_unavailable", "the engine is full",
                                                                      None)


def test_a_prompt_too_long_is_the_prompts_fault_there_too() -> None:
    said = ContractError(400, "context_length_exceeded", "the prompt has 300 tokens").body()
    assert from_our_engine(400, said, "prompt").param == "prompt"


@pytest.mark.parametrize("said", [b'{"detail":"Not Found"}', b"Internal Server Error", b"", b"[]"])
def test_what_its_framework_says_is_rewritten(said: bytes) -> None:
    assert from_our_engine(404, said).code == "not_found"
    assert from_our_engine(500, said).code == "internal_error"


@pytest.mark.parametrize("field", ["input", "prompt"])
def test_an_unknown_token_id_is_the_fault_of_the_field_that_has_it(field: str) -> None:
    error = from_engine(400, engine(message="Token id 10000000 is out of vocabulary", param=None, code=400), field)
    assert (error.status, error.param, error.code) == (400, field, "invalid_value")
    assert "10000000" in error.message
