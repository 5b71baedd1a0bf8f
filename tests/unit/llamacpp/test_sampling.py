"""Drawing means what vLLM means: against a plain reference in its order, by whole distributions and by single steps."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.distribution import draw, measured, prompt_logprobs, top
from modelkit.llamacpp.grammar import Grammars, compiled
from modelkit.llamacpp.jobs import Sampling
from modelkit.llamacpp.sampling import Sampler, expect_known
from tests.unit.llamacpp.vocabularies import Bytes

VOCABULARY = Bytes()
GRAMMARS = Grammars(VOCABULARY)


class Logits:
    """A context with one row for everything."""

    def __init__(self, scores) -> None:
        self.row = np.array(scores, np.float32)

    def logits(self, index: int) -> np.ndarray:
        return self.row


def some(size: int = VOCABULARY.size, seed: int = 0, spread: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)


def probabilities(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """vLLM's steps, each over the whole vocabulary: temperature, min_p, top_k, top_p."""
    x = scores.astype(np.float64) / max(sampling.temperature, 0.01)
    p = np.exp(x - x.max())
    x[p < sampling.min_p * p.max()] = -np.inf
    if sampling.top_k:
        x[x < np.sort(x)[::-1][min(sampling.top_k, len(x)) - 1]] = -np.inf
    p = np.exp(x - x.max()) / np.exp(x - x.max()).sum()
    order = np.argsort(p, kind="stable")  # the least likely first
    out = np.cumsum(p[order]) <= 1 - sampling.top_p
    out[-1] = False
    p[order[out]] = 0
    return p / p.sum()


CUTS = [
    {}, {"temperature": 0.5}, {"temperature": 1.7}, {"temperature": 0.0001}, {"top_k": 1}, {"top_k": 5},
    {"top_k": 100_000}, {"top_p": 0.5}, {"top_p": 0.95}, {"top_p": 0.0001}, {"min_p": 0.1}, {"min_p": 1.0},
    {"top_k": 20, "top_p": 0.8}, {"min_p": 0.02, "top_p": 0.9, "temperature": 1.3},
    {"top_k": 7, "min_p": 0.05, "top_p": 0.7, "temperature": 0.8},
]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("size", [40, VOCABULARY.size, 5000])
def test_each_chance_falls_on_the_token_that_it_should(cut, size) -> None:
    """Chances from 0 to 1 in even steps meet each token as often as it is likely, within a step for each end."""
    sampling, scores, steps = Sampling(**cut), some(size), 4000
    drawn = Counter(draw(scores, sampling, (step + 0.5) / steps) for step in range(steps))
    expected = probabilities(scores, sampling)
    for token in range(size):
        assert abs(drawn[token] / steps - expected[token]) <= 1.5 / steps, token
    assert all(expected[token] > 0 for token in drawn)


def test_drawn_at_random_it_is_the_distribution_of_the_reference() -> None:
    sampling = Sampling(temperature=0.9, top_k=12, top_p=0.95, seed=11)
    scores, count = some(300, spread=1.0), 20_000
    sampler = Sampler(sampling, VOCABULARY, ())
    drawn = Counter(sampler.pick(Logits(scores), 0).id for _ in range(count))
    expected = probabilities(scores, sampling) * count
    kept = expected > 0
    assert set(drawn) <= set(np.flatnonzero(kept))
    chi = sum((drawn[int(token)] - expected[token]) ** 2 / expected[token] for token in np.flatnonzero(kept))
    assert chi < 2.5 * kept.sum()  # 10 degrees of freedom: one in a million


@pytest.mark.parametrize("size", [1, 2, 31, 64, 65, 700])
def test_small_vocabularies_and_both_ends_of_chance(size) -> None:
    scores = some(size)
    for chance in (0.0, np.nextafter(1.0, 0)):
        for cut in CUTS:
            assert probabilities(scores, Sampling(**cut))[draw(scores, Sampling(**cut), chance)] > 0
    assert draw(scores, Sampling(temperature=0), 0.7) == int(scores.argmax())


def test_ties_are_cut_as_in_vllm() -> None:
    scores = np.array([1, 2, 2, 2, 0], np.float32)
    assert {draw(scores, Sampling(top_k=2), step / 100) for step in range(100)} == {1, 2, 3}
    assert draw(scores, Sampling(temperature=0), 0.9) == 1
    assert draw(np.full(7, -np.inf, np.float32), Sampling(), 0.5) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 20, 300, 700])
