"""Log-probabilities are shown as vLLM shows them."""

from __future__ import annotations

import math

from modelkit.llamacpp.jobs import Token, TokenLogprob
from modelkit.llamacpp.logprobs import LOWEST, ChatLogprobs, LegacyLogprobs


def token(piece: bytes, logprob: float | None = -1.0, *top: tuple[int, bytes, float], number: int = 1) -> Token:
    return Token(number, piece, logprob, tuple(TokenLogprob(*one) for one in top))


def test_a_chat_shows_the_token_first_and_then_the_likeliest_others() -> None:
    drawn = token(b"b", -2.0, (7, b"a", -0.5), (1, b"b", -2.0), (9, b"c", -3.0))
    (entry,) = ChatLogprobs(2).feed([drawn])["content"]
    assert (entry["token"], entry["logprob"], entry["bytes"]) == ("b", -2.0, [98])
    assert [one["token"] for one in entry["top_logprobs"]] == ["b", "a"]


def test_without_alternatives_there_are_none() -> None:
    (entry,) = ChatLogprobs(0).feed([token(b"b", -2.0, (7, b"a", -0.5))])["content"]
    assert entry["top_logprobs"] == []


def test_a_character_of_two_tokens_is_shown_by_the_second() -> None:
    content = ChatLogprobs(0).feed([token(b" \xe2"), token(b"\x80\x93"), token(b"x")])["content"]
    assert [one["token"] for one in content] == ["", " –", "x"]
    assert b"".join(bytes(one["bytes"]) for one in content) == " –x".encode()


def test_an_alternative_is_spelled_after_what_came_before() -> None:
    form = ChatLogprobs(2)
    form.feed([token(b"\xc3")])
    (entry,) = form.feed([token(b"\xa9", -1.0, (3, b"\xa8", -1.5))])["content"]
    assert [one["token"] for one in entry["top_logprobs"]] == ["é", "è"]


def test_bytes_that_are_no_character_are_shown_as_such_and_forgotten() -> None:
    content = ChatLogprobs(0).feed([token(b"\xff"), token(b"ok")])["content"]
    assert [one["token"] for one in content] == ["\ufffd", "ok"]


def test_a_completion_has_four_lists_in_step_across_chunks() -> None:
    form = LegacyLogprobs(1)
    first = form.feed([token(b"One", None), token(b" two", -0.5, (5, b" 2", -0.25))])
    assert first == {"text_offset": [0, 3], "tokens": ["One", " two"], "token_logprobs": [None, -0.5],
                     "top_logprobs": [None, {" two": -0.5, " 2": -0.25}]}
    assert form.feed([token(b"!", -0.1, (1, b"!", -0.1))])["text_offset"] == [7]


def test_a_completion_that_asks_for_no_alternatives_has_the_token_alone() -> None:
    said = LegacyLogprobs(0).feed([token(b"a", -1.0, (5, b"b", -0.25))])
    assert said["top_logprobs"] == [{"a": -1.0}]


def test_an_impossible_token_is_a_number_in_json() -> None:
    (entry,) = ChatLogprobs(1).feed([token(b"a", -math.inf)])["content"]
    assert entry["logprob"] == entry["top_logprobs"][0]["logprob"] == LOWEST
