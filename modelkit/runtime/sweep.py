"""Ending what a dead supervisor left behind: only what is provably ours, and all of it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterable

from modelkit.runtime import state
from modelkit.runtime.identity import Identity, boot_id, marked
from modelkit.runtime.project import Lock, Project, projects

_ROUNDS = 200
_PAUSE = 0.02


def kill_marked(run_id: str, generation: str | None = None) -> list[int]:
    """SIGKILL every process that carries the run's marker until none is left; returns the pids."""
    killed: dict[Identity, None] = {}
    for _ in range(_ROUNDS):
        found = list(marked(run_id, generation))
        if not found:
            break
        for process in found:
            process.signal(signal.SIGKILL)
            killed[process] = None
        time.sleep(_PAUSE)
    return [process.pid for process in killed]


def end_run(run_id: str, leaders: Iterable[Identity], grace: float) -> list[int]:
    """End every process of a run whose supervisor is dead: SIGTERM to the leaders, then SIGKILL to all.

    A pid that has passed to another program is left alone.
    """
    told = [leader for leader in leaders if leader.signal(signal.SIGTERM)]
    until = time.monotonic() + grace
    while any(leader.alive() for leader in told) and time.monotonic() < until:
        time.sleep(_PAUSE)
    for leader in told:
        if leader.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader.pid, signal.SIGKILL)
    return sorted({leader.pid for leader in told} | set(kill_marked(run_id)))


def reconcile(project: Project, grace: float) -> list[int]:
    """Put right what a dead run left in its directory. Call with the project's lock held; returns pids ended."""
    ended = []
    left = state.read(project.state)
    if left is not None and left.boot_id == boot_id():
        leaders = [who for g in left.generations for p in g.processes if (who := p.identity) is not None]
        ended = end_run(left.run_id, leaders, grace)
    clear(project)
    return ended


def clear(project: Project) -> None:
    """Remove everything of a run from its directory but the lock."""
    with contextlib.suppress(OSError):
        for entry in project.directory.iterdir():
            if entry == project.lock:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def sweep(grace: float = 5.0) -> list[int]:
    """Clean up after every dead run of this user; returns the pids that were ended."""
    ended: list[int] = []
    for project in projects():
        lock = Lock.take(project, "sweep")
        if lock is None:  # it lives, or its reaper is at work
            continue
        try:
            ended += reconcile(project, grace)
        finally:
            lock.release()
            with contextlib.suppress(OSError):
                project.directory.rmdir()
    return ended
