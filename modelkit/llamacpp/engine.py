"""The dev engine: one thread that has llama.cpp, and its face on the event loop."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from modelkit.contract.errors import ContractError, invalid, unsupported
from modelkit.llamacpp.answer import LlamaAnswer, Outbox
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.grammar import Grammars
from modelkit.llamacpp.jobs import Delta, EngineDied, Job
from modelkit.llamacpp.loading import Loaded, load
from modelkit.llamacpp.sampling import Sampler, expect_known
from modelkit.llamacpp.sequence import Request, Sequence
from modelkit.llamacpp.text import Writer

if TYPE_CHECKING:
    from modelkit.llamacpp.library import Model

WAITING_AT_MOST = 4096
"""Sequences that may wait; whoever comes then is told to try again."""

_PAUSE = 0.001  # seconds between two looks

log = logging.getLogger("modelkit.llamacpp")

Order = Callable[[], None]


@dataclass(frozen=True)
class Stats:
    """How the engine is doing. Tokens and sequences since the start, but for the first four, which are now."""

    running: int  # sequences in the batch
    waiting: int
    kv_used: int  # cells of the attention cache that running sequences have
    kv_cached: int  # cells that only finished ones have, for their prefix
    kv_tokens: int  # all cells
    prefix_queries: int  # prompt tokens that were looked for in the cache, and those found
    prefix_hits: int
    preemptions: int
    prompt_tokens: int  # computed
    generation_tokens: int
    drafted: int  # tokens guessed, and those that were right
    accepted: int
    steps: int


class LlamaEngine:
    """`jobs.Engine` on llama.cpp. Its methods belong to the event loop."""

    def __init__(self, loaded: Loaded, config: Config, on_death: Callable[[str], None] | None = None) -> None:
        """Starts the thread, to which context and scheduler belong from now on; `on_death` is called in it."""
        self.model, self.vocabulary = loaded.model, loaded.vocabulary
        self.died: str | None = None  # why the thread has ended, if it has
        self._context, self._scheduler, self._cells = loaded.context, loaded.scheduler, loaded.cells
        self._proposer, self._config = loaded.proposer, config
        self.projector = loaded.projector
        self._grammars = Grammars(loaded.vocabulary)
        self._adapters = frozenset(name for name, _ in config.adapters)
        self._answers: dict[Request, LlamaAnswer] = {}
        self._orders: SimpleQueue[Order | None] = SimpleQueue()  # None: the thread shall end
        self._numbers = itertools.count()
        self._outbox: Outbox | None = None
        self._on_death = on_death
        self._thread = threading.Thread(target=self._work, name="llama.cpp", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> LlamaAnswer:
        """Puts a job in the queue. Raises ContractError, or EngineDied."""
        if self.died is not None:
            raise EngineDied(self.died)
        self._expect_possible(job)
        if self._outbox is None:
            self._outbox = Outbox(asyncio.get_running_loop(), self._deliver)
        request = Request(job, next(self._numbers), time.monotonic())
        sequences = [self._sequence(request, choice) for choice in range(job.choices)]
        answer = self._answers[request] = LlamaAnswer(request, self._cancel)
        self._orders.put(lambda: self._scheduler.add(sequences))
        return answer

    def stats(self) -> Stats:
        counts, cells = self._scheduler.counts, self._cells
        return Stats(running=len(self._scheduler.running), waiting=len(self._scheduler.waiting), kv_used=cells.busy,
                     kv_cached=max(0, cells.used - cells.busy), kv_tokens=cells.total,
                     prefix_queries=counts.prefix_queries, prefix_hits=counts.prefix_hits,
                     preemptions=counts.preemptions, prompt_tokens=counts.prompt_tokens,
                     generation_tokens=counts.generation_tokens, drafted=counts.drafted, accepted=counts.accepted,
                     steps=counts.steps)

    def close(self) -> None:
        """Ends the thread, in the middle of a step if need be, and frees the model; harmless twice."""
        self._orders.put(None)
        while self._thread.is_alive():
            self._context.abort()
            self._thread.join(0.05)
        self._grammars.close()
        self._context.close()
        if self.projector is not None:
            self.projector.close()
        self.model.close()

    def _expect_possible(self, job: Job) -> None:
        length, limit = len(job.prompt), self._config.context_length
        if job.images and self.projector is None:
            raise unsupported("messages", "this model reads text only, not images")
        if length + 1 > limit:
            sentence = f"the prompt has {length} tokens; this model's context length is {limit} tokens"
            raise ContractError(400, "context_length_exceeded", sentence)
        if not job.prompt:
            raise invalid("prompt", "the prompt has no tokens")
        negative = sum(one < 0 for one in job.prompt)
        if negative != sum(image.size for image in job.images) or max(job.prompt) >= self.vocabulary.size:
            sentence = f"the prompt has a token id that is not one of this model's {self.vocabulary.size} tokens"
            raise invalid("prompt", sentence)
        if job.adapter is not None and job.adapter not in self._adapters:
            raise ContractError(404, "model_not_found", f"there is no model `{job.adapter}`", "model")
        if job.images:
            self._expect_computable(job)
        expect_known(job.sampling, self.vocabulary)
        if len(self._scheduler.waiting) + self._orders.qsize() + job.choices > WAITING_AT_MOST:
            raise ContractError(503, "engine_overloaded", "too many requests wait for the engine; try again")

    def _expect_computable(self, job: Job) -> None:
        """A prompt's images, where they stand and how large they are."""
        step = self._context.batch_tokens
        if job.prompt[-1] < 0:
            raise invalid("messages", "the prompt ends with an image: nothing can be drawn from there")
        for image in job.images:
            if image.whole and image.size > step:
                raise invalid("messages", f"an image has {image.size} tokens; this model reads one in a single step, "
                                          f"which has {step} tokens here")

    def _sequence(self, request: Request, choice: int) -> Sequence:
        job, vocabulary = request.job, self.vocabulary
        matcher = self._grammars.matcher(job.grammar, job.grammar_after) if job.grammar is not None else None
        known = tuple(one for one in job.prompt if one >= 0) if job.images else job.prompt
        sampler = Sampler(job.sampling, vocabulary, known, choice=choice, logprobs=job.logprobs, matcher=matcher)
        writer = Writer(vocabulary.pieces if job.show_special else vocabulary.visible, job.stop)
        proposer = self._proposer() if not job.images else None  # who guesses sees no images
        return Sequence(request, choice, sampler, writer, proposer=proposer, grammar=matcher)

    def _cancel(self, request: Request) -> None:
        self._answers.pop(request, None)
        self._orders.put(lambda: self._scheduler.drop(request))
        if self._scheduler.long is request:
            self._context.abort()

    def _deliver(self, request: Request, news: Delta | ContractError | EngineDied) -> None:
        answer = self._answers.get(request)
        if answer is None:
            return
        answer.push(news)
        if answer.ended:
            del self._answers[request]

    # on the thread

    def _work(self) -> None:
        try:
            while self._obey():
                self._scheduler.step()
                self._post()
            self._end("the engine is closed")
        except BaseException as error:  # whatever it is, nobody may wait for ever
            log.exception("the engine's thread has ended")
            self._end(f"llama.cpp's thread has ended: {error}")
            if self._on_death is not None:
                self._on_death(str(self.died))

    def _obey(self) -> bool:
        """Carries out the orders that are there, and waits for one while there is nothing to compute."""
        pause = _PAUSE if not self._scheduler.running else 0.0  # who waits alone waits for a grammar
        while True:
            try:
                order = self._orders.get(timeout=None if self._scheduler.idle else pause)
            except Empty:
                return True
            if order is None:
                return False
            order()

    def _post(self) -> None:
        outcomes = self._scheduler.outcomes
        if outcomes and self._outbox is not None:
            self._outbox.post(outcomes)
            outcomes.clear()

    def _end(self, reason: str) -> None:
        self.died = reason
        if self._outbox is not None:
            self._outbox.call(self._fail_all)

    def _fail_all(self) -> None:
        for request in list(self._answers):
            self._deliver(request, EngineDied(self.died))


def start(config: Config, on_progress: Callable[[float], None] | None = None,
          on_death: Callable[[str], None] | None = None, weights: Model | None = None) -> LlamaEngine:
    """Loads the model, its adapters and a context, and starts the thread; blocks meanwhile.

    `on_progress` hears 0 to 1. `weights` are the model's where they are there already. `on_death` is called in the
    engine's thread when that ends by itself, with a sentence. Raises LlamaError, with one sentence, for what cannot be
    served.
    """
    return LlamaEngine(load(config, on_progress, weights), config, on_death)
