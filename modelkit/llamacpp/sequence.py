"""One answer in the making, as the engine's thread sees it: what is known, what is computed, what comes next."""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from typing import Any, Protocol

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.jobs import Delta, FinishReason, ImageSpan, Job, Token
from modelkit.llamacpp.prefixes import Slot


class Sampler(Protocol):
    """How the tokens of one sequence are drawn (`sampling.Sampler`)."""

    def pick(self, context: Any, index: int) -> Token: ...
    def admissible(self, proposal: Tokens[int]) -> Tokens[int]: ...


class Writer(Protocol):
    """How tokens become text (`text.Writer`)."""

    stopped_by: str | None

    def write(self, token: int) -> str: ...
    def finish(self) -> str: ...


class Proposer(Protocol):
    """Who guesses how a sequence goes on (`speculation`)."""

    def propose(self, tokens: Tokens[int], most: int) -> list[int]: ...


class Grammar(Protocol):
    """What may follow (`grammar.Matcher`), which somebody else is still making until it is `ready`."""

    @property
    def ready(self) -> bool: ...


class Request:
    """A job in work and what all its choices have in common. Made on the event loop, then the thread's alone, but for
    `cancelled`, which the event loop sets.
    """

    def __init__(self, job: Job, number: int, arrived: float) -> None:
        self.job = job
        self.number = number  # in order of arrival
        self.arrived = arrived  # seconds, monotonic
        self.started: float | None = None  # when the first of its sequences got its place
        self.cancelled = False
        self.cached_tokens = 0
        self.prompt_logprobs: list[Token | None] = []
        self.open = job.choices  # sequences that are not finished


class Sequence:
    """One choice of a request: prompt and answer so far in `tokens`, of which the slot has the first ones computed.

    A sequence that lost its slot to others starts anew with all of `tokens` to compute; sampler and writer go on.
    """

    def __init__(self, request: Request, choice: int, sampler: Sampler, writer: Writer, *,
                 proposer: Proposer | None = None, grammar: Grammar | None = None) -> None:
        self.request = request
        self.choice = choice
        self.order = (request.number, choice)
        self.adapter = request.job.adapter
        self.tokens = list(request.job.prompt)
        self._images = {span.start: span for span in request.job.images}
        self.prompt_length = len(self.tokens)
        self.slot: Slot | None = None
        self.overtaken = 0  # by how many that came later it was passed while it waited for room
        self.guesses = proposer is not None
        self.acceptance = 1.0  # of guessed tokens, the later ones weighing more
        self.unpaid = 0  # steps for which it guesses no more
        self._sampler, self._writer, self._proposer = sampler, writer, proposer
        self._grammar = grammar

    @property
    def ready(self) -> bool:
        """Whether it can be computed without waiting for its grammar."""
        return self._grammar is None or self._grammar.ready

    @property
    def remaining(self) -> int:
        """Tokens to compute before the next one can be drawn."""
        return len(self.tokens) - (len(self.slot.tokens) if self.slot else 0)

    @property
    def image(self) -> ImageSpan | None:
        """What is to be computed next, if that is an image."""
        return self._images.get(len(self.slot.tokens)) if self._images and self.slot else None

    @property
    def reach(self) -> int:
        """Those of the remaining tokens that come before the next image."""
        if not self._images:
            return self.remaining
        done = len(self.slot.tokens) if self.slot else 0
        return min((start for start in self._images if start >= done), default=len(self.tokens)) - done

    @property
    def answering(self) -> bool:
        return len(self.tokens) > self.prompt_length

    @property
    def scored(self) -> bool:
        """Whether the log-probabilities of the prompt's tokens are wanted, and not there yet."""
        request = self.request
        return (request.job.prompt_logprobs is not None and self.choice == 0
                and len(request.prompt_logprobs) < self.prompt_length)

    def guess(self, most: int) -> list[int]:
        """How it may go on after its last token, `most` tokens at most."""
        if self._proposer is None or most < 1:
            return []
        return list(self._sampler.admissible(self._proposer.propose(self.tokens, most)))[:most]

    def draw(self, context: Any, index: int, ends: frozenset[int], room: int) -> Delta:
        """Draws the next token from the logits at `index`; `room` is what the context has for this sequence."""
        job = self.request.job
        token = self._sampler.pick(context, index)
        self.tokens.append(token.id)
        finish: FinishReason | None = None
        stopped_by: str | int | None = None
        if token.id in ends:  # whoever ignores them does not draw them, unless a grammar leaves nothing else
            text, finish = self._writer.finish(), "stop"
            stopped_by = self._writer.stopped_by or token.id
        else:
            text = self._writer.write(token.id)
            drawn = len(self.tokens) - self.prompt_length
            if self._writer.stopped_by is None and (drawn == job.max_tokens or len(self.tokens) >= room):
                text, finish = text + self._writer.finish(), "length"
            if self._writer.stopped_by is not None:
                finish, stopped_by = "stop", self._writer.stopped_by
        return Delta(self.choice, text, (token,), finish, stopped_by)


Outcome = tuple[Request, Delta | ContractError]
"""What a step has for the event loop: something new of a choice, or why the request fails."""
