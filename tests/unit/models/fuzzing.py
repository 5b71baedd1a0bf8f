"""Many mutations of a good file, in a process of their own: how many are refused, how slow and how large it gets."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SLOWEST, LARGEST = 1.0, 200 << 20
"""Seconds that one file may take, and bytes by which the process may grow."""

Timed = Callable[[Callable[[], None]], None]


class Stopwatch:
    """Runs what reads a file, and keeps the longest time that it took."""

    def __init__(self) -> None:
        self.slowest = 0.0

    def __call__(self, read: Callable[[], None]) -> None:
        began = time.perf_counter()
        try:
            read()
        finally:
            self.slowest = max(self.slowest, time.perf_counter() - began)


def main(fuzz: Callable[[int, int, Path, Timed], int], name: str) -> None:
    """Run `fuzz` as often as the command line says, and exit with 1 when a bound is broken."""
    count, watch = int(sys.argv[1]), Stopwatch()
    before = _peak()
    with tempfile.TemporaryDirectory() as folder:
        refused = fuzz(count, 1, Path(folder) / name, watch)
    grown = _peak() - before
    print(f"{count} mutations of {name}: {refused} refused, the others read; slowest {watch.slowest * 1e3:.0f} ms, "
          f"grown by {grown / 2**20:.1f} MiB")
    sys.exit(watch.slowest > SLOWEST or grown > LARGEST)


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
