"""How many threads are worth starting here."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FEW = 4
"""Up to here an OpenMP thread that spins while it waits takes the core that another one needs."""


def usable_cores() -> int:
    """Physical cores that this process may use: its affinity and its control group's quota respected.

    llama.cpp by itself counts the machine's cores; in a container with a quota it then starts too many threads, and
    they wait for each other.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _physical() or allowed, _quota() or allowed))


def _physical() -> int | None:
    import psutil

    count: int | None = psutil.cpu_count(logical=False)
    return count


def _quota(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """CPUs of this control group's quota, rounded up (cgroup v2, as a container sees it)."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (root / "cpu.max").read_text().split()
        if quota != "max":
            return -(-int(quota) // int(period))
    return None
