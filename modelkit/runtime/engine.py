"""One life of one engine: started, ready, stopped. It never comes back by itself; see `generation`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from modelkit.engines import explain_exit
from modelkit.engines.launch import RUN, Launch
from modelkit.failure import Failure
from modelkit.runtime.environment import passed_on
from modelkit.runtime.identity import GENERATION, MARKER, Identity
from modelkit.runtime.logs import Output
from modelkit.runtime.process import Process, describe_exit
from modelkit.runtime.sweep import kill_marked
from modelkit.runtime.timing import Timing

_OUT_OF_MEMORY = ("if nobody killed it, memory ran out (the kernel's log says so); a smaller num_ctx or "
                  "SERVE max_concurrency needs less")
_SEE_LOGS = "`modelkit logs` prints everything it said"
_CAUSE = 200  # lines; vLLM's real cause stands 50 to 100 lines above its last


@dataclass(frozen=True)
class Seat:
    """Where an engine runs: which one of which generation it is, its directory, and the run it belongs to."""

    run_id: str
    generation: int
    replica: int
    directory: Path

    @property
    def socket(self) -> Path:
        return self.directory / "engine.sock"

    @property
    def mark(self) -> str:
        """What the environment of its processes says, next to the run's id."""
        return f"{self.generation}.{self.replica}"

    def filled(self, text: str) -> str:
        return text.replace(RUN, str(self.directory))


class Readiness(Protocol):
    """How to find out that a program is ready; `waiting_for` says what is missing."""

    waiting_for: str

    async def ready(self, every: float) -> None:
        """Returns when it is; raises Failure when it never will be."""


class Engine:
    """One engine process. After `start` it has passed its probe; after `stop` nothing of it is left.

    `probe` is given the process's pid. `noun` is what failures call it.
    """

    def __init__(self, launch: Launch, *, name: str, seat: Seat, environment: Mapping[str, str], output: Output,
                 timing: Timing, probe: Callable[[int], Readiness], noun: str = "the engine") -> None:
        self.launch, self.name, self.noun, self.seat = launch, name, noun, seat
        self.output, self.timing = output, timing
        self._environment, self._probe = environment, probe
        self._process: Process | None = None

    @property
    def identity(self) -> Identity | None:
        return self._process.identity if self._process else None

    @property
    def exited(self) -> asyncio.Future[int]:
        """Resolves when the process has ended, with its return code."""
        assert self._process is not None
        return self._process.exited

    async def start(self, spawned: Callable[[Identity], None] = lambda _: None) -> None:
        """Start it and wait until it is ready. When it dies, is late or this is cancelled, nothing is left running.

        `spawned` is told the process as soon as there is one.
        """
        self._furnish()
        self._process = Process.spawn([self.seat.filled(word) for word in self.launch.argv], self._whole_environment(),
                                      self.seat.directory, self.output)
        try:
            spawned(self._process.identity)
            await self._until_ready(self._process)
        except BaseException:
            await asyncio.shield(self.stop(self.launch.grace_seconds))
            raise

    async def stop(self, grace: float) -> None:
        """SIGTERM once, SIGKILL after `grace`, then whatever carries its marker; its socket is removed."""
        if self._process is None:
            return
        await self._process.stop(grace)
        # Looking through all processes takes milliseconds: not on the loop that relays bytes.
        await asyncio.to_thread(kill_marked, self.seat.run_id, self.seat.mark)
        await self._process.last_words(self.timing.last_words)
        self.seat.socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """No grace; `stop` still has to follow."""
        if self._process is not None:
            self._process.kill()

    def death(self, code: int) -> Failure:
        """What to say about an engine that ended by itself."""
        hint = self._explained() or (_OUT_OF_MEMORY if code == -signal.SIGKILL else _SEE_LOGS)
        return Failure("engine-exited", f"{self.noun} {describe_exit(code)}", hint, self.output.tail())

    async def _until_ready(self, process: Process) -> None:
        probe = self._probe(process.pid)
        ready = asyncio.create_task(probe.ready(self.timing.probe_every))
        racing: set[asyncio.Future[Any]] = {process.exited, ready}
        try:
            done, _ = await asyncio.wait(racing, timeout=self.launch.start_seconds,
                                         return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if process.exited in done:
            await process.last_words(self.timing.last_words)
            raise self.death(process.exited.result())
        if ready not in done:
            tail = self.output.tail()
            raise Failure("engine-not-ready", f"{self.noun} was not ready after {self.launch.start_seconds:g} seconds: "
                          f"{probe.waiting_for}", self._explained() or _SEE_LOGS, tail)
        try:
            ready.result()
        except Failure as failure:
            tail = self.output.tail()
            failure.hint = failure.hint or self._explained()
            failure.detail = (*failure.detail, *tail)[-30:]
            raise

    def _explained(self) -> str | None:
        """What its last words mean. The cause may stand a whole traceback before the end."""
        return explain_exit(self.name, self.output.tail(_CAUSE))

    def _whole_environment(self) -> dict[str, str]:
        given = {name: self.seat.filled(value) for name, value in self.launch.env.items()}
        return {**passed_on(self._environment), **given, MARKER: self.seat.run_id, GENERATION: self.seat.mark}

    def _furnish(self) -> None:
        """An empty run directory with the launch's files in it."""
        directory = self.seat.directory
        try:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(mode=0o700)
            for file in self.launch.files:
                path = directory / _inside(file.path)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, file.mode), "w",
                               encoding="utf-8", newline="") as out:
                    out.write(self.seat.filled(file.content))
        except OSError as error:
            raise Failure("run-directory", f"cannot write `{error.filename or directory}`: "
                          f"{error.strerror or error}", "free some space there, or set MODELKIT_HOME") from None


def _inside(path: str) -> PurePosixPath:
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError(f"a launch's file must stay in its run directory: {path!r}")
    return parts
