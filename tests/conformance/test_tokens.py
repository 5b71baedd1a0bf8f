"""Token ids: of conversations, of texts, and back"""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.release.parity import Conversation, shipped_conversations
from tests.conformance.client import Server, envelope, user
from tests.conformance.meaning import CONTEXT, NAME

TEXTS = {
    "plain": "What is the capital of France?", "blanks": "  a   b\t c \n\n d  ", "digits": "0123456789 3.14 1e10",
    "accents": "Café naïve Ångström", "decomposed": "Cafe\u0301 A\u030a", "emoji": "👩‍👩‍👧‍👦🏳️‍🌈👍🏽",
    "CJK": "漢字かな交じり文 한국어",
    "right to left": "שלום مرحبا", "Indic": "नमस्ते ดี", "mathematics": "∑ x² ≤ ∞",
    "code": "def f(x):\n\treturn {'a': x}\n",
    "JSON": '{"a": [1, "b\\n"]}', "markup": "<b>&amp;</b> {{ x }} [INST]", "specials": "<|im_start|>user\nhi<|im_end|>",
    "half a special": "<|im_end <|im_ |>", "controls": "a\u0001b\u007fc", "zero width": "a\u200bb\ufeffc",
    "capitals": "HELLO HeLLo ﬁ ß ẞ",
    "contractions": "I'm you're it’s", "long word": "a" * 200, "URL": "https://example.org/?q=a%20b#c", "one": "x",
    "newline": "\n",
    "replacement": "\ufffd", "noncharacter": "\uffff\ufdd0", "astral": "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈", "mixed": "abcДЕФ中文123αβγ",
    "CRLF": "a\r\nb\rc",
}


@pytest.mark.parametrize("conversation", shipped_conversations(), ids=lambda c: c.name)
def test_a_conversation_is_the_same_tokens(engine: Server, conversation: Conversation) -> None:
    said = engine.tokenize(messages=list(conversation.messages))
    assert said["count"] == len(said["tokens"]) > 0
    assert said["max_model_len"] == CONTEXT
    engine.seen.note("ids", said["tokens"])


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_a_text_is_the_same_tokens_and_comes_back(engine: Server, text: str) -> None:
    ids = engine.tokenize(prompt=text, add_special_tokens=False)["tokens"]
    assert engine.detokenize(ids) == text
    assert engine.tokenize(prompt=text)["tokens"] == ids  # this model begins with nothing
    engine.seen.note("ids", ids)


@pytest.mark.parametrize("fields", [
    {"add_generation_prompt": False}, {"add_generation_prompt": True},
    {"messages": [*user("Hi."), {"role": "assistant", "content": None}, *user("So?")]},
    {"messages": [{"role": "developer", "content": "Be kind."}, *user()]},
    {"messages": [{"role": "system", "content": "A."}, {"role": "system", "content": "B."}, *user()]},
    {"messages": [*user(), {"role": "assistant", "content": "Paris."}]},
    {"messages": [{"role": "user", "content": "x", "name": "Ann"}]},
    {"chat_template_kwargs": {"unknown_to_the_template": 1}},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]},
], ids=lambda f: json.dumps(f)[:70])
def test_a_rendering_follows_its_fields(engine: Server, fields: dict[str, Any]) -> None:
    engine.seen.note("ids", engine.tokenize(**{"messages": user(), **fields})["tokens"])


def test_a_chat_costs_what_its_tokenization_counts(engine: Server) -> None:
    for messages in (user(), [{"role": "system", "content": "Hi."}, *user("é" * 9)], [*user(), *user()]):
        count = engine.tokenize(messages=messages)["count"]
        assert engine.chat(messages=messages, max_tokens=1)["usage"]["prompt_tokens"] == count


def test_a_completion_costs_what_its_tokenization_counts(engine: Server) -> None:
    count = engine.tokenize(prompt="Once upon a time")["count"]
    assert engine.complete(max_tokens=1)["usage"]["prompt_tokens"] == count


def test_every_token_has_a_text(engine: Server) -> None:
    """All bytes are tokens of this vocabulary, so half a character can be asked for; it is shown as a broken one."""
    for start in range(0, 300, 50):
        assert isinstance(engine.detokenize(list(range(start, start + 50))), str)
    assert engine.detokenize([]) == ""


def test_a_tokens_text_may_be_asked_for(engine: Server) -> None:
    said = engine.tokenize(prompt="Once upon a time", return_token_strs=True)
    engine.seen.note("token_strs", said["token_strs"])


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("/tokenize", {"prompt": 1}, "prompt"), ("/tokenize", {"prompt": ["a"]}, "prompt"),
    ("/tokenize", {"messages": []}, "messages"),
    ("/tokenize", {}, "messages"), ("/tokenize", {"prompt": "a", "messages": user()}, "prompt"),
    ("/tokenize", {"prompt": "a", "x": 1}, "x"), ("/tokenize", {"messages": user(), "add_generation_prompt": 1},
                                                  "add_generation_prompt"),
    ("/detokenize", {}, "tokens"), ("/detokenize", {"tokens": "a"}, "tokens"),
    ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
    ("/detokenize", {"tokens": [1, "a"]}, "tokens[1]"), ("/detokenize", {"tokens": [True]}, "tokens[0]"),
    ("/detokenize", {"tokens": [2**31]}, "tokens[0]"),
]


@pytest.mark.parametrize(("path", "fields", "param"), BAD, ids=lambda v: json.dumps(v)[:50])
def test_a_wrong_tokenization_is_a_400(server: Server, path: str, fields: dict[str, Any], param: str) -> None:
    assert server.inside is not None
    answer = server.inside.post(path, json={"model": NAME, **fields})
    server.observe(path, fields, answer)
    assert envelope(answer, 400)["param"] == param


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize", "/v1/chat/completions/render", "/pooling", "/score"])
def test_what_is_for_inside_is_not_served_outside(engine: Server, path: str) -> None:
    assert envelope(engine.http.post(path, json={"model": NAME, "prompt": "a"}), 404)["code"] == "not_found"
