"""Several files read at once: of what is far away, each takes its time to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_ONCE = 8  # as many connections as are kept for one server


def together(action: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What `action` gives for each, in their order. The first exception ends it: what has not begun is left out."""
    items = list(items)
    if len(items) < 2:
        return [action(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items)), thread_name_prefix="header") as executor:
        try:
            return list(executor.map(action, items))
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
