"""One bundle as it runs: its engines, each kept, and what stands before them when there are several."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.runtime.devices import share
from modelkit.runtime.engine import Engine, Seat
from modelkit.runtime.identity import Identity
from modelkit.runtime.kept import Kept, Phase
from modelkit.runtime.logs import EngineLog, Output, Redaction
from modelkit.runtime.probe import Probe
from modelkit.runtime.state import GenerationState
from modelkit.runtime.tally import Tallies
from modelkit.runtime.timing import Timing

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.balancer import Balancer

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Surroundings:
    """What every generation of a run is given. `spawned` and `gone` hear of each process."""

    run_id: str
    log: EngineLog
    timing: Timing
    spawned: Callable[[Identity], None]
    gone: Callable[[Identity], None]


class Generation:
    """The engines of one bundle. `changed` hears when it has a new phase or socket, `noted` of each of its processes.

    It is ready while one of its engines is.
    """

    def __init__(self, number: int, bundle: Bundle, directory: Path, around: Surroundings, *,
                 environment: Mapping[str, str], redaction: Redaction, changed: Callable[[Generation], None],
                 noted: Callable[[Generation, Kept], None]) -> None:
        self.id, self.bundle, self.directory = number, bundle, directory
        self.stage, self.digest = bundle.plan.stage, bundle.digest
        self.version = self.digest.removeprefix("sha256:")[:12]
        self.phase, self.since = Phase.NEW, time.time()
        self.replicas: list[Kept] = []
        self.balancer: Balancer | None = None
        self._entered, self._shown = time.monotonic(), Path()
        self._begun = False  # from then on its phase is that of its engines
        self._power = asyncio.Lock()
        self.waking = False  # it was unloaded, and starts because somebody asked
        self._unwoken: Failure | None = None
        self._around, self._environment, self._redaction = around, environment, redaction
        self._changed, self._noted = changed, noted
        self.tallies = Tallies()
        self._made = time.time()

    def counts(self) -> dict[str, Any]:
        """What it has answered since it was made, at `started`."""
        return {"started": self._made, **self.tallies.as_json()}

    async def start(self, progress: Progress) -> None:
        """Start all of it for the first time: a failure now is not tried again. `progress` gets lines worth showing."""
        self._furnish()
        self._become(Phase.STARTING)
        await self._load(progress)

    async def unload(self) -> None:
        """Stop all of it until `wake`; it keeps its place."""
        self._begun = False
        self._become(Phase.UNLOADED)
        async with self._power:
            await self._clear()

    async def wake(self) -> None:
        """Start all of it again. When that fails it stays unloaded, and `failure` says why."""
        async with self._power:
            if (before := self.phase) is not Phase.UNLOADED:
                return
            self.waking, self._unwoken = True, None
            self._become(Phase.STARTING)
            try:
                await self._load(lambda line: None)
            except BaseException as error:
                self._unwoken = error if isinstance(error, Failure) else None
                await asyncio.shield(self._clear())
                if self.phase is Phase.STARTING:
                    self._become(before)
                raise
            finally:
                self.waking = False

    async def _load(self, progress: Progress) -> None:
        several = self.bundle.replicas > 1
        balancer = self._new_balancer() if several else None  # now, so that what is missing is said at once
        self.replicas = [self._new_replica(number) for number in range(1, self.bundle.replicas + 1)]
        await _together(replica.start(progress) for replica in self.replicas)
        if balancer is not None:
            self.balancer = balancer
            self._show()
            await balancer.kept.start()
        self._begun, self.waking = True, False
        self._settle()

    async def _clear(self) -> None:
        """Nothing runs, and nothing is left of what did."""
        await asyncio.gather(*(kept.stop() for kept in self.processes()))
        self.replicas, self.balancer = [], None

    async def grow(self, bundle: Bundle, progress: Progress) -> None:
        """More engines of the same launch. When one of them can't start, there are as many as before."""
        taken = {replica.number for replica in self.replicas}
        free = (number for number in range(1, bundle.replicas + 1) if number not in taken)
        more = [self._new_replica(next(free)) for _ in range(bundle.replicas - len(self.replicas))]
        balancer = self._new_balancer() if self.balancer is None else None
        starts = [replica.start(progress) for replica in more]
        if balancer is not None:
            self.balancer = balancer
            self._show()
            starts.append(balancer.kept.start())
        self.replicas += more
        try:
            await _together(starts)
        except BaseException:
            await asyncio.shield(self._without(more, balancer))
            raise
        self.bundle = bundle
        self._settle()

    async def shrink(self, bundle: Bundle, seconds: float, quiet: Callable[[Path, float], Awaitable[None]]) -> None:
        """Fewer engines: each gets no new requests, finishes those that it has for up to `seconds`, and is stopped.

        `quiet` waits for requests that came to sockets in a directory without the balancer.
        """
        self.bundle = bundle
        order = sorted(self.replicas, key=lambda replica: (replica.phase is not Phase.READY, replica.number))
        leaving = order[bundle.replicas:]
        for replica in leaving:
            replica.draining()

        async def leave(replica: Kept) -> None:
            if self.balancer is not None:
                await self.balancer.empty(replica.seat.socket, seconds)
            await quiet(replica.seat.directory, seconds)
            await replica.stop()

        await asyncio.gather(*map(leave, leaving))
        self.replicas = [replica for replica in self.replicas if replica not in leaving]
        self._settle()

    async def stop(self, grace: float | None = None) -> None:
        """End it for good; its run directory is removed. Calling it again with a shorter grace hurries it."""
        if self.phase not in (Phase.STOPPING, Phase.STOPPED):
            self._become(Phase.STOPPING)
        await asyncio.gather(*(kept.stop(grace) for kept in self.processes()))
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.phase is not Phase.STOPPED:
            self._become(Phase.STOPPED)

    def draining(self) -> None:
        """It gets no new requests; what dies of it now is not restarted."""
        self._become(Phase.DRAINING)
        for replica in self.replicas:
            if not replica.leaving:
                replica.draining()

    @property
    def socket(self) -> Path:
        """Where its requests go: to the balancer while it works, else to an engine that does."""
        if self.balancer is not None and self.balancer.ready:
            return self.balancer.socket
        ready = (replica for replica in self.replicas if replica.phase is Phase.READY)
        found = next(ready, self.replicas[0] if self.replicas else None)
        return found.seat.socket if found is not None else self.directory / "none"

    @property
    def failure(self) -> Failure | None:
        """Why it does not run, or why one of its engines does not."""
        return next((kept.failure for kept in self.processes() if kept.failure is not None), self._unwoken)

    @property
    def asleep(self) -> bool:
        """Whether requests wait for it to start."""
        return self.waking or self.phase is Phase.UNLOADED

    @property
    def restarts(self) -> int:
        return sum(replica.restarts for replica in self.replicas)

    @property
    def ready(self) -> int:
        """How many of its engines are ready."""
        return sum(replica.phase is Phase.READY for replica in self.replicas)

    @property
    def load_seconds(self) -> float:
        """From its start to ready, of the slowest, the last time."""
        return max((replica.load_seconds for replica in self.replicas), default=0.0)

    @property
    def uptime(self) -> float:
        """Seconds in this phase; clocks may jump meanwhile."""
        return time.monotonic() - self._entered

    def processes(self) -> Iterator[Kept]:
        """The engines, then what stands before them."""
        yield from self.replicas
        if self.balancer is not None:
            yield self.balancer.kept

    def state(self) -> GenerationState:
        return GenerationState(
            id=self.id, stage=self.stage, engine=self.bundle.plan.engine_name, digest=self.digest,
            phase=self.phase.value, since=self.since, socket=str(self.socket),
            processes=tuple(kept.state() for kept in self.processes()))

    def _new_replica(self, number: int) -> Kept:
        plan, launch = self.bundle.plan, self.bundle.launch
        seat = Seat(self._around.run_id, self.id, number, self.directory / f"r{number}")
        environment = share(self._environment, self.bundle.gpus, number, alone=self.bundle.replicas == 1)
        label = f"g{self.id} {self.stage}" + (f" r{number}" if self.bundle.replicas > 1 or number > 1 else "")
        engine = Engine(launch, name=plan.engine_name, seat=seat, environment=environment,
                        output=Output(self._around.log, label, self._redaction), timing=self._around.timing,
                        probe=lambda pid: Probe(seat.socket, pid, plan.name, launch.ready_logprobs, plan.task,
                                                launch.expected))
        return Kept(engine, timing=self._around.timing, changed=self._heard, spawned=self._around.spawned,
                    gone=self._around.gone)

    def _new_balancer(self) -> Balancer:
        from modelkit.runtime.balancer import Balancer, envoy_command

        output = Output(self._around.log, f"g{self.id} {self.stage} balancer", self._redaction)
        seat = Seat(self._around.run_id, self.id, 0, self.directory / "lb")
        return Balancer(envoy_command(), seat, environment=self._environment, output=output,
                        timing=self._around.timing, changed=self._heard, spawned=self._around.spawned,
                        gone=self._around.gone)

    async def _without(self, more: list[Kept], balancer: Balancer | None) -> None:
        await asyncio.gather(*(replica.stop() for replica in more))
        self.replicas = [replica for replica in self.replicas if replica not in more]
        if balancer is not None:
            self.balancer = None
            await balancer.stop()
        self._settle()

    def _heard(self, kept: Kept) -> None:
        self._noted(self, kept)
        self._settle()

    def _show(self) -> None:
        if self.balancer is not None:
            self.balancer.show({replica.seat.socket: replica.phase is Phase.READY for replica in self.replicas
                                if replica.phase in (Phase.READY, Phase.DRAINING)})

    def _settle(self) -> None:
        """Let everything follow what its processes are now."""
        if not self._begun or self.phase in (Phase.DRAINING, Phase.STOPPING, Phase.STOPPED):
            return
        self._show()
        phase = overall(replica.phase for replica in self.replicas)
        if phase is not self.phase or self.socket != self._shown:
            self._become(phase)

    def _become(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase, self.since, self._entered = phase, time.time(), time.monotonic()
        self._shown = self.socket
        self._changed(self)

    def _furnish(self) -> None:
        try:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(mode=0o700)
        except OSError as error:
            raise Failure("run-directory", f"cannot write `{self.directory}`: {error.strerror or error}",
                          "free some space there, or set MODELKIT_HOME") from None


def overall(phases: Iterable[Phase]) -> Phase:
    """The phase of a generation whose engines are in these: the best of them.

    >>> overall([Phase.BACKOFF, Phase.READY]).value, overall([Phase.STARTING, Phase.FAILED]).value
    ('ready', 'starting')
    """
    found = set(phases)
    return next((phase for phase in (Phase.READY, Phase.STARTING, Phase.BACKOFF) if phase in found), Phase.FAILED)


async def _together(starts: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them, or the first failure after the others have been undone."""
    tasks = [asyncio.create_task(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
