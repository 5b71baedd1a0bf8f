"""Which process is which: a pid alone is not a name, because pids are used again.

A process is its pid together with the moment it started, on one boot of the machine. What belongs to a run is
told by a marker in its environment, which every descendant inherits, `setsid` or not. Standard library only on
Linux; psutil elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER = "MODELKIT_RUN_ID"
GENERATION = "MODELKIT_GENERATION"
LINUX = sys.platform == "linux"


@dataclass(frozen=True)
class Identity:
    """One process for all time: no other process of this boot has both the same pid and the same start."""

    pid: int
    start: int  # clock ticks since boot on Linux, microseconds since 1970 elsewhere

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Who has this pid now; None when nobody does, or only a zombie."""
        start = _start(pid)
        return None if start is None else cls(pid, start)

    @classmethod
    def own(cls) -> Identity:
        found = cls.of(os.getpid())
        assert found is not None
        return found

    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to this process and no other: False when it is gone."""
        if not LINUX or not hasattr(os, "pidfd_open"):
            return self.alive() and _kill(self.pid, number)
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:  # gone, or a kernel without pidfds
            return self.alive() and _kill(self.pid, number)
        try:
            # The handle is fixed before the look: from here on the pid cannot pass to somebody else.
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, number)
            return True
        except OSError:
            return False
        finally:
            os.close(handle)


def boot_id() -> str:
    """Names this boot of the machine: after a reboot, no pid that was written down means anything."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    import psutil

    return str(int(psutil.boot_time()))


def marked(run_id: str, generation: str | None = None) -> Iterator[Identity]:
    """The living processes of this user whose environment says they belong to the run (and to this place in it)."""
    wanted = {f"{MARKER}={run_id}"} | ({f"{GENERATION}={generation}"} if generation is not None else set())
    for pid in _own_pids():
        # Identity before environment: if the pid changes hands in between, the identity is that of a dead process.
        who = Identity.of(pid)
        if who is not None and pid != os.getpid() and wanted <= _environment(pid):
            yield who


def in_session(pid: int, leader: int) -> bool:
    """Whether `pid` is the session leader, in its session, or one of its descendants."""
    with contextlib.suppress(OSError):
        if os.getsid(pid) == leader:
            return True
    for _ in range(64):  # a process tree is never this deep; a loop cannot hold us
        if pid == leader:
            return True
        if pid <= 1:
            return False
        pid = _parent(pid)
    return False


def command_of(pid: int) -> str:
    """The command line of a process, as far as it may be seen; "" otherwise."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from `state` on; the name before them may hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return text[text.rindex(b")") + 2:].decode().split()


def _start(pid: int) -> int | None:
    if LINUX:
        fields = _stat(pid)
        return None if fields is None or fields[0] in "ZX" else int(fields[19])
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 1e6)
    except psutil.Error:
        return None


def _parent(pid: int) -> int:
    if LINUX:
        fields = _stat(pid)
        return int(fields[1]) if fields else 0
    import psutil

    try:
        return int(psutil.Process(pid).ppid())
    except psutil.Error:
        return 0


def _own_pids() -> Iterator[int]:
    if not LINUX:
        import psutil

        yield from psutil.pids()
        return
    uid = os.getuid()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == uid:
                    yield int(entry.name)


def _environment(pid: int) -> set[str]:
    if LINUX:
        try:
            return set(Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0"))
        except OSError:
            return set()
    import psutil

    try:
        return {f"{name}={value}" for name, value in psutil.Process(pid).environ().items()}
    except psutil.Error:
        return set()


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True
