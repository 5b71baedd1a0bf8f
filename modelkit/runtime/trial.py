"""One engine in a run of its own: no address, no supervisor, nothing left of it. For what only a real start can tell.

It ends with the block that it runs in, however that ends; should this process be killed, its reaper ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.contract import effective
from modelkit.failure import Failure
from modelkit.runtime.devices import share
from modelkit.runtime.engine import Engine, Seat
from modelkit.runtime.logs import Output, Redaction
from modelkit.runtime.probe import NotYet, Probe, ask
from modelkit.runtime.reaper import Reaper
from modelkit.runtime.timing import Timing
from modelkit.runtime.tree import resident

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle

_LOG = 16 << 20  # bytes of an engine's output that are kept: its beginning, where it says what it allocates
_LONGEST = "r1/engine.sock"
_SOCKET_PATH = 100  # bytes, see `runtime.project`


@dataclass
class Said:
    """What the engine printed, in memory."""

    lines: list[bytes] = field(default_factory=list)
    size: int = 0

    def write(self, label: str, lines: list[bytes]) -> None:
        del label
        if self.size < _LOG:
            self.lines += lines
            self.size += sum(map(len, lines))

    def __str__(self) -> str:
        return b"\n".join(self.lines).decode(errors="replace")


@dataclass(frozen=True)
class Trial:
    """The engine while it runs, and ready. `seconds` it took to be that."""

    engine: Engine
    said: Said
    seconds: float

    @property
    def socket(self) -> Path:
        return self.engine.seat.socket

    @property
    def log(self) -> str:
        """All that it said until now."""
        return str(self.said)

    @property
    def pids(self) -> tuple[int, ...]:
        """Its process, and those below it."""
        import psutil

        who = self.engine.identity
        if who is None:
            return ()
        with contextlib.suppress(psutil.Error):
            return (who.pid, *(child.pid for child in psutil.Process(who.pid).children(recursive=True)))
        return (who.pid,)

    def resident(self) -> int:
        """Bytes of its processes' memory now. What several of them share counts once where the system can say so
        (Linux), else for each."""
        import psutil

        who, pids = self.engine.identity, self.pids
        if len(pids) > 1:
            with contextlib.suppress(psutil.Error, AttributeError):
                return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)
        return 0 if who is None else resident([who]).get(who.pid, 0)

    def processor_seconds(self) -> float:
        """Processor time of all its processes since they started."""
        import psutil

        total = 0.0
        for pid in self.pids:
            with contextlib.suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                total += times.user + times.system
        return total

    async def effective(self) -> effective.Effective | None:
        """What it says of itself; None where it says nothing that can be read."""
        with contextlib.suppress(OSError, ValueError, AttributeError, NotYet):
            _, reply = await ask(self.socket, "GET", effective.PATH)
            return effective.Effective.from_json(json.loads(reply))
        return None


@contextlib.asynccontextmanager
async def trial(bundle: Bundle, environment: Mapping[str, str], said: Callable[[str], None], *,
                timing: Timing | None = None) -> AsyncIterator[Trial]:
    """Start one engine of a bundle and wait until it is ready. `said` hears its lines that are worth showing.

    Raises Failure when it does not become ready. SIGTERM ends it as Ctrl-C does.
    """
    timing = timing or Timing()
    folder, run_id, heard = _folder(), uuid.uuid4().hex, Said()
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    reaper = Reaper(run_id, timing.orphan_grace, handle)
    plan, launch = bundle.plan, bundle.launch
    seat = Seat(run_id, 1, 1, folder / "r1")
    output = Output(heard, "", Redaction(launch.env))
    output.listener = lambda line: said(line) if any(word in line for word in launch.log_progress) else None
    engine = Engine(launch, name=plan.engine_name, seat=seat, output=output, timing=timing,
                    environment=share(environment, bundle.gpus, 1, alone=True),
                    probe=lambda pid: Probe(seat.socket, pid, plan.name, launch.ready_logprobs, plan.task,
                                            launch.expected))
    began = time.monotonic()
    try:
        with _told_to_end():
            await engine.start(reaper.knows)
            yield Trial(engine, heard, time.monotonic() - began)
    finally:
        await asyncio.shield(engine.stop(launch.grace_seconds))
        reaper.dismiss()
        os.close(handle)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """Within, SIGTERM cancels the task that is here."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    with contextlib.suppress(ValueError, RuntimeError):  # not on the main thread: then somebody else hears signals
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)


def _folder() -> Path:
    """A new directory for this user alone, whose path leaves room for a socket's."""
    for root in (None, "/tmp"):
        try:
            found = Path(tempfile.mkdtemp(prefix="modelkit-fit-", dir=root))
        except OSError as error:
            raise Failure("run-directory", f"cannot make a directory for the run: {error.strerror or error}",
                          "free some space there, or set TMPDIR to another place") from None
        if len(os.fsencode(found / _LONGEST)) <= _SOCKET_PATH:
            return found
        found.rmdir()
    raise Failure("run-directory", "there is no directory whose path is short enough for a socket")
