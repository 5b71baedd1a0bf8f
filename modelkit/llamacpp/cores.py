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
"""Up to here an OpenMP thread that spins for long while it waits takes the core that another one needs."""

_SPINS = "400"
"""How often a thread looks before it sleeps, some ten microseconds. Between two parts of a token it then need not be
woken, which takes a virtual machine so long that a small model answered at a third of its speed; beside a program that
wants the core it loses a quarter of what threads that sleep at once have there, and those that spin for long lose most
(docs/benchmarks.md)."""


def usable_cores(root: Path = Path("/sys")) -> int:
    """Physical cores that this process may use: its affinity and its control group's quota respected."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    return max(1, min(_physical(allowed, root), _quota(root) or len(allowed)))


def wait_politely(cores: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """On few cores, OpenMP's threads soon sleep while they wait, unless the environment says something of its own. To
    be said before llama.cpp is loaded."""
    if cores <= FEW and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(environment):
        environment.update(OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT=_SPINS)


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
    """CPUs of our control groups' quotas, rounded up: of cgroup v2 and v1, as a container sees them and as a service of
    the machine does; the least of all groups above us."""
    groups = root / "fs/cgroup"
    lines = []
    with contextlib.suppress(OSError):
        lines = (root.parent / "proc/self/cgroup").read_text("utf-8", "replace").splitlines()
    inside = {name: path for line in lines if line.count(":") > 1
              for _, names, path in [line.split(":", 2)] for name in names.split(",")}
    found = [_cpus((folder / "cpu.max",)) for folder in _above(groups, inside.get("", ""))]
    found += [_cpus((folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
              for name in ("cpu", "cpu,cpuacct") for folder in _above(groups / name, inside.get("cpu", ""))]
    return min((count for count in found if count is not None), default=None)


def _above(root: Path, inside: str) -> list[Path]:
    """A group and those above it, up to the root."""
    folder = root / inside.strip("/")
    return [group for group in (folder, *folder.parents) if group.is_relative_to(root)]


def _cpus(files: tuple[Path, ...]) -> int | None:
    """Quota over period, which one file says or two; None where there is none (`max`, -1)."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = " ".join(file.read_text() for file in files).split()
        if quota != "max" and int(quota) > 0:
            return -(-int(quota) // int(period))
    return None
