"""Guesses are what a plain search finds, and a draft model stays in step with what was said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit.llamacpp.computing import DONE, NO_ROOM, LlamaError
from modelkit.llamacpp.speculation import LEAST, MOST, Draft, NGram, expect_same
from tests.unit.llamacpp.vocabularies import Bytes


def looked_up(tokens: list[int], most: int) -> list[int]:
    """vLLM's ngram proposer, said plainly: the longest suffix that was there before, its earliest place."""
    for length in range(MOST, LEAST - 1, -1):
        suffix = tokens[len(tokens) - length:]
        for start in range(len(tokens) - length):
            if len(suffix) == length and tokens[start:start + length] == suffix:
                return tokens[start + length:start + length + most]
    return []


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 6))
def test_the_longest_run_that_was_there_before_tells_what_follows(tokens, most) -> None:
    assert NGram().propose(tokens, most) == looked_up(tokens, most)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=5), max_size=80))
def test_it_goes_on_as_the_sequence_grows(parts) -> None:
    one, tokens = NGram(), []
    for part in parts:
        tokens += part
        assert one.propose(tokens, 3) == looked_up(tokens, 3)


class Model:
    """A context whose model says that after a token comes the next higher one, surely below 90."""

    def __init__(self, tokens: int = 64, sequences: int = 2) -> None:
        self.tokens, self.sequences, self.batch_tokens = tokens, sequences, 8
        self.memory, self.size, self.steps = self, 0, 0
        self.cells: dict[int, list[int]] = {one: [] for one in range(sequences)}

    def batch(self) -> Model:
        return self

    def clear(self) -> None:
        self.size = 0

    def add(self, tokens, position, sequence, outputs) -> int:
        assert len(tokens) <= self.batch_tokens
        assert position == len(self.cells[sequence])
        self.given, self.to, self.size = list(tokens), sequence, len(tokens)
        return 0

    def decode(self, batch) -> int:
        if sum(map(len, self.cells.values())) + self.size > self.tokens:
            return NO_ROOM
        self.cells[self.to] += self.given
        self.steps += 1
        return DONE

    def logits(self, index):
        scores = np.zeros(Bytes().size, np.float32)
        after = self.given[index]
        scores[after + 1] = 20 if after + 1 < 90 else 1
        return scores

    def remove(self, sequence, start=0, end=-1) -> bool:
        del self.cells[sequence][start:]
        return True

    def copy(self, source, target, end) -> None:
        assert self.cells[target] == []
        self.cells[target] = self.cells[source][:end]

    def end(self, sequence) -> int:
        return len(self.cells[sequence])

    def use(self, adapter) -> None: ...
    def resume(self) -> None: ...


def test_a_draft_says_what_it_would_say_and_keeps_what_turned_out_right() -> None:
    model = Model()
    one = Draft(model, Bytes(), Bytes()).sequence()
    assert one.propose([10, 11, 12], 4) == [13, 14, 15, 16]
    steps = model.steps
    assert one.propose([10, 11, 12, 13, 14, 50], 2) == [51, 52]
    assert model.cells[0] == [10, 11, 12, 13, 14, 50, 51]
    assert model.steps == steps + 2


def test_a_draft_that_is_not_sure_says_less() -> None:
    one = Draft(Model(), Bytes(), Bytes()).sequence()
    assert one.propose([87], 4) == [88, 89]
    assert one.propose([95], 4) == []
    assert one.propose([], 4) == one.propose([1], 0) == []


def test_long_prompts_come_in_parts_and_are_shared() -> None:
    model = Model()
    draft = Draft(model, Bytes(), Bytes())
    draft.sequence().propose(list(range(20)), 1)
    assert model.steps == 3
    draft.sequence().propose([*range(20), 40], 1)
    assert model.steps == 4
    assert model.cells[1] == [*range(20), 40]


def test_who_was_idle_for_longest_makes_room() -> None:
    model = Model(tokens=24, sequences=2)
    draft = Draft(model, Bytes(), Bytes())
    first, second, third = draft.sequence(), draft.sequence(), draft.sequence()
    assert first.propose([1, 2], 2) == [3, 4]
    assert second.propose([30, 31], 2) == [32, 33]
    assert third.propose([60, 61], 2) == [62, 63]  # the first one's place
    assert first.propose([1, 2, 3], 2) == [4, 5]  # the second one's
    assert third.propose(list(range(40, 60)), 2) == [60, 61]  # the first one's cells
    assert model.cells == {0: [*range(40, 60), 60], 1: []}
    assert second.propose([30, 31], 1) == [32]


def test_without_room_there_is_no_guess() -> None:
    model = Model(tokens=10, sequences=1)
    one = Draft(model, Bytes(), Bytes()).sequence()
    assert one.propose(list(range(12)), 2) == []
    assert one.propose([1], 1) == [2]


def test_a_draft_model_with_other_tokens_is_refused_in_one_sentence() -> None:
    other, larger, padded = Bytes(), Bytes(), Bytes()
    other.pieces = (*other.pieces[:65], b"?", *other.pieces[66:])
    larger.size += 200
    padded.pieces, padded.size = (*padded.pieces, b""), padded.size + 1
    expect_same(padded, Bytes())
    with pytest.raises(LlamaError, match=r"token 65 is '\?' and the model's 'A': it must be of the same family"):
        Draft(Model(), other, Bytes())
    with pytest.raises(LlamaError, match=r"tokens and the model \d+: it must be of the same family"):
        expect_same(larger, Bytes())
