"""What a row of logits says: which token is drawn from it, and how likely each one is.

Meaning and order are those of vLLM 0.32 (`v1/sample/sampler.py`, `ops/topk_topp_sampler.py`): the temperature, then
min_p, top_k and top_p, then the draw. Nothing here sorts a whole vocabulary unless a cut lets all of it through.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelkit.llamacpp.jobs import Sampling, Token, TokenLogprob

Scores = NDArray[np.float32]
"""Logits of one position, one for each token of the vocabulary; -inf: cannot be drawn."""

GREEDY_BELOW, COLDEST = 1e-5, 1e-2
"""Temperatures: what is as good as 0, and the least that is computed with otherwise. Both are vLLM's."""

Ids = NDArray[np.intp]

_BLOCK = 64
_room = threading.local()


def scratch(name: str, size: int) -> Scores:
    """A row to compute in, the thread's own and the same one each time: fresh memory would cost more than the sums."""
    rows: dict[str, Scores] = vars(_room)
    key = f"{name} {size}"
    if key not in rows:
        rows[key] = np.zeros(-(-size // _BLOCK) * _BLOCK, np.float32)
    return rows[key][:size]


def draw(scores: Scores, sampling: Sampling, chance: float) -> int:
    """The token that `chance` (0 to 1, 1 excluded) falls on. Of equally likely greedy ones, that of the lowest id."""
    best = int(scores.argmax())
    peak = float(scores[best])
    if sampling.temperature < GREEDY_BELOW or not math.isfinite(peak):
        return best
    temperature = max(sampling.temperature, COLDEST)
    if sampling.min_p > 0 or 0 < sampling.top_k < len(scores):
        peaks = _Peaks(scores)
        floor = peak + temperature * math.log(sampling.min_p) if sampling.min_p > 0 else -math.inf
        ids = peaks.likeliest(sampling.top_k) if 0 < sampling.top_k < len(scores) else peaks.above(floor)
        ids = ids[scores[ids] >= floor]
        weights = _weights(scores[ids], peak, temperature)
        return _of_few(ids, weights, sampling.top_p * float(weights.sum()), chance)
    every = np.subtract(scores, peak, out=scratch("weights", len(scores)))
    every *= 1 / temperature
    np.exp(every, out=every)
    if sampling.top_p < 1:
        return _of_nucleus(scores, sampling.top_p * float(every.sum(dtype=np.float64)), peak, temperature, chance)
    return _of_all(every, chance)


def _weights(scores: Scores, peak: float, temperature: float) -> NDArray[np.float64]:
    return np.exp((scores.astype(np.float64) - peak) / temperature)


def _of_few(ids: Ids, weights: NDArray[np.float64], mass: float, chance: float) -> int:
    """Of the likeliest that together have `mass`: each token before which less than that was collected."""
    order = np.argsort(-weights, kind="stable")
    sums = np.cumsum(weights[order])
    kept = int(np.searchsorted(sums, mass, side="left")) + 1
    sums = sums[:kept]
    return int(ids[order[min(int(np.searchsorted(sums, chance * sums[-1], side="right")), len(sums) - 1)]])


def _of_nucleus(scores: Scores, mass: float, peak: float, temperature: float, chance: float) -> int:
    """The same without looking at more of the vocabulary than the nucleus takes: more and more of the likeliest."""
    peaks, count = _Peaks(scores), 256
    while count < len(scores):
        ids = peaks.likeliest(count)
        weights = _weights(scores[ids], peak, temperature)
        if weights.sum() >= mass:
            return _of_few(ids, weights, mass, chance)
        count *= 8
    return _of_few(np.arange(len(scores)), _weights(scores, peak, temperature), mass, chance)


def _of_all(weights: Scores, chance: float) -> int:
    """From everything, in two steps: a block of tokens, and a token of the block."""
    whole = len(weights) // _BLOCK * _BLOCK
    blocks = weights[:whole].reshape(-1, _BLOCK) @ np.ones(_BLOCK, np.float32)
    sums = np.cumsum(np.append(blocks, weights[whole:].sum()), dtype=np.float64)
    at = float(chance * sums[-1])
    block = min(int(np.searchsorted(sums, at, side="right")), len(sums) - 1)
    inside = weights[block * _BLOCK:(block + 1) * _BLOCK]
    steps = np.cumsum(inside, dtype=np.float64)
    if len(steps) == 0 or steps[-1] == 0:
        return int(weights.argmax())
    rest = min(max(0.0, at - (float(sums[block - 1]) if block else 0.0)), float(np.nextafter(steps[-1], 0)))
    return block * _BLOCK + int(np.searchsorted(steps, rest, side="right"))


class _Peaks:
    """The highest score of each of many groups of tokens: one look at all of them finds those at the top."""

    _EACH = 32  # tokens of a group: every one whose id leaves the same rest

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._groups = len(scores) // self._EACH
        self._highest = scores[: self._groups * self._EACH].reshape(self._EACH, self._groups).max(axis=0) \
            if self._groups else scores[:0]

    def above(self, floor: float) -> Ids:
        """The tokens with this score at least."""
        groups = np.flatnonzero(self._highest >= floor)
        if len(groups) * 4 >= self._groups:
            return np.flatnonzero(self._scores >= floor)
        grouped = self._groups * self._EACH
        ids = (np.arange(0, grouped, self._groups)[:, None] + groups).ravel()
        ids = np.concatenate((ids, np.arange(grouped, len(self._scores))))
        found: Ids = ids[self._scores[ids] >= floor]
        return found

    def likeliest(self, count: int) -> Ids:
        """The `count` (1 to all) likeliest tokens, and those that are as likely as the last one of them."""
        if count * 4 > self._groups:
            return np.flatnonzero(self._scores >= _largest(self._scores, count))
        # As many tokens as that are at least as likely as the `count`-th highest peak.
        ids = self.above(_largest(self._highest, count))
        found: Ids = ids[self._scores[ids] >= _largest(self._scores[ids], count)]
        return found


def _largest(scores: Scores, count: int) -> float:
    return float(np.partition(scores, len(scores) - count)[len(scores) - count])


def top(scores: Scores, count: int) -> Ids:
    """The ids of the likeliest tokens, the likeliest first, of equal ones the lower id."""
    count = min(count, len(scores))
    if count == 0:
        return np.empty(0, np.intp)
    ids = np.sort(_Peaks(scores).likeliest(count))
    ids = ids[scores[ids] > -math.inf]
    ids = ids[np.argsort(-scores[ids], kind="stable")][:count]
    impossible = np.flatnonzero(scores == -math.inf)[: count - len(ids)] if len(ids) < count else ids[:0]
    return np.concatenate((ids, impossible))


def measured(scores: Scores, token: int, count: int, pieces: Sequence[bytes]) -> Token:
    """A token with its log-probability among these scores, and those of the `count` likeliest ones."""
    peak = float(scores.max())
    weights = np.subtract(scores, peak, out=scratch("weights", len(scores)))
    total = peak + math.log(float(np.exp(weights, out=weights).sum(dtype=np.float64)))
    likeliest = tuple(TokenLogprob(int(one), pieces[one], float(scores[one]) - total) for one in top(scores, count))
    return Token(token, pieces[token], float(scores[token]) - total, likeliest)


def prompt_logprobs(rows: NDArray[np.float32], following: Sequence[int], count: int,
                    pieces: Sequence[bytes]) -> list[Token]:
    """The tokens of a prompt, each measured by the row of logits before it."""
    return [measured(row, token, count, pieces) for row, token in zip(rows, following, strict=True)]
