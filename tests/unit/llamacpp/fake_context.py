"""A model small enough for tests: what follows depends on every token that its memory really has, in order.

It keeps llama.cpp's rules (no gaps, no more cells than there are, no logits that were not asked for) and fails a test
that breaks one. Cells are counted here on their own, by position and sequence.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelkit.llamacpp.computing import ABORTED, DONE, NO_ROOM
from modelkit.llamacpp.jobs import ImageSpan, Token

VOCABULARY = 64
END = 63
PIECES = [b"%c" % (33 + one) for one in range(VOCABULARY)]


def follows(tokens: Sequence[int], adapter: Any = None, wit: int = 1 << 30) -> int:
    """The model: the token after these ones. With little wit it repeats itself, which can be guessed."""
    known = ",".join(map(str, list(tokens)[-wit:])) + f"/{adapter}"
    return int.from_bytes(hashlib.blake2b(known.encode(), digest_size=4).digest(), "big") % VOCABULARY


class FakeMemory:
    def __init__(self, whole: bool) -> None:
        self.sequences: dict[int, list[tuple[int, object]]] = {}  # token and cell, by position
        self.whole = whole

    def clear(self) -> None:
        self.sequences.clear()

    def remove(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        assert end == -1
        known = self.sequences.get(sequence, [])
        if self.whole and 0 < start < len(known):
            return False
        del known[start:]
        return True

    def copy(self, source: int, target: int, end: int) -> None:
        assert not self.sequences.get(target)
        assert len(self.sequences[source]) >= end
        self.sequences[target] = list(self.sequences[source][:end])

    def end(self, sequence: int) -> int:
        return len(self.sequences.get(sequence, []))

    @property
    def cells(self) -> int:
        every = {id(cell): cell for known in self.sequences.values() for _, cell in known}
        return sum(getattr(cell, "size", 1) for cell in every.values())


@dataclass(eq=False)
class Cells:
    """Several of them at one position."""

    size: int


class FakeBatch:
    def __init__(self, room: int) -> None:
        self.room, self.size = room, 0
        self.parts: list[tuple[list[int], int, int, int]] = []

    def clear(self) -> None:
        self.size = 0
        self.parts = []

    def add(self, tokens: Sequence[int], position: int, sequence: int, outputs: int) -> int:
        assert len(tokens) > 0
        assert sequence not in {part[2] for part in self.parts}
        first, self.size = self.size, self.size + len(tokens)
        assert self.size <= self.room
        self.parts.append((list(tokens), position, sequence, outputs))
        return first


class FakeContext:
    """`computing.Context`. `codes` are answered by the next decodes instead of computing."""

    def __init__(self, tokens: int = 1000, sequences: int = 16, batch_tokens: int = 64, *, whole: bool = False,
                 wit: int = 1 << 30) -> None:
        self.tokens, self.sequences, self.batch_tokens = tokens, sequences, batch_tokens
        self.memory = FakeMemory(whole)
        self.codes: list[int] = []
        self.steps: list[list[int]] = []  # tokens of each part of each step
        self.adapter: Any = None
        self.wit = wit
        self.most_cells = 0
        self.closed = False
        self.holds_after: int | None = None  # so many steps, and the next one waits until somebody aborts it
        self.holding = threading.Event()  # one is waiting
        self._aborted = threading.Event()
        self.error: Exception | None = None  # of the next decode
        self.looked: list[int] = []  # the sequence of each image that was computed
        self._logits: dict[int, int] = {}

    def batch(self) -> FakeBatch:
        return FakeBatch(self.batch_tokens)

    def use(self, adapter: Any) -> None:
        self.adapter = adapter

    @property
    def stopped(self) -> bool:
        return self._aborted.is_set()

    def resume(self) -> None:
        self._aborted.clear()

    def abort(self) -> None:
        self._aborted.set()

    def close(self) -> None:
        self.closed = True

    def decode(self, batch: FakeBatch) -> int:
        held = self.holds_after is not None and len(self.steps) >= self.holds_after
        if held:
            self.holding.set()
            assert self._aborted.wait(60), "a step that nobody aborts"
        if self.error is not None:
            raise self.error
        self._logits = {}
        code = self.codes.pop(0) if self.codes else DONE
        if code == NO_ROOM:
            return code
        if held:
            return ABORTED
        index = 0
        for tokens, position, sequence, outputs in batch.parts:
            known = self.memory.sequences.setdefault(sequence, [])
            assert len(known) == position, "a gap, or something left behind"
            for place, token in enumerate(tokens):
                known.append((token, object()))
                if place >= len(tokens) - outputs:
                    self._logits[index] = follows([one for one, _ in known], self.adapter, self.wit)
                index += 1
        assert self.memory.cells <= self.tokens, "more cells than there are"
        self.most_cells = max(self.most_cells, self.memory.cells)
        if code == ABORTED:
            self._logits = {}
            return code
        self.steps.append([len(part[0]) for part in batch.parts])
        return DONE

    def look(self, context: FakeContext, span: ImageSpan, position: int, sequence: int) -> int:
        """`images.Projector.look`: the image is its id at each of its positions, the last of which has all the rest
        of its cells."""
        assert context is self
        if self.error is not None:
            raise self.error
        code = self.codes.pop(0) if self.codes else DONE
        if code == NO_ROOM:
            return code
        known = self.memory.sequences.setdefault(sequence, [])
        assert len(known) == position, "a gap, or something left behind"
        known += [(span.id, object()) for _ in range(span.positions - 1)]
        known.append((span.id, Cells(span.size - span.positions + 1)))
        assert self.memory.cells <= self.tokens, "more cells than there are"
        if code == DONE:
            self.looked.append(sequence)
        return code

    def logits(self, index: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        scores = np.zeros(VOCABULARY, np.float32)
        scores[self._logits[index]] = 1
        return scores


class Greedy:
    """`sequence.Sampler`."""

    def pick(self, context: FakeContext, index: int) -> Token:
        token = int(context.logits(index).argmax())
        return Token(token, PIECES[token])

    def admissible(self, proposal: Sequence[int]) -> Sequence[int]:
        return proposal


def alone(prompt: Iterable[int], most: int, adapter: Any = None, wit: int = 1 << 30) -> list[int]:
    """What the model answers when nobody else is there."""
    tokens = list(prompt)
    start = len(tokens)
    while len(tokens) - start < most:
        tokens.append(follows(tokens, adapter, wit))
        if tokens[-1] == END:
            break
    return tokens[start:]
