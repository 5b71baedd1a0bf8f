"""Puts a load on a model and times every answer.

The loop's own clock is the only one that is read here, and answers bring their own times: a test can run a day of
load in no time, exactly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from modelkit.failure import Failure
from modelkit.release.bench.limits import Limit
from modelkit.release.bench.loads import Closed, Load, Open
from modelkit.release.bench.result import BenchResult, Sample
from modelkit.release.bench.saturation import Backlog, backlog, plateau
from modelkit.release.bench.verdict import judged
from modelkit.release.bench.workload import Chat, Workload

Progress = Callable[[int, int | None, str], None]

_MOST_UNDERWAY = 2048  # of an open loop: an engine that owes so many answers does not keep up
_FAILURES = 10  # so many first answers that all failed end a run


@dataclass(frozen=True)
class Extent:
    """How much is measured: so many requests, or as many as `seconds` give time for, whichever ends first. `warmup`
    requests go before and are not counted; None is two for each client, five at least."""

    requests: int = 100
    seconds: float | None = None
    warmup: int | None = None

    def before(self, load: Load) -> int:
        if self.warmup is not None:
            return self.warmup
        return max(5, 2 * load.concurrency) if isinstance(load, Closed) else 5


def _quiet(done: int, total: int | None, label: str) -> None:
    pass


async def measure(client: Chat, workload: Workload, load: Load | None = None, *, extent: Extent | None = None,
                  limits: Sequence[Limit] = (), seed: int = 0, on_progress: Progress = _quiet) -> BenchResult:
    """One load, measured and held to limits. `client` has room for as many connections as the load needs.

    Raises Failure `no-answer` for a model that answers nothing; single failures are counted.
    """
    load, extent = load or Closed(concurrency=4), extent or Extent()
    ready = await workload.ready(client)
    run = _Run(client, ready, extent, extent.before(load), f"measuring, {load}", on_progress)
    try:
        await (run.closed(load) if isinstance(load, Closed) else run.open(load, seed))
    except* Failure as failures:
        raise failures.exceptions[0] from None
    samples = tuple(run.samples[index] for index in sorted(run.samples))
    queue = backlog(samples) if isinstance(load, Open) else Backlog(False)
    if run.overrun:
        queue = Backlog(True, f"{_MOST_UNDERWAY} requests wait for an answer")
    return judged(load, samples, run.window, limits, notes=ready.notes, queue=queue)


async def sweep(client: Chat, workload: Workload, loads: Sequence[Load], *, extent: Extent | None = None,
                limits: Sequence[Limit] = (), seed: int = 0, on_progress: Progress = _quiet) -> tuple[BenchResult, ...]:
    """Several loads, one after the other, the lightest first. In closed loops the load from which more clients bring
    no more tokens is marked as saturated."""
    done = list[BenchResult]()
    for load in sorted(loads, key=lambda one: one.concurrency if isinstance(one, Closed) else one.rate):
        result = await measure(client, workload, load, extent=extent, limits=limits, seed=seed + len(done),
                               on_progress=on_progress)
        done.append(plateau(done[-1], result) if done else result)
    return tuple(done)


@dataclass
class _Run:
    """Requests on their way. Warm-up requests have the first numbers."""

    client: Chat
    workload: Workload
    extent: Extent
    warmup: int
    label: str
    on_progress: Progress
    samples: dict[int, Sample] = field(default_factory=dict)
    underway: int = 0
    answered: int = 0
    failures: int = 0
    overrun: bool = False
    window: float = 0.0
    _begin: float | None = None

    async def closed(self, load: Closed) -> None:
        numbers = iter(range(self.warmup + self.extent.requests))
        async with asyncio.TaskGroup() as clients:
            for _ in range(load.concurrency):
                clients.create_task(self._client(numbers))

    async def _client(self, numbers: Iterator[int]) -> None:
        for number in numbers:  # one iterator for all clients: each number is taken once
            if self._is_over():
                return
            await self._ask(number, self._now())

    async def open(self, load: Open, seed: int) -> None:
        start = self._now()
        async with asyncio.TaskGroup() as requests:
            for number, due in zip(range(self.warmup + self.extent.requests), load.arrivals(seed), strict=False):
                await asyncio.sleep(max(0.0, start + due - self._now()))
                self.overrun = self.underway >= _MOST_UNDERWAY
                if self.overrun or self._is_over():
                    return
                requests.create_task(self._ask(number, start + due))

    async def _ask(self, number: int, due: float) -> None:
        sent, before = self._now(), self.underway
        if number >= self.warmup and self._begin is None:
            self._begin = due
        self.underway += 1
        try:
            answer = await self.client.chat(self.workload.body(number))
        finally:
            self.underway -= 1
        late = sent - due
        self._presume_answers(answer.error)
        if self._begin is None or number < self.warmup:
            return
        self.window = self._now() - self._begin
        counted = answer.usage.get("prompt_tokens")
        self.samples[number] = Sample(
            due=_round(due - self._begin), late=_round(late), underway=before, e2e=_round(answer.seconds + late),
            ttft=None if answer.first is None else _round(answer.first + late),
            itl=tuple(map(_round, answer.gaps)), tokens=answer.tokens,
            prompt_tokens=counted if isinstance(counted, int) else None, error=answer.error)
        self.on_progress(len(self.samples), self.extent.requests, self.label)

    def _presume_answers(self, error: str | None) -> None:
        self.answered, self.failures = self.answered + (error is None), self.failures + (error is not None)
        if not self.answered and self.failures >= _FAILURES:
            raise Failure("no-answer", f"the first {self.failures} requests all failed: {error}",
                          hint="`modelkit ps` and `modelkit logs` say how the engine is")

    def _is_over(self) -> bool:
        limit = self.extent.seconds
        return limit is not None and self._begin is not None and self._now() - self._begin >= limit

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _round(seconds: float) -> float:
    return round(seconds, 6)
