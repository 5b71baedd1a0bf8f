"""Guesses how an answer goes on, for the model to check many tokens in one step. The text is the same as without.

Whether guessing pays is the scheduler's to measure; here a guess is short, or none, where it is likely to be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelkit.llamacpp.computing import DONE, NO_ROOM, Context, LlamaError
from modelkit.llamacpp.sampling import Vocabulary

LEAST, MOST = 2, 4
"""Tokens that must repeat themselves for a guess, and that are looked at; vLLM gets the same numbers from us."""

PADDING = 128
"""Tokens by which vocabularies may differ in size: models are padded to round numbers. llama.cpp allows as many."""

SURE = 0.4
"""A draft model's guess ends before a token that it thinks less likely than this: it would mostly be in vain."""


class NGram:
    """Looks up in one sequence what followed its last tokens before (vLLM's `ngram`).

    The longest run of the last 4 to 2 tokens that was there before counts; of several places the earliest.
    """

    def __init__(self) -> None:
        self._tokens: NDArray[np.int32] = np.empty(256, np.int32)
        self._size = 0

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that may follow `tokens`, which begin with those of the call before."""
        known = self._known(tokens)
        if most < 1 or len(known) <= LEAST:
            return []
        ends = np.flatnonzero(known[:-1] == known[-1])  # of earlier runs like the last one
        if len(ends) == 0:
            return []
        for length in range(2, MOST + 1):
            if len(known) < length:
                break
            longer = ends[ends >= length - 1]
            longer = longer[known[longer - (length - 1)] == known[-length]]
            if len(longer) == 0:
                if length <= LEAST:
                    return []
                break
            ends = longer
        follows = int(ends[0]) + 1
        guess: list[int] = known[follows:follows + most].tolist()
        return guess

    def _known(self, tokens: Sequence[int]) -> NDArray[np.int32]:
        size = len(tokens)
        if size > len(self._tokens):
            self._tokens = np.resize(self._tokens, 2 * size)
        self._tokens[self._size:size] = tokens[self._size:]
        self._size = size
        return self._tokens[:size]


class Draft:
    """A small model that guesses for the sequences of a large one, in a context of its own.

    A sequence that has not guessed for the longest time loses its place there when another one needs it.
    """

    def __init__(self, context: Context, vocabulary: Vocabulary, large: Vocabulary) -> None:
        """Raises LlamaError when the models do not have the same tokens."""
        expect_same(vocabulary, large)
        self._context = context
        self._batch = context.batch()
        self._size = min(vocabulary.size, large.size)
        self._ends = large.ends
        self._places = {place: _Place(place) for place in range(context.sequences)}  # the idlest first

    def sequence(self) -> DraftSequence:
        """Who guesses for a new sequence."""
        return DraftSequence(self)

    def guess(self, owner: DraftSequence, tokens: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that this model would say after `tokens`."""
        place = self._place(owner, tokens)
        index = self._follow(place, tokens)
        guessed: list[int] = []
        while index is not None:
            token, chance = _best(self._context.logits(index)[: self._size])
            if chance < SURE:
                break
            guessed.append(token)
            if len(guessed) == most or token in self._ends:
                break
            index = self._compute(place, [token])
        return guessed

    def _place(self, owner: DraftSequence, tokens: Sequence[int]) -> _Place:
        """The sequence's own place, or that of the idlest, with what others have computed of these tokens."""
        place = next((one for one in self._places.values() if one.owner is owner), None)
        if place is None:
            place = next(iter(self._places.values()))
            place.owner = owner
            like = max(self._places.values(), key=lambda one: _common(one.known, tokens))
            shared = _common(like.known, tokens)
            if like is not place and shared:
                self._context.memory.remove(place.id)
                self._context.memory.copy(like.id, place.id, shared)
                place.known = like.known[:shared]
        self._places[place.id] = self._places.pop(place.id)
        return place

    def _follow(self, place: _Place, tokens: Sequence[int]) -> int | None:
        """Brings a place to these tokens, of which it computes the last one at least; the index of its logits."""
        keep = min(_common(place.known, tokens), len(tokens) - 1)
        if keep < len(place.known):
            if not self._context.memory.remove(place.id, keep):
                self._context.memory.remove(place.id)
                keep = 0
            del place.known[keep:]
        return self._compute(place, tokens[keep:])

    def _compute(self, place: _Place, tokens: Sequence[int]) -> int | None:
        """Adds tokens to a place; the index of the logits of the last one. None: there is no room."""
        done = 0
        while done < len(tokens):
            part = tokens[done:done + self._context.batch_tokens]
            self._batch.clear()
            index: int = self._batch.add(part, len(place.known), place.id, 1) + len(part) - 1
            code = self._context.decode(self._batch)
            if code == NO_ROOM and self._forget(place):
                continue
            if code != DONE:
                return None
            place.known += part
            done += len(part)
        return index

    def _forget(self, place: _Place) -> bool:
        """Gives up what was idle for the longest time, for room; False when there is nothing."""
        for other in self._places.values():
            if other is not place and other.known:
                self._context.memory.remove(other.id)
                other.known, other.owner = [], None
                return True
        return False


class DraftSequence:
    """Guesses for one sequence."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that the draft model would say after `tokens`."""
        return self._draft.guess(self, tokens, most) if most > 0 and len(tokens) else []


class _Place:
    """A sequence of the draft model's context, the tokens that it has, and for whom."""

    def __init__(self, place: int) -> None:
        self.id = place
        self.known: list[int] = []
        self.owner: DraftSequence | None = None


def expect_same(draft: Vocabulary, large: Vocabulary) -> None:
    """Raises LlamaError, in one sentence, unless token ids mean the same in both models."""
    if abs(draft.size - large.size) > PADDING:
        raise LlamaError(f"the draft model has {draft.size} tokens and the model {large.size}: it must be of the same "
                         "family, with the same vocabulary")
    for token, (ours, theirs) in enumerate(zip(draft.pieces, large.pieces, strict=False)):
        if ours != theirs:
            raise LlamaError(f"the draft model's token {token} is {_shown(ours)} and the model's {_shown(theirs)}: it "
                             "must be of the same family, with the same vocabulary")


def _shown(piece: bytes) -> str:
    return repr(piece.decode("utf-8", "replace"))


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens both begin with."""
    size = min(len(left), len(right))
    if list(left[:size]) == list(right[:size]):
        return size
    return next(place for place in range(size) if left[place] != right[place])


def _best(scores: NDArray[np.float32]) -> tuple[int, float]:
    """The likeliest token and its probability."""
    best = int(scores.argmax())
    return best, 1 / float(np.exp(scores - scores[best]).sum())
