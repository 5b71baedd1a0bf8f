"""Continuous batching: which sequences are computed, and what of them goes into each step.

A step is one computation: first the last token of every sequence that is being answered, then parts of prompts in what
is left. Knows tokens and cells; how they are computed, drawn and written stands behind the types it is given.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelkit.contract.errors import ContractError, of_status
from modelkit.llamacpp.admission import Admission
from modelkit.llamacpp.computing import ABORTED, DONE, Context, LlamaError
from modelkit.llamacpp.jobs import ImageSpan, Token
from modelkit.llamacpp.pace import Pace
from modelkit.llamacpp.prefixes import Prefixes
from modelkit.llamacpp.room import SCORED
from modelkit.llamacpp.sequence import Outcome, Request, Sequence

_UNPAID_STEPS = 64
"""For so long a sequence does not guess after guessing did not pay."""

_LONG = 64
"""Tokens of a prompt whose computation is worth stopping when nobody wants it any more."""

log = logging.getLogger("modelkit.llamacpp")

Look = Callable[[Any, ImageSpan, int, int], int]
"""Computes an image: context, image, position, sequence; what `decode` answers (`images.Projector.look`)."""

Scored = Callable[[Any, int, int, int], Token]
"""The log-probabilities of a prompt's token: context, index of the token before it, the token, how many others."""


@dataclass
class Counts:
    """What has been computed so far, in tokens; `preemptions` in sequences."""

    prefix_queries: int = 0  # of prompts, looked for in the cache
    prefix_hits: int = 0  # and found there
    preemptions: int = 0
    prompt_tokens: int = 0  # computed
    generation_tokens: int = 0
    drafted: int = 0  # guessed
    accepted: int = 0  # and right
    steps: int = 0


@dataclass(slots=True)
class Work:
    """A sequence's part of a step: `count` known tokens from where its slot ends, then guesses."""

    sequence: Sequence
    count: int
    guesses: list[int]
    index: int = 0  # of its first token in the batch

    @property
    def size(self) -> int:
        return self.count + len(self.guesses)


