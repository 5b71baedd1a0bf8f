"""Who is computed next: first come, first served, as far as the attention cache has room."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable
from typing import Protocol

from modelkit.llamacpp.prefixes import Prefixes, Slot, common
from modelkit.llamacpp.sequence import Request, Sequence

_OVERTAKEN_AT_MOST = 16
"""By so many is a sequence passed that waits for room; then everyone waits behind it."""

_LOOK_AT = 16
"""So many of those who wait are looked at in a step."""

_WORTH_WAITING = 64
"""Tokens that two prompts begin with: as many are not computed twice at the same time."""

_SOON = 128
"""Tokens that somebody else has still to compute, at most, for whom the next step waits to save fewer than those."""

_HEADROOM = 16
"""Cells that stay free for each running sequence when one more starts, so that nobody is put off at once."""


class Counts(Protocol):
    """What is counted here, in prompt tokens."""

    prefix_queries: int
    prefix_hits: int


class Admission:
    """The queue in front of the running sequences, which it adds to."""

    def __init__(self, prefixes: Prefixes, running: list[Sequence], counts: Counts, max_concurrency: int,
                 step_tokens: Callable[[], float] = lambda: _WORTH_WAITING) -> None:
        """`step_tokens`: so many tokens take as long as one more step does."""
        self.waiting: list[Sequence] = []  # in order of arrival
        self._prefixes, self._running, self._counts = prefixes, running, counts
        self._max_concurrency, self._step_tokens = max_concurrency, step_tokens
        self._changed = False

    def add(self, sequences: list[Sequence]) -> None:
        """New sequences, or one that was put off, which keeps its place among the others."""
        for sequence in sequences:
            bisect.insort(self.waiting, sequence, key=lambda one: one.order)
        self._changed = True

    def drop(self, request: Request) -> None:
        self.waiting[:] = [one for one in self.waiting if one.request is not request]
        self._changed = True

    def changed(self) -> None:
        """A running sequence has left: somebody may find room."""
        self._changed = True

    def admit(self) -> None:
        """Starts whom there is room for."""
        if not self.waiting or len(self._running) >= self._max_concurrency:
            return
        if not self._changed:
            return  # only answers grew since the last look, which makes no room
        # A prompt that is being computed is soon there to be shared.
        self._changed = any(one.remaining > 1 for one in self._running)
        passed: list[Sequence] = []
        for sequence in self.waiting[:_LOOK_AT]:
            if len(self._running) >= self._max_concurrency:
                break
            if not sequence.ready:
                self._changed = True
                continue
            slot, shared = self._match(sequence)
            if self._soon(sequence, shared):
                continue
            if self._start(sequence, slot, shared):
                self._changed = self._changed or sequence.remaining > 1
                for one in passed:
                    one.overtaken += 1
            elif sequence.overtaken >= _OVERTAKEN_AT_MOST:
                break
            else:
                passed.append(sequence)

    def _match(self, sequence: Sequence) -> tuple[Slot | None, int]:
        slot, shared = self._prefixes.match(sequence.tokens, sequence.adapter, sequence.request.number)
        if sequence.scored:  # its logits are wanted from the first position that has not been looked at
            shared = min(shared, max(0, len(sequence.request.prompt_logprobs) - 1))
        return (slot, shared) if shared else (None, 0)

    def _soon(self, sequence: Sequence, shared: int) -> bool:
        """Whether a running sequence is about to compute more of what this one begins with."""
        if sequence.scored:
            return False
        for other in self._running:
            sibling = other.request is sequence.request
            if other.remaining <= 1 or other.adapter != sequence.adapter or not self._prefixes.shares(sibling):
                continue
            coming = min(common(other.tokens, sequence.tokens), len(sequence.tokens) - 1)
            worth = self._step_tokens() if other.remaining <= _SOON else _WORTH_WAITING
            if coming > shared and (sibling or coming >= _WORTH_WAITING or coming - shared > worth):
                return True
        return False

    def _start(self, sequence: Sequence, match: Slot | None, shared: int) -> bool:
        if self._running:
            owed = sum(one.remaining for one in self._running) + _HEADROOM * (len(self._running) + 1)
            cost = self._prefixes.cost(len(sequence.tokens), match, shared)
            if cost + owed > self._prefixes.cells.available:
                return False
        else:
            match, shared = self._prefixes.alone(match, shared)
        slot = self._prefixes.open(sequence.adapter, sequence.request.number, match, shared)
        if slot is None:
            return False
        sequence.slot = slot
        self.waiting.remove(sequence)
        self._running.append(sequence)
        request = sequence.request
        if not sequence.answering:
            self._counts.prefix_queries += sequence.prompt_length
            self._counts.prefix_hits += shared
        if request.started is None:
            request.started, request.cached_tokens = time.monotonic(), shared
        return True
