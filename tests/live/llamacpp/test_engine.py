"""The engine's promises on the real model; `trial` makes the facts, in a Python that has llama-cpp-python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.llamacpp.process import ROOT, gguf, python

pytestmark = pytest.mark.live_llamacpp

UNSURE = 0.5
"""Nats between the two likeliest tokens below which other companions in the batch may turn a choice: sums are rounded
in another order there. Measured on processors; it is the only way in which answers part.
"""

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def facts() -> Facts:
    done = subprocess.run([python(), str(Path(__file__).with_name("trial.py")), gguf()], capture_output=True,
                          text=True, timeout=280, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("how", ["batch", "guessed", "squeezed", "adapters"])
def test_answers_are_those_given_alone(facts: Facts, how: str) -> None:
    found = facts[how]
    assert found["surest"] < UNSURE, found
    assert found["equal"] > 0 or how == "squeezed", found


def test_preempted_answers_came_to_an_end_and_left_nothing(facts: Facts) -> None:
    assert facts["squeezed"]["preemptions"] > 0
    assert facts["squeezed"]["busy"] == 0


def test_guesses_were_made_and_some_were_right(facts: Facts) -> None:
    assert 0 < facts["guessed"]["accepted"] <= facts["guessed"]["drafted"]


def test_adapters_are_other_models_and_one_that_does_not_fit_is_refused(facts: Facts) -> None:
    assert len(set(facts["adapters"]["texts"])) == 3
    assert "the adapter bad does not fit" in facts["adapters"]["refused"]


def test_without_caching_nothing_is_kept(facts: Facts) -> None:
    assert facts["kept"] == 0


def test_what_was_computed_before_is_used_again(facts: Facts) -> None:
    found = facts["prefixes"]
    first, again, other, turn = found["cached"]
    assert first < 10
    assert again == found["prompt"] - 1
    assert other > 150
    assert turn >= found["prompt"]
    assert found["same"] < UNSURE


def test_choices_are_what_their_seeds_give_alone(facts: Facts) -> None:
    found = facts["prefixes"]
    # Alone and beside each other they are computed at different places of the cache: a last bit may decide a token.
    assert sum(one[0] == other[0] for one, other in zip(found["choices"], found["singles"], strict=True)) >= 2
    assert len(set(map(tuple, found["choices"]))) == 3


def test_who_leaves_frees_the_place(facts: Facts) -> None:
    found = facts["leaving"]
    assert (found["left"], found["running"]) == (0, [0, 0])
    assert "Paris" in found["after"]


def test_what_does_not_fit_is_refused_with_both_numbers(facts: Facts) -> None:
    first, second, empty, beyond, negative = facts["limits"]["refused"]
    assert first == [400, "context_length_exceeded",
                     "the prompt has 448 tokens; this model's context length is 448 tokens"]
    assert "948" in second[2]
    assert {empty[1], beyond[1], negative[1]} == {"invalid_value"}


def test_a_full_context_ends_an_answer(facts: Facts) -> None:
    assert facts["limits"]["drawn"] == [1, 20]
    assert facts["limits"]["finish"] == [{"0": "length"}, {"0": "length"}]


def test_a_prompt_is_scored_as_it_was_drawn(facts: Facts) -> None:
    found = facts["scores"]
    assert found["first"] is None
    assert found["length"] == 0
    assert found["read"] == pytest.approx(found["drawn"], abs=0.1)


def test_streams_go_on_while_a_long_prompt_is_read(facts: Facts) -> None:
    found = facts["between"]
    assert found["longest"] < found["first"] / 2
