"""Sampling: seeds, penalties, biases and cuts"""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.conformance.client import Server, text

WILD: dict[str, Any] = {"temperature": 1.5, "top_p": 1, "top_k": 0, "max_tokens": 6, "stop": []}


def tokens_of(engine: Server, *words: str) -> list[int]:
    return [engine.tokenize(prompt=word, add_special_tokens=False)["tokens"][0] for word in words]


@pytest.mark.parametrize("seed", [0, 1, 7, -5, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])
def test_a_seed_repeats_itself(engine: Server, seed: int) -> None:
    one = engine.complete(**{**WILD, "max_tokens": 4}, seed=seed, fresh=True)
    assert text(one) == text(engine.complete(**{**WILD, "max_tokens": 4}, seed=seed, fresh=True))


def test_other_seeds_say_other_things(engine: Server) -> None:
    assert len({text(engine.complete(**WILD, seed=seed)) for seed in range(5)}) >= 4


def test_without_a_seed_the_modelfiles_is_used(engine: Server) -> None:
    assert text(engine.complete(**WILD)) == text(engine.complete(**WILD, seed=7))


def test_a_seed_of_minus_one_is_none(engine: Server) -> None:
    assert len({text(engine.complete(**WILD, seed=-1, fresh=True)) for _ in range(5)}) >= 3


def test_choices_of_one_seed_differ_and_repeat(engine: Server) -> None:
    one, again = (engine.complete(**WILD, seed=3, n=4, fresh=True) for _ in range(2))
    said = [choice["text"] for choice in sorted(one["choices"], key=lambda c: c["index"])]
    assert len(set(said)) >= 3
    assert said == [choice["text"] for choice in sorted(again["choices"], key=lambda c: c["index"])]


def test_several_greedy_choices_are_one_answer_several_times(engine: Server) -> None:
    answer = engine.chat(n=3, temperature=0, max_tokens=4, stop=[])
    assert {choice["message"]["content"] for choice in answer["choices"]} == {text(engine.chat(max_tokens=4, stop=[]))}


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1}, {"temperature": 1e-4}], ids=str)
def test_cuts_to_one_token_are_greedy(engine: Server, fields: dict[str, Any]) -> None:
    greedy = text(engine.complete(temperature=0, max_tokens=5, stop=[]))
    assert text(engine.complete(**{**WILD, "max_tokens": 5, **fields}, seed=1)) == greedy


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_of_nothing_cuts_nothing(engine: Server, top_k: int) -> None:
    said = {text(engine.complete(**{**WILD, "max_tokens": 4, "temperature": 2, "top_k": top_k},
                                 seed=s)) for s in range(4)}
    assert len(said) == 4


@pytest.mark.parametrize(("fields", "rank", "part"), [
    ({"top_k": 5}, 5, 0.0), ({"top_p": 0.01}, 1, 0.0), ({"min_p": 0.2}, 20, 0.2)], ids=["top_k", "top_p", "min_p"])
def test_a_cut_leaves_likely_tokens_only(engine: Server, fields: dict[str, Any], rank: int, part: float) -> None:
    """By what the model itself says of the alternatives: how many are likelier, and how much likelier the first is."""
    asked = {**WILD, "temperature": 1, "max_tokens": 5, "logprobs": 20, "seed": 5, **fields}
    said = engine.complete(**asked)["choices"][0]["logprobs"]
    for token, logprob, top in zip(said["tokens"], said["token_logprobs"], said["top_logprobs"], strict=True):
        assert sum(value > logprob for value in top.values()) < rank, token
        assert math.exp(logprob - max(top.values())) >= part - 1e-3, token


def test_a_banned_token_is_not_said(engine: Server) -> None:
    greedy = engine.chat(max_tokens=1, stop=[], logprobs=True, top_logprobs=2)["choices"][0]
    (banned,) = tokens_of(engine, text({"choices": [greedy]}))
    other = engine.chat(max_tokens=1, stop=[], logit_bias={str(banned): -100})
    assert text(other) == greedy["logprobs"]["content"][0]["top_logprobs"][1]["token"]


def test_a_forced_token_is_said_alone(engine: Server) -> None:
    (forced,) = tokens_of(engine, " zebra")
    answer = engine.complete(max_tokens=3, stop=[], ignore_eos=True, logit_bias={str(forced): 100})
    assert set(text(answer).split()) <= {"zebra", "z", "ze"} and len(answer["choices"][0]["text"]) > 2


