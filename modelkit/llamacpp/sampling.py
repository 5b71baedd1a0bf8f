"""One sequence's way of drawing its tokens: penalties, biases, a grammar, chance.

Computed here and not by llama.cpp's samplers: the order is vLLM's, a seed has 64 bits, and the state of a sequence is
one Python object that no computation of others touches.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modelkit.contract.errors import invalid
from modelkit.llamacpp.distribution import Scores, draw, measured, scratch
from modelkit.llamacpp.jobs import Sampling, Token

SEEDS = 2**64


class Vocabulary(Protocol):
    """What is asked of the model's tokens."""

    size: int
    pieces: tuple[bytes, ...]
    ends: frozenset[int]


class Context(Protocol):
    """Who has the logits of the last computation."""

    def logits(self, index: int) -> Scores: ...


class Grammar(Protocol):
    """What may follow, as `grammar.Matcher` says it."""

    @property
    def holds(self) -> bool: ...
    def mask(self, scores: Scores, out: Scores) -> Scores: ...
    def accept(self, token: int) -> None: ...
    def admissible(self, tokens: Sequence[int]) -> int: ...


def expect_known(sampling: Sampling, vocabulary: Vocabulary) -> None:
    """Raises ContractError for a token that this model has not."""
    for token in sampling.logit_bias:
        if not 0 <= token < vocabulary.size:
            raise invalid("logit_bias", f"`logit_bias` has the token {token}; this model has tokens from 0 to "
                          f"{vocabulary.size - 1}")


class Sampler:
    """Draws one sequence's tokens.

    The same seed and the same logits give the same tokens, whatever is computed beside them: each position has one
    random number of its own. The object is the whole state; a sequence that was preempted goes on with it.
    """

    def __init__(self, sampling: Sampling, vocabulary: Vocabulary, prompt: Sequence[int], *, choice: int = 0,
                 logprobs: int | None = None, matcher: Grammar | None = None) -> None:
        """`logprobs`: as a job says it. `choice`: the number of this sequence among those of its job."""
        self._sampling = sampling
        self._pieces = vocabulary.pieces
        self._logprobs = logprobs
        self._matcher = matcher
        self._chance = random.Random()
        if sampling.seed is not None and sampling.seed != -1:
            self._chance.seed((sampling.seed + choice) % SEEDS)
        self._bias = _Bias(sampling.logit_bias) if sampling.logit_bias else None
        self._penalties = _Penalties(sampling, prompt) if _penalised(sampling) else None
        self._never = np.fromiter(vocabulary.ends, np.intp) if sampling.ignore_eos else None

    def pick(self, context: Context, index: int) -> Token:
        """Draws the token that follows the batch's token `index`, and takes it for drawn. The logits stay as they are.

        Log-probabilities are those of the logits as the model gave them; where a grammar holds, of the tokens that it
        allows, as vLLM has it.
        """
        scores = context.logits(index)
        if self._matcher is not None and self._matcher.holds:
            # Always the mask, and never a free draw that is kept when it fits: what top_p leaves depends on it, and so
            # does how a text that the grammar forces is split into tokens.
            scores = self._matcher.mask(scores, scratch("allowed", len(scores)))
        token = self._draw(scores)
        if self._matcher is not None:
            self._matcher.accept(token)
        if self._penalties is not None:
            self._penalties.accept(token)
        if self._logprobs is None:
            return Token(token, self._pieces[token])
        return measured(scores, token, self._logprobs, self._pieces)

    def admissible(self, proposal: Sequence[int]) -> Sequence[int]:
        """As much of a proposed continuation as the grammar lets through."""
        if self._matcher is None or not self._matcher.holds:
            return proposal
        return proposal[: self._matcher.admissible(proposal)]

    def _draw(self, scores: Scores) -> int:
        chance = self._chance.random()  # one for each position, whatever becomes of it
        adjusted = self._adjusted(scores, self._never)
        token = draw(adjusted, self._sampling, chance)
        if self._never is not None and adjusted[token] == -math.inf:  # a grammar leaves nothing but the end
            token = draw(self._adjusted(scores, None), self._sampling, chance)
        return token

    def _adjusted(self, scores: Scores, never: NDArray[np.intp] | None) -> Scores:
        """vLLM's order: bias, penalties. Few tokens have either, so only those are computed."""
        if self._bias is None and self._penalties is None and never is None:
            return scores
        adjusted = scratch("adjusted", len(scores))
        np.copyto(adjusted, scores)
        if self._bias is not None:
            self._bias.apply(adjusted)
        if self._penalties is not None:
            self._penalties.apply(adjusted)
        if never is not None:
            adjusted[never] = -math.inf
        return adjusted


def _penalised(sampling: Sampling) -> bool:
    return sampling.repetition_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0


class _Bias:
    def __init__(self, bias: Mapping[int, float]) -> None:
        self._ids = np.fromiter(bias, np.intp)
        self._amounts = np.fromiter(bias.values(), np.float32)

    def apply(self, scores: Scores) -> None:
        scores[self._ids] += self._amounts


class _Penalties:
    """Of tokens that were there before: in prompt or answer for the repetition penalty, in the answer for the others.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._place: dict[int, int] = {token: place for place, token in enumerate(dict.fromkeys(prompt))}
        self._ids = np.fromiter(self._place, np.intp)
        self._counts = np.zeros(len(self._ids), np.float32)  # how often the answer has it

    def accept(self, token: int) -> None:
        place = self._place.setdefault(token, len(self._place))
        if place >= len(self._ids):
            self._ids = np.append(self._ids, np.zeros(64, np.intp))
            self._counts = np.append(self._counts, np.zeros(64, np.float32))
        self._ids[place] = token
        self._counts[place] += 1

    def apply(self, scores: Scores) -> None:
        ids, counts = self._ids[: len(self._place)], self._counts[: len(self._place)]
        found = scores[ids]
        repeated = self._sampling.repetition_penalty
        found = np.where(found > 0, found / repeated, found * repeated)
        found -= self._sampling.frequency_penalty * counts
        found -= self._sampling.presence_penalty * (counts > 0)
        scores[ids] = found
