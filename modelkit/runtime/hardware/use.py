"""What processes hold on GPUs, as the driver counts it."""

from __future__ import annotations

from collections.abc import Iterable


def used_by(pids: Iterable[int]) -> int | None:
    """Bytes of GPU memory that these processes hold together; None where no driver tells."""
    del pids
    return None
