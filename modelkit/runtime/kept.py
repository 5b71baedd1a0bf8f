"""A program that is kept: started once by somebody's wish, then restarted with patience when it crashes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from modelkit.failure import Failure
from modelkit.runtime.engine import Engine
from modelkit.runtime.identity import Identity
from modelkit.runtime.state import ProcessState
from modelkit.runtime.timing import Timing


class Phase(StrEnum):
    """Where a program, or a generation of them, is in its life."""

    NEW = "new"
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"  # it crashed and waits for its next try
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    UNLOADED = "unloaded"  # a generation that nobody asked for a while; the next request starts it
    FAILED = "failed"  # it crashed too often; only a person brings it back


_NEXT: dict[Phase, set[Phase]] = {
    Phase.NEW: {Phase.STARTING, Phase.STOPPING},
    Phase.STARTING: {Phase.READY, Phase.BACKOFF, Phase.FAILED, Phase.DRAINING, Phase.STOPPING},
    Phase.READY: {Phase.BACKOFF, Phase.FAILED, Phase.DRAINING, Phase.STOPPING},
    Phase.BACKOFF: {Phase.STARTING, Phase.FAILED, Phase.DRAINING, Phase.STOPPING},
    Phase.DRAINING: {Phase.STOPPING},
    Phase.FAILED: {Phase.DRAINING, Phase.STOPPING},
    Phase.STOPPING: {Phase.STOPPED},
    Phase.STOPPED: set(),
}


class Patience:
    """How long to wait before the next try, and when to give up. Knows no process."""

    def __init__(self, timing: Timing, *, jitter: Callable[[], float] = random.random) -> None:
        self._timing, self._jitter = timing, jitter
        self._crashes: deque[float] = deque()
        self._row = 0

    def crashed(self, now: float, healthy_for: float) -> float | None:
        """Seconds to wait, half of it at random; None when it has crashed too often."""
        if healthy_for >= self._timing.steady:
            self._row = 0
            self._crashes.clear()
        self._row += 1
        self._crashes.append(now)
        while self._crashes[0] < now - self._timing.crash_window:
            self._crashes.popleft()
        if len(self._crashes) >= self._timing.crashes:
            return None
        delay = min(self._timing.backoff_first * 2.0 ** min(self._row - 1, 32), self._timing.backoff_most)
        return delay * (0.5 + self._jitter() / 2)


class Kept:
    """One program that is kept running. `changed` hears of each change of phase."""

    def __init__(self, engine: Engine, *, timing: Timing, changed: Callable[[Kept], None],
                 spawned: Callable[[Identity], None], gone: Callable[[Identity], None]) -> None:
        self.engine, self.seat, self.launch = engine, engine.seat, engine.launch
        self.load_seconds = 0.0
        self.phase, self.since, self.restarts = Phase.NEW, time.time(), 0
        self._entered = time.monotonic()
        self.failure: Failure | None = None
        self._changed, self._spawned, self._gone = changed, spawned, gone
        self._patience = Patience(timing)
        self._keeper: asyncio.Task[None] | None = None

    @property
    def number(self) -> int:
        """Which one of its generation; the balancer is 0."""
        return self.seat.replica

    async def start(self, progress: Callable[[str], None] = lambda line: None) -> None:
        """Start it for the first time: a failure now is not tried again. `progress` gets the lines worth showing."""
        def listen(line: str) -> None:
            if any(mark in line for mark in self.launch.log_progress):
                progress(line)

        output = self.engine.output
        output.listener = listen if self.launch.log_progress else None
        self._become(Phase.STARTING)
        await self._live()
        output.listener = None
        self._become(Phase.READY)
        self._keeper = asyncio.create_task(self._keep())
        self._keeper.add_done_callback(self._kept)

    async def stop(self, grace: float | None = None) -> None:
        """End it for good; its run directory is removed. Calling it again with a shorter grace hurries it."""
        if grace == 0:
            self.engine.kill()
        await self._unkept()
        if self.phase not in (Phase.STOPPING, Phase.STOPPED):
            self._become(Phase.STOPPING)
        await self._end(self.launch.grace_seconds if grace is None else grace)
        shutil.rmtree(self.seat.directory, ignore_errors=True)
        if self.phase is not Phase.STOPPED:
            self._become(Phase.STOPPED)

    def draining(self) -> None:
        """It gets no new requests; should it die now, it is not restarted."""
        if self._keeper is not None:
            self._keeper.cancel()
        self._become(Phase.DRAINING)

    @property
    def leaving(self) -> bool:
        return self.phase in (Phase.DRAINING, Phase.STOPPING, Phase.STOPPED)

    @property
    def identity(self) -> Identity | None:
        return self.engine.identity

    @property
    def uptime(self) -> float:
        """Seconds in this phase; clocks may jump meanwhile."""
        return time.monotonic() - self._entered

    def state(self) -> ProcessState:
        who = self.identity if self.phase not in (Phase.BACKOFF, Phase.FAILED, Phase.STOPPED) else None
        return ProcessState(replica=self.number, phase=self.phase.value, since=self.since, pid=who.pid if who else None,
                            start=who.start if who else None, restarts=self.restarts, socket=str(self.seat.socket))

    async def _unkept(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({self._keeper})

    async def _keep(self) -> None:
        ready_at = time.monotonic()
        while True:
            # Shielded: whoever cancels this task would cancel the process's own future with it.
            code = await asyncio.shield(self.engine.exited)
            await self._end(0)  # first, for its last words to arrive
            self.failure = self.engine.death(code)
            healthy_for = time.monotonic() - ready_at
            while not await self._again(healthy_for):
                if self.phase is Phase.FAILED:
                    return
                healthy_for = 0.0
            ready_at = time.monotonic()

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        """A keeper that broke must not leave an engine that nobody watches looking ready."""
        if not keeper.cancelled() and (bug := keeper.exception()) is not None:
            traceback.print_exception(bug, file=sys.stderr)
            self.failure = Failure("internal", f"the supervisor has a bug: {type(bug).__name__}: {bug}")
            if Phase.FAILED in _NEXT[self.phase]:
                self._become(Phase.FAILED)

    async def _again(self, healthy_for: float) -> bool:
        """Wait, then try once more; True when it is ready again."""
        delay = self._patience.crashed(time.monotonic(), healthy_for)
        if delay is None:
            self._become(Phase.FAILED)
            return False
        self._become(Phase.BACKOFF)
        await asyncio.sleep(delay)
        self.restarts += 1
        self._become(Phase.STARTING)
        try:
            await self._live()
        except Failure as failure:
            self.failure = failure
            return False
        self.failure = None
        self._become(Phase.READY)
        return True

    async def _live(self) -> None:
        began = time.monotonic()
        try:
            await self.engine.start(self._spawned)
            self.load_seconds = time.monotonic() - began
        except BaseException:
            if (who := self.identity) is not None:
                self._gone(who)
            raise

    async def _end(self, grace: float) -> None:
        await self.engine.stop(grace)
        if (who := self.identity) is not None:
            self._gone(who)

    def _become(self, phase: Phase) -> None:
        assert phase in _NEXT[self.phase], f"{self.seat.mark}: {self.phase} -> {phase}"
        self.phase, self.since, self._entered = phase, time.time(), time.monotonic()
        self._changed(self)