def test_the_largest_are_found_without_sorting(count) -> None:
    for scores in (some(700), np.round(some(700)), np.zeros(700, np.float32), some(20_000), some(20_011)):
        expected = sorted(range(len(scores)), key=lambda one: (-scores[one], one))[:count]
        assert top(scores, count).tolist() == expected


def test_impossible_tokens_fill_up_the_likeliest() -> None:
    scores = np.full(50, -np.inf, np.float32)
    scores[[7, 3]] = 1, 2
    assert top(scores, 5).tolist() == [3, 7, 0, 1, 2]
    assert measured(scores, 3, 3, VOCABULARY.pieces).top[2].logprob == -math.inf


def test_a_seed_is_one_sequence_of_tokens_and_each_choice_has_its_own() -> None:
    def drawn(choice: int = 0, **fields) -> list[int]:
        sampler = Sampler(Sampling(**fields), VOCABULARY, (), choice=choice)
        return [sampler.pick(Logits(some(seed=step, spread=1)), step).id for step in range(20)]

    assert drawn(seed=5) == drawn(seed=5)
    assert drawn(seed=5, choice=2) == drawn(seed=7)
    assert drawn(seed=5) != drawn(seed=6)
    assert drawn(seed=-2) != drawn(seed=2)
    assert drawn(seed=2**63 - 1, choice=1) == drawn(seed=-(2**63))
    assert drawn() != drawn()
    assert drawn(seed=-1) != drawn(seed=-1)


def test_a_seed_takes_no_notice_of_others_nor_of_what_is_asked_besides() -> None:
    def drawn(beside: int, **more) -> list[int]:
        one = Sampler(Sampling(seed=3), VOCABULARY, (), **more)
        others = [Sampler(Sampling(seed=9), VOCABULARY, ()) for _ in range(beside)]
        said = []
        for step in range(20):
            for other in others:
                other.pick(Logits(some(seed=100 + step)), 0)
            said.append(one.pick(Logits(some(seed=step)), 0).id)
        return said

    assert drawn(0) == drawn(3) == drawn(1, logprobs=5)


def reference(scores, prompt, answer, sampling) -> np.ndarray:
    """vLLM's penalties (`model_executor/layers/utils.py`), after the bias."""
    x = scores.astype(np.float64).copy()
    for token, amount in sampling.logit_bias.items():
        x[token] += amount
    for token in set(prompt) | set(answer):
        x[token] = x[token] / sampling.repetition_penalty if x[token] > 0 else x[token] * sampling.repetition_penalty
    for token, count in Counter(answer).items():
        x[token] -= sampling.frequency_penalty * count + sampling.presence_penalty
    return x


@pytest.mark.parametrize("penalties", [
    {"repetition_penalty": 1.3}, {"repetition_penalty": 0.7}, {"presence_penalty": 1.5}, {"frequency_penalty": 0.4},
    {"frequency_penalty": -1.0}, {"logit_bias": {5: 7.5, 9: -100.0}},
    {"repetition_penalty": 1.2, "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {3: 2.0, 4: -3.0}},
])
def test_penalties_and_biases_are_those_of_the_reference(penalties) -> None:
    sampling = Sampling(temperature=0, **penalties)
    prompt, answer = [1, 1, 2, 3, 250], []
    sampler = Sampler(sampling, VOCABULARY, prompt)
    for step in range(150):
        scores = some(seed=step % 7)
        context = Logits(scores)
        token = sampler.pick(context, 0).id
        expected = reference(scores, prompt, answer, sampling)
        assert expected[token] == pytest.approx(expected.max(), abs=1e-5)
        assert (context.row == scores).all()
        answer.append(token)


def test_the_end_is_not_drawn_where_it_is_ignored() -> None:
    scores = np.zeros(VOCABULARY.size, np.float32)
    scores[list(VOCABULARY.ends)] = 50
    assert Sampler(Sampling(temperature=0), VOCABULARY, ()).pick(Logits(scores), 0).id in VOCABULARY.ends
    ignoring = Sampler(Sampling(ignore_eos=True, seed=1), VOCABULARY, ())
    assert not {ignoring.pick(Logits(scores), 0).id for _ in range(200)} & VOCABULARY.ends
    done = Sampler(Sampling(ignore_eos=True), VOCABULARY, (), matcher=matcher("choice", ["y"]))
    assert [done.pick(Logits(scores), 0).id, done.pick(Logits(scores), 0).id in VOCABULARY.ends] == [ord("y"), True]


def matcher(kind, value, after=()):
    return GRAMMARS.matcher(compiled(kind, value, "it", VOCABULARY), after)


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"seed": 4}, {"seed": 4, "top_p": 0.9, "top_k": 5}])
def test_under_a_grammar_only_what_it_allows_is_drawn(sampling) -> None:
    for seed in range(10):
        sampler = Sampler(Sampling(**sampling), VOCABULARY, (), matcher=matcher("regex", "[a-c]{3}[0-9]{2}"))
        said, step = b"", seed * 100
        while (token := sampler.pick(Logits(some(seed=step)), 0)).id not in VOCABULARY.ends:
            said, step = said + token.piece, step + 1
        assert len(said) == 5
        assert set(said[:3]) <= set(b"abc")


