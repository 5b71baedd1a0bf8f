"""What comes back has one form: streams, usage, log-probabilities, finish reasons; and who leaves is gone."""

from __future__ import annotations

import threading

import pytest

from tests.conformance.client import Server, joined, text, user
from tests.conformance.meaning import CONCURRENCY

LONG = {"max_tokens": 800, "ignore_eos": True, "stop": []}


def test_an_answer_has_openais_form(server: Server) -> None:
    answer = server.chat()
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert choice["logprobs"] is None
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert answer["id"] and isinstance(answer["created"], int)


def test_a_completion_has_openais_form(server: Server) -> None:
    answer = server.complete(max_tokens=3, stop=[])
    assert answer["object"] == "text_completion"
    assert isinstance(text(answer), str)
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_list_of_prompts_has_an_answer_each(server: Server) -> None:
    answer = server.complete(prompt=["One two", "Three four"], max_tokens=2)
    assert sorted(choice["index"] for choice in answer["choices"]) == [0, 1]


@pytest.mark.parametrize("fields", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}],
                         ids=str)
def test_a_stream_without_being_asked_has_no_usage(server: Server, fields: dict) -> None:
    chunks = server.streamed(**fields)
    assert all(chunk.get("usage") is None for chunk in chunks)
    assert all(len(chunk["choices"]) == 1 for chunk in chunks)
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)


def test_a_stream_that_is_asked_ends_with_its_usage(server: Server) -> None:
    *chunks, last = server.streamed(stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"] == server.chat()["usage"] | last["usage"]
    assert all(chunk.get("usage") is None for chunk in chunks)


def test_the_first_chunk_says_the_role_and_the_last_the_reason(server: Server) -> None:
    chunks = server.streamed()
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [bool(c["choices"][0]["finish_reason"]) for c in chunks].index(True) == len(chunks) - 1
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_a_stream_has_a_chunk_before_it_has_an_end(server: Server) -> None:
    with server.stream(**LONG) as chunks:
        first = next(chunks)
        assert first["choices"][0]["finish_reason"] is None
    assert joined([first]) != " ".join(["x"] * 800)


def test_log_probabilities_come_with_bytes_and_spell_the_answer(server: Server) -> None:
    answer = server.chat(logprobs=True, top_logprobs=2, stop=[], max_tokens=6)
    content = answer["choices"][0]["logprobs"]["content"]
    assert len(content) == answer["usage"]["completion_tokens"] == 6
    assert bytes(b for token in content for b in token["bytes"]).decode() == text(answer)
    for token in content:
        assert token["logprob"] <= 0
        assert len(token["top_logprobs"]) == 2
        assert all(set(one) == {"token", "logprob", "bytes"} for one in token["top_logprobs"])
    assert server.chat()["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("fields", [{}, {"top_logprobs": 0}], ids=str)
def test_log_probabilities_without_alternatives_have_none(server: Server, fields: dict) -> None:
    answer = server.chat(logprobs=True, stop=[], max_tokens=3, **fields)
    assert [token["top_logprobs"] for token in answer["choices"][0]["logprobs"]["content"]] == [[], [], []]


def test_streamed_log_probabilities_are_the_same(server: Server) -> None:
    fields = {"logprobs": True, "top_logprobs": 1, "stop": [], "max_tokens": 4}
    streamed = [token["token"] for chunk in server.streamed(**fields) for choice in chunk["choices"]
                for token in (choice.get("logprobs") or {"content": []})["content"]]
    whole = server.chat(**fields)["choices"][0]["logprobs"]["content"]
    assert streamed == [token["token"] for token in whole]


def test_a_client_that_goes_away_frees_its_slot_at_once(server: Server) -> None:
    """All slots are taken by long answers; one client leaves, and a short question is answered before another ends."""
    ended = threading.Event()
    started = threading.Event()

    def listen() -> None:
        with server.stream(**LONG) as chunks:
            for _ in chunks:
                started.set()
        ended.set()

    others = [threading.Thread(target=listen) for _ in range(CONCURRENCY - 1)]
    with server.stream(**LONG) as chunks:
        next(chunks)
        for other in others:
            other.start()
        assert started.wait(60)
    try:
        server.chat(max_tokens=2)
        assert not ended.is_set(), "the short question had to wait for a long answer"
    finally:
        for other in others:
            other.join(timeout=120)


def test_a_client_that_does_not_stream_and_goes_away_frees_it_too(server: Server) -> None:
    import httpx

    ended, started = threading.Event(), threading.Event()

    def listen() -> None:
        with server.stream(**LONG) as chunks:
            for _ in chunks:
                started.set()
        ended.set()

    other = threading.Thread(target=listen)
    other.start()
    assert started.wait(60)
    with pytest.raises(httpx.ReadTimeout):
        server.http.post("/v1/chat/completions", json=server.asked({**LONG, "messages": user("Tell me a story.")}),
                         timeout=httpx.Timeout(30, read=0.7))
    try:
        server.chat(max_tokens=2)
        assert not ended.is_set(), "the short question had to wait for a long answer"
    finally:
        other.join(timeout=120)