class Scheduler:
    """All sequences of one context. Belongs to one thread; `outcomes` is what the last steps made.

    `long` is the request that has most of the running step to itself, for which stopping the step is worth it.
    """

    def __init__(self, context: Context, prefixes: Prefixes, pace: Pace, scored: Scored, *, ends: frozenset[int],
                 context_length: int, max_concurrency: int, draft_tokens: int = 0,
                 adapters: Mapping[str, Any] | None = None, look: Look | None = None) -> None:
        """`ends`: tokens that end an answer. `adapters`: by model name, as the context uses them. Without `look`
        there are no images.
        """
        self.running: list[Sequence] = []
        self.outcomes: list[Outcome] = []
        self.counts = Counts()
        self._admission = Admission(prefixes, self.running, self.counts, max_concurrency, pace.step_tokens)
        self._context, self._prefixes, self._pace, self._scored = context, prefixes, pace, scored
        self._batch = context.batch()
        self._ends, self._context_length, self._draft_tokens = ends, context_length, draft_tokens
        self._adapters = dict(adapters or {})
        self._look, self._looked = look, False  # whether the last step was an image
        self.long: Request | None = None
        self._turns: dict[str | None, int] = {}  # the step in which each adapter was used last

    @property
    def waiting(self) -> list[Sequence]:
        return self._admission.waiting

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    def add(self, sequences: list[Sequence]) -> None:
        """New sequences, of which none lacks room in an empty cache."""
        self._admission.add(sequences)

    def drop(self, request: Request) -> None:
        """Ends a request's sequences where they are. Harmless for one that has ended."""
        self._admission.drop(request)
        for sequence in [one for one in self.running if one.request is request]:
            self._leave(sequence)

    def step(self) -> None:
        """Computes once for one adapter's sequences, and draws; or computes one image."""
        self._admission.admit()
        if self._see():
            return
        works = self._fit(self._plan())
        if not works:
            return
        began = time.monotonic()
        works = self._compute(works)
        if not works:
            return
        prompt = sum(work.count for work in works if work.count > 1)
        self._pace.observe(time.monotonic() - began, sum(work.size for work in works) - prompt, prompt)
        self.counts.steps += 1
        self.counts.prompt_tokens += prompt
        for work in works:
            self._harvest(work)

    def _see(self) -> bool:
        """Computes the image that has waited longest, unless the last step was one and somebody has other work."""
        waiting = [one for one in self.running if one.image is not None] if self._look else []
        self._looked = bool(waiting) and (not self._looked or len(waiting) == len(self.running))
        if not self._looked:
            return False
        sequence = min(waiting, key=lambda one: one.order)
        image = sequence.image
        assert image is not None
        if self._fit([Work(sequence, image.size, [])]):
            self._compute_image(sequence, image)
        return True

    def _compute_image(self, sequence: Sequence, image: ImageSpan) -> None:
        slot = sequence.slot
        assert slot is not None and self._look is not None
        self._context.use(self._adapters[sequence.adapter] if sequence.adapter is not None else None)
        self.long = sequence.request
        try:
            code = self._look(self._context, image, slot.position(image.start), slot.id)
        except LlamaError as error:
            log.error("%s", error)
            self._prefixes.undo(slot)
            self._fail(sequence.request, of_status(500, "the engine failed on an image; its log says why"))
            return
        finally:
            self.long = None
        if code == DONE:
            self.counts.steps += 1
            self.counts.prompt_tokens += image.size
            self._prefixes.grow(slot, [image.id] * image.size, image.positions)
            return
        self._prefixes.undo(slot)
        if code == ABORTED:
            self._context.resume()
        else:
            self._smaller([Work(sequence, 1, [])])

    def _plan(self) -> list[Work]:
        """Who is computed in this step, and how much of each."""
        if all(one.image is not None for one in self.running):
            return []
        adapter = min({one.adapter for one in self.running if one.image is None},
                      key=lambda name: self._turns.get(name, 0))
        self._turns[adapter] = self.counts.steps + 1
        self._context.use(self._adapters[adapter] if adapter is not None else None)
        group = [one for one in self.running if one.adapter == adapter and one.image is None]
        single = [one for one in group if one.remaining == 1 and not one.scored]
        prompts = [one for one in group if one.remaining > 1 or one.scored]
        room = self._context.batch_tokens - len(single)
        works = []
        for sequence in single:
            guesses = self._guesses(sequence, room, len(single)) if not prompts else []
            room -= len(guesses)
            works.append(Work(sequence, 1, guesses))
        answered = sum(one.remaining == 1 for one in self.running)
        budget = min(room, self._pace.prompt_tokens(answered))
        works += [Work(one, count, []) for one, count in _shares(prompts, budget).items()]
        return works

    def _guesses(self, sequence: Sequence, room: int, batch: int) -> list[int]:
        most = min(self._draft_tokens, room, self._left(sequence) - 1)
        if most < 1 or not sequence.guesses:
            return []
        if sequence.unpaid:
            sequence.unpaid -= 1
            return []
        expected = sum(sequence.acceptance ** (place + 1) for place in range(most))
        if not self._pace.pays(most, expected, batch):
            sequence.unpaid, sequence.acceptance = _UNPAID_STEPS, 0.5
            return []
        began = time.monotonic()
        guesses = sequence.guess(most)
        self._pace.guessed(time.monotonic() - began, len(guesses))
        return guesses

    def _left(self, sequence: Sequence) -> int:
        """Tokens that a sequence may still draw."""
        room = self._context_length - len(sequence.tokens)
        most = sequence.request.job.max_tokens
        return room if most is None else min(room, most + sequence.prompt_length - len(sequence.tokens))

    def _fit(self, works: list[Work]) -> list[Work]:
        """Makes room for a step: finished sequences are forgotten, then the youngest one is put off."""
        while works and not self._prefixes.make_room(sum(work.size for work in works)):
            if any(work.guesses for work in works):
                works = [Work(work.sequence, work.count, []) for work in works]
            else:
                works = self._without(works, self._put_off())
        return works

    def _put_off(self) -> Sequence:
        """The youngest running sequence waits again, and is computed anew later."""
        sequence = max(self.running, key=lambda one: one.order)
        self.counts.preemptions += 1
        self._leave(sequence)
        self._admission.add([sequence])
        return sequence

    @staticmethod
    def _without(works: list[Work], sequence: Sequence) -> list[Work]:
        return [work for work in works if work.sequence is not sequence]

    def _compute(self, works: list[Work]) -> list[Work]:
        """Computes as much of this as there is room for; what was computed."""
        while works:
            self._batch.clear()
            for work in works:
                sequence = work.sequence
                assert sequence.slot is not None
                at = len(sequence.slot.tokens)
                tokens = sequence.tokens[at: at + work.count] + work.guesses
                outputs = work.size if sequence.scored else 1 + len(work.guesses) if work.count == sequence.remaining \
                    else 0
                work.index = self._batch.add(tokens, sequence.slot.position(at), sequence.slot.id, outputs)
            largest = max(works, key=lambda work: work.size)
            self.long = largest.sequence.request if largest.size >= max(_LONG, self._batch.size // 2) else None
            code = self._context.decode(self._batch)
            self.long = None
            if code == DONE:
                return works
            if code == ABORTED:
                self._context.resume()
                for work in works:
                    assert work.sequence.slot is not None
                    self._prefixes.undo(work.sequence.slot)
                return []
            works = self._smaller(works)
        return []

    def _smaller(self, works: list[Work]) -> list[Work]:
        """llama.cpp found no room although we counted some: it may want cells side by side."""
        if self._prefixes.make_room(self._prefixes.cells.free + 1):
            return works
        if any(work.size > 1 for work in works):
            return [Work(work.sequence, -(-work.count // 2), []) for work in works]
        if len(self.running) > 1:
            return self._without(works, self._put_off())
        self._fail(works[0].sequence.request, of_status(503, "the engine's attention cache has no room for this"))
        return []

    def _harvest(self, work: Work) -> None:
        """Takes a step's results for one sequence: its tokens are computed, and the next ones are drawn."""
        sequence, slot = work.sequence, work.sequence.slot
        if slot is None:  # its request failed in this step
            return
        at = len(slot.tokens)
        scored = sequence.scored
        self._prefixes.grow(slot, sequence.tokens[at: at + work.count] + work.guesses)
        try:
            if scored:
                self._score(work, at)
            if at + work.count == len(sequence.tokens):
                self._draw(work)
        except ContractError as error:
            self._fail(sequence.request, error)
        except Exception:
            log.exception("drawing a token failed")
            self._fail(sequence.request, of_status(500, "the engine failed on this request; its log says why"))

    def _draw(self, work: Work) -> None:
        sequence = work.sequence
        first = work.index + work.count - 1
        right = 0
        for place in range(len(work.guesses) + 1):
            delta = sequence.draw(self._context, first + place, self._ends, self._context_length)
            self.outcomes.append((sequence.request, delta))
            self.counts.generation_tokens += 1
            if delta.finish is not None:
                self._leave(sequence)
                return
            if place < len(work.guesses) and sequence.tokens[-1] != work.guesses[place]:
                break
            right += place < len(work.guesses)
        if work.guesses:
            assert sequence.slot is not None
            self._prefixes.cut(sequence.slot, len(sequence.tokens) - 1)
            self.counts.drafted += len(work.guesses)
            self.counts.accepted += right
            sequence.acceptance = 0.8 * sequence.acceptance + 0.2 * right / len(work.guesses)

    def _score(self, work: Work, at: int) -> None:
        """Log-probabilities of the prompt's tokens that follow those computed in this step."""
        sequence, found = work.sequence, work.sequence.request.prompt_logprobs
        top = sequence.request.job.prompt_logprobs
        assert top is not None
        if not found:
            found.append(None)
        for place in range(max(at + 1, len(found)), min(at + work.count + 1, sequence.prompt_length)):
            index = work.index + place - 1 - at
            found.append(self._scored(self._context, index, sequence.tokens[place], top))

    def _fail(self, request: Request, error: ContractError) -> None:
        self.drop(request)
        self.outcomes.append((request, error))

    def _leave(self, sequence: Sequence) -> None:
        assert sequence.slot is not None
        self._prefixes.close(sequence.slot)
        sequence.slot = None
        self.running.remove(sequence)
        self._admission.changed()


def _shares(prompts: list[Sequence], budget: int) -> dict[Sequence, int]:
    """Tokens of each prompt in a step of `budget`: half for the oldest, the rest to those that are done soonest.

    So no short prompt waits for a long one to end, and no long one waits for ever. Those whose log-probabilities are
    wanted share `room.SCORED`.
    """
    if not prompts or budget < 1:
        return {}
    oldest = min(prompts, key=lambda one: one.order)
    left, scored = budget, SCORED
    shares: dict[Sequence, int] = {}
    for one, most in ((oldest, -(-budget // 2)), *((one, budget) for one in sorted(prompts, key=_soonest))):
        more = min(most, left, one.reach - shares.get(one, 0), scored if one.scored else budget)
        if more > 0:
            shares[one] = shares.get(one, 0) + more
            left -= more
            scored -= more if one.scored else 0
    return shares


def _soonest(sequence: Sequence) -> tuple[int, tuple[int, int]]:
    return sequence.remaining, sequence.order
