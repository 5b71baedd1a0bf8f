"""One client's answer: its jobs in work, what their deltas become, and how it is sent, whole or as a stream.

Knows neither chats nor completions: a `Reader` for each choice does.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from modelkit.contract.errors import ContractError, of_status
from modelkit.llamacpp.jobs import Answer as Work
from modelkit.llamacpp.jobs import Delta, Engine, EngineDied, Job
from modelkit.llamacpp.metrics import Metrics, Watch
from modelkit.llamacpp.sse import DONE, Chunks
from modelkit.llamacpp.types import NULL_UNLESS_SAID, Answer, ReasoningTokens, Usage


class Reader(Protocol):
    """Reads one choice: `feed` every delta of it. What it returns has no `index`, which is the answer's to say."""

    def feed(self, delta: Delta) -> list[dict[str, Any]]:
        """The choices of chunks that this delta makes: none, one, or several."""

    def message(self) -> dict[str, Any]:
        """The whole choice, after its last delta."""


@dataclass(frozen=True)
class Asked:
    """What one request wants.

    `reader` makes the reader of a job's choice. `opening` is what each choice of a stream begins with.
    """

    kind: Literal["chat", "text"]
    model: str
    jobs: Sequence[Job]
    reader: Callable[[int, int, Work], Reader]  # (which job, which of its choices, its work)
    stream: bool = False
    include_usage: bool = False
    opening: dict[str, Any] | None = None
    reasons: bool = False  # whether usage tells reasoning tokens


class Answering:
    """The jobs of one request in work. Made on the event loop; raises ContractError when the engine takes one not.

    Iterate `events` or await `whole`, once; then `close`, whatever happened.
    """

    def __init__(self, asked: Asked, engine: Engine, metrics: Metrics, fingerprint: str) -> None:
        self._asked = asked
        self._works: list[Work] = []
        self._watches: list[Watch] = []
        try:
            for job in asked.jobs:
                self._works.append(engine.submit(job))
                self._watches.append(metrics.watch(job.choices))
        except EngineDied:
            self.close("error")
            raise _gone() from None
        except BaseException:
            self.close("error")
            raise
        self._readers = [[asked.reader(number, choice, work) for choice in range(job.choices)]
                         for number, (job, work) in enumerate(zip(asked.jobs, self._works, strict=True))]
        chat = asked.kind == "chat"
        self.head: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": "chat.completion" if chat else "text_completion", "created": int(time.time()),
            "model": asked.model, "system_fingerprint": fingerprint}

    async def whole(self) -> Answer:
        async for number, delta in self._deltas():
            self._readers[number][delta.choice].feed(delta)
        choices = [reader.message() for readers in self._readers for reader in readers]
        for choice in choices if self._asked.kind == "chat" else ():
            choice["message"] = {**choice["message"], **{
                name: None for name in NULL_UNLESS_SAID if name not in choice["message"]}}
        return Answer.model_construct(
            **self.head, usage=self.usage(), choices=[{"index": index, **one} for index, one in enumerate(choices)])

    async def events(self) -> AsyncIterator[bytes]:
        """The events of the stream, as they come. The first is an error, or there is a first token."""
        asked = self._asked
        kind = "chat.completion.chunk" if asked.kind == "chat" else "text_completion"
        chunks, opened = Chunks(self.head | {"object": kind}), asked.opening is None
        async for number, delta in self._deltas():
            if not opened:
                opened = True
                for index in range(sum(map(len, self._readers))):
                    yield chunks.choice({"index": index, **(asked.opening or {})})
            index = number * len(self._readers[0]) + delta.choice
            for choice in self._readers[number][delta.choice].feed(delta):
                yield chunks.choice({"index": index, **choice})
        if asked.include_usage:
            yield chunks.usage(self.usage().model_dump(exclude_none=True))
        yield DONE

    def usage(self) -> Usage:
        prompt = sum(work.prompt_tokens for work in self._works)
        completion = sum(work.completion_tokens for work in self._works)
        details = None
        if self._asked.reasons:
            details = ReasoningTokens(reasoning_tokens=sum(
                getattr(reader, "reasoning_tokens", 0) for readers in self._readers for reader in readers))
        return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion,
                     completion_tokens_details=details)

    async def _deltas(self) -> AsyncIterator[tuple[int, Delta]]:
        """Every delta with the number of its job. Ends with all jobs over, whichever way it ends."""
        reason = "abort"
        try:
            if len(self._works) == 1:
                async for delta in self._watched(0):
                    yield 0, delta
            else:
                async for pair in self._merged():
                    yield pair
        except EngineDied as error:
            reason = "error"
            raise _gone() from error
        except Exception:
            reason = "error"
            raise
        finally:
            self.close(reason)

    async def _watched(self, number: int) -> AsyncIterator[Delta]:
        work, watch = self._works[number], self._watches[number]
        first = True
        async for delta in work:
            if first:
                first = False
                watch.admitted(work.prompt_tokens, getattr(work, "queued_seconds", None))
            watch.delta(delta)
            yield delta

    async def _merged(self) -> AsyncIterator[tuple[int, Delta]]:
        """Several jobs' deltas in the order in which they come."""
        ready: asyncio.Queue[tuple[int, Delta] | Exception | None] = asyncio.Queue()

        async def read(number: int) -> None:
            try:
                async for delta in self._watched(number):
                    ready.put_nowait((number, delta))
            except Exception as error:
                ready.put_nowait(error)
            else:
                ready.put_nowait(None)

        tasks = [asyncio.ensure_future(read(number)) for number in range(len(self._works))]
        try:
            left = len(tasks)
            while left:
                found = await ready.get()
                if isinstance(found, Exception):
                    raise found
                if found is None:
                    left -= 1
                else:
                    yield found
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self, reason: str = "abort") -> None:
        """Nothing of it is left in the engine; what has not finished ends for this reason. Harmless when it is over."""
        for work in self._works:
            with suppress(EngineDied):
                work.cancel()
        for watch in self._watches:
            watch.over(reason)


def _gone() -> ContractError:
    """Why is for the log, which has it."""
    return of_status(503, "the engine has ended; try again")
