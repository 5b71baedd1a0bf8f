"""How much memory a process tree holds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from modelkit.runtime.identity import Identity


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
