"""Streams: framing, pieces, and the same answer as unstreamed"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.client import Server, finish, joined, text, user
from tests.conformance.meaning import NAME

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
EIGHT = {"max_tokens": 8, "stop": [], "ignore_eos": True}


def raw_events(server: Server, path: str, **fields: Any) -> bytes:
    asked = {"messages": user()} if path == CHAT else {"prompt": "Once upon a time"}
    answer = server.http.post(path, json={"model": NAME, **asked, **EIGHT, "stream": True, **fields})
    assert answer.status_code == 200
    return answer.content


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_every_event_is_one_data_line_and_a_blank_one(server: Server, path: str) -> None:
    events = raw_events(server, path).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    assert all(event.startswith(b"data: {") and b"\n" not in event for event in events[:-2])


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_a_stream_may_be_stored_by_nobody_and_has_no_length(server: Server, path: str) -> None:
    with server.http.stream("POST", path, json={"model": NAME, "prompt": "a", "stream": True, "max_tokens": 1}
                            if path == TEXT else {**server.asked(EIGHT), "stream": True}) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "content-length" not in answer.headers and "content-encoding" not in answer.headers
        answer.read()


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_all_chunks_have_one_head(server: Server, path: str) -> None:
    chunks = server.streamed(path, **EIGHT, **({"prompt": "Once upon a time"} if path == TEXT else {}))
    assert {chunk["model"] for chunk in chunks} == {NAME}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"text_completion" if path == TEXT else "chat.completion.chunk"}


def test_tokens_come_one_by_one(engine: Server) -> None:
    chunks = engine.streamed(**EIGHT)
    pieces = [c["choices"][0]["delta"].get("content") for c in chunks]
    assert 6 <= len([piece for piece in pieces if piece]) <= 8


def test_the_role_is_said_once_and_first(engine: Server) -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in engine.streamed(**EIGHT)]
    assert [n for n, delta in enumerate(deltas) if delta.get("role")] == [0]


def test_the_end_is_said_once_and_last(engine: Server) -> None:
    chunks = engine.streamed(**EIGHT, stream_options={"include_usage": True})
    assert finish(chunks) == "length"
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["choices"] == []


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_usage_counts_what_was_streamed(engine: Server, path: str) -> None:
    more: dict[str, Any] = {"prompt": "Once upon a time"} if path == TEXT else {}
    *_, last = engine.streamed(path, **EIGHT, **more, stream_options={"include_usage": True})
    whole = engine.complete(**EIGHT) if path == TEXT else engine.chat(**EIGHT)
    assert last["usage"]["completion_tokens"] == 8
    assert {k: last["usage"][k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")} \
        == {k: whole["usage"][k] for k in ("prompt_tokens", "completion_tokens", "total_tokens")}


@pytest.mark.parametrize("fields", [
    {}, {"stop": []}, {"stop": ["Paris"]}, {"stop": ["is Pa", "zzz"]}, {"stop": ["capital of", "France"]},
    {"stop": [" "]},
    {"stop": ["e"]}, {"stop": ["\n"]}, {"ignore_eos": True, "stop": []}, {"temperature": 1.2, "seed": 4},
    {"presence_penalty": 1.5, "stop": []}, {"repetition_penalty": 1.5, "stop": []},
    {"response_format": {"type": "json_object"}}, {"structured_outputs": {"choice": ["yes", "no way"]}},
    {"logprobs": True, "top_logprobs": 3, "stop": []},
], ids=json.dumps)
def test_streamed_is_the_same_text_and_end(engine: Server, fields: dict[str, Any]) -> None:
    asked = {"max_tokens": 10, **fields}
    whole, chunks = engine.chat(**asked), engine.streamed(**asked)
    assert joined(chunks) == text(whole)
    assert finish(chunks) == whole["choices"][0]["finish_reason"]


@pytest.mark.parametrize("fields", [{}, {"stop": [" a"]}, {"temperature": 1.1, "seed": 5}, {"logprobs": 2}],
                         ids=json.dumps)
def test_a_streamed_completion_is_the_same_too(engine: Server, fields: dict[str, Any]) -> None:
    asked = {"prompt": "Once upon a time", "max_tokens": 8, **fields}
    whole, chunks = engine.complete(**asked), engine.streamed(TEXT, **asked)
    assert joined(chunks) == text(whole)
    assert finish(chunks) == whole["choices"][0]["finish_reason"]


@pytest.mark.parametrize("stop", ["capital of France", "al of Fr", "France is", "Paris", "is", " is ",
                                  "The capital of France is P"])
def test_no_part_of_a_stop_string_leaks(engine: Server, stop: str) -> None:
    """The string may lie in many tokens, begin or end within one, or be the whole answer."""
    free = text(engine.chat(stop=[], max_tokens=8))
    assert stop in free
    chunks = engine.streamed(stop=[stop], max_tokens=8)
    assert joined(chunks) == free.partition(stop)[0]
    assert finish(chunks) == "stop"


def test_what_only_looked_like_a_stop_string_comes_after_all(engine: Server) -> None:
    free = text(engine.chat(stop=[], max_tokens=8))
    assert joined(engine.streamed(stop=["capital of Spain", "France was", "isn't"], max_tokens=8)) == free
    assert joined(engine.streamed(stop=[free + "?", "the end"], max_tokens=8)) == free


@pytest.mark.parametrize("said", ["👩‍👧🏳️‍🌈", "𝔘𝔫", "漢字", "nai\u0308ve", "ا\u064eل", "🇫🇷é"])
def test_a_character_of_several_tokens_comes_whole(engine: Server, said: str) -> None:
    """Forced by a grammar of one choice; each chunk is UTF-8 by itself, and nothing is replaced."""
    asked = {"structured_outputs": {"choice": [said]}, "max_tokens": 60}
    assert text(engine.chat(**asked)) == said
    chunks = engine.streamed(**asked)
    assert joined(chunks) == said
    assert not any("\ufffd" in (c["choices"][0]["delta"].get("content") or "") for c in chunks)


def test_a_character_that_is_cut_off_by_the_limit_is_no_broken_one(engine: Server) -> None:
    """The tokens of half a character are counted; what they say is shown alike, streamed or not."""
    asked = {"structured_outputs": {"choice": ["👩‍👩‍👧‍👦"]}, "max_tokens": 2}
    whole = engine.chat(**asked)
    assert whole["usage"]["completion_tokens"] == 2
    assert whole["choices"][0]["finish_reason"] == "length"
    said = whole["choices"][0]["message"]["content"]
    assert not (said or "").strip("\ufffd") and not joined(engine.streamed(**asked)).strip("\ufffd")
    engine.seen.note("half a character", said)


def test_several_streamed_choices_are_told_apart(engine: Server) -> None:
    asked = {"n": 3, "temperature": 1.2, "seed": 1, **EIGHT}
    whole = {c["index"]: c["message"]["content"] for c in engine.chat(**asked)["choices"]}
    found = {0: "", 1: "", 2: ""}
    ends = []
    for chunk in engine.streamed(**asked):
        for choice in chunk["choices"]:
            found[choice["index"]] += choice["delta"].get("content") or ""
            if choice["finish_reason"]:
                ends.append(choice["index"])
    assert found == whole
    assert sorted(ends) == [0, 1, 2]


def test_the_usage_of_several_choices_is_all_of_them(engine: Server) -> None:
    asked = {"temperature": 1.2, "seed": 1, **EIGHT}
    one, three = engine.chat(**EIGHT)["usage"], engine.chat(**asked, n=3)["usage"]
    assert three["prompt_tokens"] == one["prompt_tokens"]
    assert three["completion_tokens"] == 3 * one["completion_tokens"]
    *_, last = engine.streamed(**asked, n=3, stream_options={"include_usage": True})
    assert last["usage"]["completion_tokens"] == 24


def test_streamed_prompts_are_told_apart(engine: Server) -> None:
    asked = {"prompt": ["One two three", "Once upon a"], "max_tokens": 4, "stop": [], "ignore_eos": True}
    whole = {c["index"]: c["text"] for c in engine.complete(**asked)["choices"]}
    found = {0: "", 1: ""}
    for chunk in engine.streamed(TEXT, **asked):
        for choice in chunk["choices"]:
            found[choice["index"]] += choice["text"]
    assert found == whole


def test_a_client_may_leave_and_ask_again_many_times(engine: Server) -> None:
    for _ in range(4):
        with engine.stream(max_tokens=300, stop=[], ignore_eos=True) as chunks:
            next(chunks)
    assert text(engine.chat(fresh=True, max_tokens=8)) == text(engine.chat(max_tokens=8))
