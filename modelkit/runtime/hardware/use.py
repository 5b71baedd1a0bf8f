"""What processes hold on GPUs, as the driver counts it."""

from __future__ import annotations

from collections.abc import Iterable

from modelkit.runtime.hardware import amd, nvidia


def used_by(pids: Iterable[int]) -> int | None:
    """Bytes of GPU memory that these processes hold together; None where no driver tells.

    A container sees its own process numbers, the driver tells the machine's: where it names a process that is not here,
    and none of ours, that is not known.
    """
    told = None
    if nvidia.present():
        told = nvidia.processes()
    if told is None and amd.present():
        told = amd.processes()
    return held(told, pids)


def held(told: Iterable[tuple[int, int | None]] | None, pids: Iterable[int]) -> int | None:
    """The sum of what a driver told of these processes."""
    import psutil

    if told is None:
        return None
    mine, rows = set(pids), list(told)
    ours = [size for pid, size in rows if pid in mine]
    if ours:
        return None if None in ours else sum(size for size in ours if size is not None)
    return 0 if all(psutil.pid_exists(pid) for pid, _ in rows) else None