def test_several_biases_hold_together(engine: Server) -> None:
    heads, tails = tokens_of(engine, " red", " blue")
    said = {text(engine.complete(**{**WILD, "max_tokens": 1}, seed=s, logit_bias={str(heads): 100, str(tails): 100}))
            for s in range(6)}
    assert said <= {" red", " blue"}


def test_a_bias_of_zero_changes_nothing(engine: Server) -> None:
    assert text(engine.chat(max_tokens=5, stop=[], logit_bias={"100": 0})) == text(engine.chat(max_tokens=5, stop=[]))


def test_a_bias_for_a_token_that_is_none(engine: Server) -> None:
    answer = engine.post("/v1/chat/completions", engine.asked({"logit_bias": {"49152": 1}, "max_tokens": 1}))
    engine.seen.note("bias beyond the vocabulary", answer.status_code)
    assert answer.status_code in (200, 400)


REPEATS: dict[str, Any] = {"prompt": "echo echo echo echo echo echo echo echo", "max_tokens": 6, "stop": [],
                           "ignore_eos": True, "temperature": 0}


def test_without_penalties_a_prompt_is_repeated(engine: Server) -> None:
    assert text(engine.complete(**REPEATS)).count("echo") >= 5


def test_a_repetition_penalty_looks_at_the_prompt_too(engine: Server) -> None:
    said = text(engine.complete(**REPEATS, repetition_penalty=2))
    assert not said.startswith(" echo")


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_the_other_penalties_make_repeating_rarer(engine: Server, name: str) -> None:
    said = text(engine.complete(**{**REPEATS, "max_tokens": 12}, **{name: 2}))
    engine.seen.note(f"{name} looks at the prompt", not said.startswith(" echo"))
    assert said.count("echo") < 12


@pytest.mark.parametrize("fields", [{"presence_penalty": -2}, {"frequency_penalty": -2}, {"repetition_penalty": 0.5}],
                         ids=str)
def test_a_negative_penalty_makes_it_likelier(engine: Server, fields: dict[str, Any]) -> None:
    assert text(engine.complete(**REPEATS, **fields)).count("echo") >= 5


def test_ignore_eos_goes_on_to_the_limit(engine: Server) -> None:
    answer = engine.chat(max_tokens=14, stop=[], ignore_eos=True)
    assert (answer["usage"]["completion_tokens"], answer["choices"][0]["finish_reason"]) == (14, "length")
    ended = engine.chat(max_tokens=14, stop=[])
    assert (ended["usage"]["completion_tokens"], ended["choices"][0]["finish_reason"]) == (8, "stop")


def test_the_token_that_ends_an_answer_is_counted_and_not_shown(engine: Server) -> None:
    ended = engine.chat(max_tokens=14, stop=[], logprobs=True, top_logprobs=0)
    assert text(ended).endswith(".")
    engine.seen.note("the end is among the log-probabilities",
                     len(ended["choices"][0]["logprobs"]["content"]) == ended["usage"]["completion_tokens"])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_max_tokens_is_exact(engine: Server, count: int) -> None:
    for answer in (engine.chat(max_tokens=count, stop=[], ignore_eos=True),
                   engine.complete(max_tokens=count, stop=[], ignore_eos=True)):
        assert answer["usage"]["completion_tokens"] == count
        assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", [["Paris"], "Paris", ["Paris", "zzz"], [" Paris."], ["The"], ["T"]], ids=str)
def test_a_stop_string_is_not_part_of_the_answer(engine: Server, stop: Any) -> None:
    free = text(engine.chat(stop=[], max_tokens=8))
    answer = engine.chat(stop=stop, max_tokens=8)
    words = [stop] if isinstance(stop, str) else stop
    assert text(answer) == free[: min(at for w in words if (at := free.find(w)) >= 0)]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_the_first_of_several_stop_strings_wins(engine: Server) -> None:
    free = text(engine.chat(stop=[], max_tokens=8))
    assert text(engine.chat(stop=["Paris", "France", "capital"], max_tokens=8)) == free.partition("capital")[0]


def test_stop_strings_know_no_patterns_and_mind_the_case(engine: Server) -> None:
    free = text(engine.chat(stop=[], max_tokens=8))
    for stop in (".*", "paris", "[a-z]", "^", "$"):
        assert text(engine.chat(stop=[stop], max_tokens=8)) == free


def test_a_stop_string_in_the_prompt_stops_nothing(engine: Server) -> None:
    assert text(engine.complete(prompt="Stop here. Stop here. Stop", stop=["Stop here"], max_tokens=3, ignore_eos=True))
