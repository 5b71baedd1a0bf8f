"""Whatever a client sends is either a filled request or one clear error."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.contract import body, request
from modelkit.contract.errors import ContractError
from modelkit.contract.middleware import Contract
from tests.unit.contract.asgi import Application, call
from tests.unit.contract.profiles import FULL, llama, with_tool_parser

PROFILES = st.sampled_from([FULL, llama(FULL), with_tool_parser(FULL), with_tool_parser(llama(FULL))])

WORDS = st.sampled_from([
    "system", "developer", "user", "assistant", "tool", "text", "function", "auto", "none", "required", "json_object",
    "json_schema", "support", "weather", "{}", "1", "", "low", "\ud800", "image_url",
])
NAMES = st.sampled_from([
    "role", "content", "type", "function", "name", "arguments", "parameters", "tool_calls", "tool_call_id", "text",
    "json", "schema", "json_schema", "choice", "include_usage", "id", "strict", "reasoning", "5", *request.CHAT,
])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
                      max_leaves=12)
PARTS = ("content", "name", "tool_calls", "tool_call_id", "reasoning_content", "refusal")
MESSAGE = st.fixed_dictionaries({"role": WORDS}, optional=dict.fromkeys(PARTS, VALUES))


def requests_of(table: dict[str, Any], **likely: Any) -> Any:
    fields = st.fixed_dictionaries({}, optional=dict.fromkeys(table, VALUES))
    return st.builds(lambda base, more: base | more, st.fixed_dictionaries(likely), fields) | VALUES


CHATS = requests_of(dict(request.CHAT), model=st.just("support"), messages=st.lists(MESSAGE, max_size=3) | VALUES)
COMPLETIONS = requests_of(dict(request.COMPLETION), model=st.just("support"), prompt=VALUES)
TOKENIZATIONS = requests_of(dict(request.TOKENIZE), messages=st.lists(MESSAGE, max_size=3))


@settings(max_examples=120, deadline=None)
@given(CHATS, PROFILES)
def test_any_chat(value, profile) -> None:
    fills_or_refuses(request.chat, value, profile)


@settings(max_examples=60, deadline=None)
@given(COMPLETIONS, PROFILES)
def test_any_completion(value, profile) -> None:
    fills_or_refuses(request.completion, value, profile)


@settings(max_examples=60, deadline=None)
@given(TOKENIZATIONS, PROFILES)
def test_any_tokenization(value, profile) -> None:
    fills_or_refuses(request.tokenize, value, profile)


def fills_or_refuses(fill, value, profile) -> None:
    try:
        filled = fill(body.read(json.dumps(value).encode()), profile)
        written = body.write(filled)
    except ContractError as error:
        assert error.status in (400, 404)
        assert error.message and error.code
        assert json.loads(error.body())["error"]["code"] == error.code
        return
    assert json.loads(written) == filled
    if "messages" in filled:
        assert all(isinstance(message["content"], str) for message in filled["messages"])
        assert all(message["role"] in ("system", "user", "assistant", "tool") for message in filled["messages"])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(["/v1/chat/completions", "/v1/completions", "/tokenize"]))
def test_any_bytes(raw, path) -> None:
    answer = call(Contract(Application(), FULL), path=path, body=raw)
    assert answer.status in (400, 404)
    assert answer.error["code"]
