"""Process trees: what they hold, and what is left of one."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable

from modelkit.runtime.identity import Identity

_ROUNDS = 50
_PAUSE = 0.02


def resident(leaders: Iterable[Identity]) -> dict[int, int]:
    """Bytes of resident memory by leader, its descendants included; pages that they share count for each."""
    import psutil

    sizes = {}
    for leader in leaders:
        with contextlib.suppress(psutil.Error):
            top = psutil.Process(leader.pid)
            total = top.memory_info().rss
            for child in top.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss
            sizes[leader.pid] = total
    return sizes


def kill_descendants(spare: set[int]) -> list[int]:
    """SIGKILL whatever descends from this process, but for `spare`; returns the pids.

    For a subreaper this reaches even those that left their session and emptied their environment.
    """
    import psutil

    killed: dict[int, None] = {}
    for _ in range(_ROUNDS):
        found = [child for child in psutil.Process().children(recursive=True)
                 if child.pid not in spare and child.status() != psutil.STATUS_ZOMBIE]
        if not found:
            break
        for child in found:
            with contextlib.suppress(psutil.Error):
                child.send_signal(signal.SIGKILL)
            killed[child.pid] = None
        time.sleep(_PAUSE)
    return list(killed)