def test_what_is_cut_are_the_allowed_tokens_and_so_are_their_log_probabilities() -> None:
    scores = some()
    letters = [ord(letter) for letter in "abcd"]
    masked = np.full_like(scores, -np.inf)
    masked[letters] = scores[letters]
    sampling = Sampling(seed=2, top_k=2, temperature=2)
    expected = probabilities(masked, sampling)
    drawn = Counter()
    for seed in range(400):
        sampler = Sampler(Sampling(seed=seed, top_k=2, temperature=2), VOCABULARY, (), logprobs=6,
                          matcher=matcher("regex", "[a-d]"))
        token = sampler.pick(Logits(scores), 0)
        drawn[token.id] += 1
        assert [one.logprob for one in token.top][4:] == [-math.inf] * 2
        assert sum(math.exp(one.logprob) for one in token.top) == pytest.approx(1, abs=1e-5)
    assert set(drawn) == set(np.flatnonzero(expected))
    for token in drawn:
        assert drawn[token] / 400 == pytest.approx(expected[token], abs=0.1)


def test_before_its_grammar_begins_an_answer_is_free() -> None:
    scores, start = np.zeros(VOCABULARY.size, np.float32), VOCABULARY.id("<tool>")
    scores[start] = 9
    sampler = Sampler(Sampling(temperature=0), VOCABULARY, (), matcher=matcher("choice", ["yes"], (start,)))
    proposal = [ord("x")]
    assert sampler.admissible(proposal) == proposal
    assert sampler.pick(Logits(scores), 0).id == start
    assert sampler.pick(Logits(scores), 0).piece in (b"yes", b"y")
    assert sampler.admissible([ord("x")]) == []


def test_log_probabilities_are_of_the_logits_as_they_came() -> None:
    scores = some()
    expected = scores.astype(np.float64) - np.log(np.exp(scores.astype(np.float64)).sum())
    sampler = Sampler(Sampling(temperature=0.3, repetition_penalty=1.8, logit_bias={4: 9.0}, seed=1), VOCABULARY,
                      range(50), logprobs=20)
    token = sampler.pick(Logits(scores), 0)
    assert token.logprob == pytest.approx(expected[token.id], abs=1e-4)
    assert [one.id for one in token.top] == np.argsort(-expected)[:20].tolist()
    assert [one.logprob for one in token.top] == pytest.approx(np.sort(expected)[::-1][:20], abs=1e-4)
    assert [one.piece for one in token.top] == [VOCABULARY.pieces[one.id] for one in token.top]
    alone = Sampler(Sampling(temperature=0), VOCABULARY, (), logprobs=0).pick(Logits(scores), 0)
    assert (alone.top, alone.logprob) == ((), pytest.approx(expected.max(), abs=1e-4))
    assert Sampler(Sampling(), VOCABULARY, ()).pick(Logits(scores), 0).logprob is None


def test_prompts_are_measured_row_by_row() -> None:
    rows = np.stack([some(seed=1), some(seed=2)])
    found = prompt_logprobs(rows, [7, 8], 2, VOCABULARY.pieces)
    assert [(one.id, one.logprob, len(one.top)) for one in found] == [
        (token, pytest.approx(row[token] - np.log(np.exp(row.astype(np.float64)).sum()), abs=1e-4), 2)
        for row, token in zip(rows, (7, 8), strict=True)]


def test_a_bias_for_a_token_that_is_not_there_is_a_400() -> None:
    expect_known(Sampling(logit_bias={0: 1.0, VOCABULARY.size - 1: 2.0}), VOCABULARY)
    for token in (-1, VOCABULARY.size):
        with pytest.raises(ContractError, match="this model has tokens from 0 to") as refused:
            expect_known(Sampling(logit_bias={token: 1.0}), VOCABULARY)
        assert (refused.value.status, refused.value.param) == (400, "logit_bias")
