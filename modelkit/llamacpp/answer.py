"""A job in work as the event loop sees it, and how results come over to it from the engine's thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.jobs import Delta, EngineDied, Token
from modelkit.llamacpp.sequence import Outcome, Request

Failure = ContractError | EngineDied


class LlamaAnswer:
    """`jobs.Answer` of the engine. All methods belong to the event loop.

    Deltas that nobody has taken yet are joined, choice by choice: who reads slowly gets fewer and longer ones.
    """

    def __init__(self, request: Request, cancel: Callable[[Request], None]) -> None:
        self.prompt_tokens = len(request.job.prompt)
        self.completion_tokens = 0
        self._request, self._cancel = request, cancel
        self._new: dict[int, list[Delta]] = {}  # by choice, in the order in which the choices had something
        self._open = request.job.choices
        self._failure: Failure | None = None
        self._reader: asyncio.Future[None] | None = None

    @property
    def cached_tokens(self) -> int:
        return self._request.cached_tokens

    @property
    def queued_seconds(self) -> float | None:
        """From the job's arrival until its first sequence got a place; None before that."""
        started = self._request.started
        return None if started is None else started - self._request.arrived

    @property
    def prompt_logprobs(self) -> tuple[Token | None, ...]:
        return tuple(self._request.prompt_logprobs)

    @property
    def ended(self) -> bool:
        """Whether nothing more can come."""
        return not self._open or self._failure is not None

    def __aiter__(self) -> LlamaAnswer:
        return self

    async def __anext__(self) -> Delta:
        while not self._new:
            if self._failure is not None:
                raise self._failure
            if not self._open:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        choice = next(iter(self._new))
        return _joined(self._new.pop(choice))

    def cancel(self) -> None:
        """Frees the sequences at once; the iteration ends."""
        if self._open and self._failure is None:
            self._open = 0
            self._new.clear()
            self._cancel(self._request)
            self._wake()

    def push(self, news: Delta | Failure) -> None:
        """Something came from the thread."""
        if not self._open or self._failure is not None:
            return
        if isinstance(news, Delta):
            self.completion_tokens += len(news.tokens)
            self._open -= news.finish is not None
            self._new.setdefault(news.choice, []).append(news)
        else:
            self._failure = news
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Outbox:
    """What the thread has for the event loop: one call into the loop a step, none while one is still to come."""

    def __init__(self, loop: asyncio.AbstractEventLoop,
                 deliver: Callable[[Request, Delta | ContractError], None]) -> None:
        self._loop, self._deliver = loop, deliver
        self._held: deque[Outcome] = deque()
        self._called = False

    def post(self, outcomes: Iterable[Outcome]) -> None:
        """On the engine's thread."""
        self._held.extend(outcomes)
        if self._held and not self._called:
            self._called = True
            self.call(self._empty)

    def call(self, what: Callable[[], None]) -> None:
        """Has the event loop call something after all that was posted. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._loop.call_soon_threadsafe(what)

    def _empty(self) -> None:
        self._called = False  # before looking: what is posted from here on calls again
        while self._held:
            self._deliver(*self._held.popleft())


def _joined(deltas: list[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    last = deltas[-1]
    return Delta(last.choice, "".join(one.text for one in deltas),
                 tuple(token for one in deltas for token in one.tokens), last.finish, last.stopped_by)
