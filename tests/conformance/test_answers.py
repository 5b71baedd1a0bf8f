"""What comes back has one form: streams, usage, log-probabilities, finish reasons; and who leaves is gone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import httpx
import pytest

from tests.conformance.client import Server, joined, text
from tests.conformance.meaning import CONCURRENCY

LONG = {"max_tokens": 400, "ignore_eos": True, "stop": []}


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
    whole = server.chat()["usage"]
    assert all(last["usage"][name] == whole[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
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
    assert joined([first]) != " ".join(["x"] * 400)


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


def test_a_completions_log_probabilities_are_four_lists_in_step(server: Server) -> None:
    for asked in (0, 2):
        answer = server.complete(logprobs=asked, max_tokens=3, stop=[], ignore_eos=True)
        said = answer["choices"][0]["logprobs"]
        assert "".join(said["tokens"]) == text(answer)
        assert {len(said[name]) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")} == {3}
        assert all(found[token] == logprob and len(found) in (max(1, asked), asked + 1) for token, logprob, found
                   in zip(said["tokens"], said["token_logprobs"], said["top_logprobs"], strict=True))
    assert server.complete(max_tokens=3)["choices"][0]["logprobs"] is None


@dataclass
class LongAnswer:
    """A client that listens to a long answer until it is told to leave; `ended` says that the answer came first."""

    server: Server
    heard: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)
    ended: bool = False

    def __enter__(self) -> LongAnswer:
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()
        assert self.heard.wait(60)
        return self

    def __exit__(self, *exception: object) -> None:
        self.enough.set()
        self.thread.join(timeout=60)

    def listen(self) -> None:
        with self.server.stream(**LONG) as chunks:
            for _ in chunks:
                self.heard.set()
                if self.enough.is_set():
                    return
        self.ended = True


def test_a_client_that_goes_away_frees_its_slot_at_once(server: Server) -> None:
    """Long answers take both slots; one client leaves, and a short question is answered before the other's end."""
    assert CONCURRENCY == 2
    with LongAnswer(server) as other:
        with server.stream(**LONG) as chunks:
            next(chunks)
        server.chat(max_tokens=2)
        assert not other.ended, "the short question had to wait for a long answer"


def test_a_client_that_does_not_stream_and_goes_away_frees_it_too(server: Server) -> None:
    with LongAnswer(server) as other:
        with pytest.raises(httpx.ReadTimeout):
            server.http.post("/v1/chat/completions", json=server.asked(LONG), timeout=httpx.Timeout(30, read=0.7))
        server.chat(max_tokens=2)
        assert not other.ended, "the short question had to wait for a long answer"
