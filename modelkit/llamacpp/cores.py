"""How many threads are worth starting here.

llama.cpp by itself counts the machine's cores; in a container with a quota it then starts too many threads, and they
wait for each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import MutableMapping
from pathlib import Path

FEW = 4
"""Up to here an OpenMP thread that spins while it waits takes the core that another one needs."""


def usable_cores(root: Path = Path("/sys")) -> int:
    """Physical cores that this process may use: its affinity and its control group's quota respected."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    return max(1, min(_physical(allowed, root), _quota(root) or len(allowed)))


def wait_politely(cores: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """On few cores, OpenMP's threads sleep while they wait. To be said before llama.cpp is loaded."""
    if cores <= FEW:
        environment.setdefault("OMP_WAIT_POLICY", "passive")


def _physical(allowed: set[int], root: Path) -> int:
    """Cores behind these logical processors; threads of one core share it."""
    cores = set()
    for number in allowed:
        siblings = root / f"devices/system/cpu/cpu{number}/topology/thread_siblings_list"
        try:
            cores.add(siblings.read_text().strip())
        except OSError:
            return len(allowed)
    return len(cores)


def _quota(root: Path) -> int | None:
    """CPUs of this control group's quota, rounded up (cgroup v2, as a container sees it)."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (root / "fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            return -(-int(quota) // int(period))
    return None
