"""The context: what fits, what does not, and how an answer ends there"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conformance.client import Server, envelope, finish, text, user
from tests.conformance.meaning import CONTEXT, NAME

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
FREE: dict[str, Any] = {"stop": [], "ignore_eos": True}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [CONTEXT, CONTEXT + 1, 2 * CONTEXT, 20 * CONTEXT])
def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(engine: Server, tokens: int, stream: bool) -> None:
    asked = {"model": NAME, "prompt": [300] * tokens, "stream": stream, "max_tokens": 1}
    error = envelope(engine.post(TEXT, asked), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    assert {str(tokens), str(CONTEXT)} <= set(re.findall(r"\d+", error["message"]))


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_that_does_not_fit_too(engine: Server, stream: bool) -> None:
    turns = [one for _ in range(60) for one in (*user("Tell me a long story."),
                                                {"role": "assistant", "content": "No, not now."})]
    asked = {"model": NAME, "messages": [*turns, *user()], "stream": stream}
    error = envelope(engine.post(CHAT, asked), 400)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert str(CONTEXT) in error["message"]


def test_one_of_several_prompts_that_does_not_fit_fails_all(engine: Server) -> None:
    asked = {"model": NAME, "prompt": [[300, 301], [300] * (CONTEXT + 1)], "max_tokens": 1}
    assert envelope(engine.post(TEXT, asked), 400)["code"] == "context_length_exceeded"


@pytest.mark.parametrize("room", [1, 2, 7])
def test_an_answer_ends_where_the_context_does(engine: Server, room: int) -> None:
    """Never a 400 because `max_tokens` is larger than what is left, and never a context that slides."""
    answer = engine.complete(prompt=[300] * (CONTEXT - room), max_tokens=30, **FREE)
    assert answer["usage"]["prompt_tokens"] == CONTEXT - room
    assert answer["usage"]["completion_tokens"] == room
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_streamed_answer_ends_there_too(engine: Server) -> None:
    *chunks, last = engine.streamed(TEXT, prompt=[300] * (CONTEXT - 3), max_tokens=30, **FREE,
                                    stream_options={"include_usage": True})
    assert finish(chunks) == "length"
    assert last["usage"]["completion_tokens"] == 3


def test_a_default_limit_is_cut_to_what_is_left(engine: Server) -> None:
    answer = engine.complete(prompt=[300] * (CONTEXT - 2), **FREE)
    assert answer["usage"]["completion_tokens"] == 2


def test_a_refusal_costs_the_next_one_nothing(engine: Server) -> None:
    for _ in range(5):
        assert engine.post(TEXT, {"model": NAME, "prompt": [300] * (CONTEXT + 5)}).status_code == 400
    assert text(engine.chat(max_tokens=4, fresh=True)) == text(engine.chat(max_tokens=4))


@pytest.mark.parametrize("prompt", [[49152], [300, 2**31 - 1], [[300], [60_000]]], ids=str)
def test_a_token_that_the_vocabulary_has_not(engine: Server, prompt: object) -> None:
    answer = engine.post(TEXT, {"model": NAME, "prompt": prompt, "max_tokens": 1})
    assert answer.status_code == 400, answer.text
    envelope(answer, 400)
    engine.complete(max_tokens=1)


@pytest.mark.parametrize("prompt", ["a", " ", "\n", "é", "👍", "\u0000", "<|im_end|>", "\ufeff", [0], [1, 2, 3],
                                    [[300], [301]],
                                    ["a", "b", "c"]], ids=ascii)
def test_a_prompt_may_be_anything_but_nothing(engine: Server, prompt: Any) -> None:
    answer = engine.complete(prompt=prompt, max_tokens=1, **FREE)
    several = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
    assert len(answer["choices"]) == several
    assert answer["usage"]["completion_tokens"] == several
    engine.seen.note("prompt tokens", answer["usage"]["prompt_tokens"])


def test_token_ids_are_the_prompt_that_they_spell(engine: Server) -> None:
    ids = engine.tokenize(prompt="Once upon a time")["tokens"]
    spelled, said = engine.complete(prompt=ids, max_tokens=5, **FREE), engine.complete(max_tokens=5, **FREE)
    assert (text(spelled), spelled["usage"]) == (text(said), said["usage"])
