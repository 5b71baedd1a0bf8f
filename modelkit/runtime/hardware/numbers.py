"""Figures of drivers: taken where they are possible, left out where they are not."""

from __future__ import annotations

import math
import re
from typing import Any


def number(said: Any, low: float, high: float) -> float | None:
    """A figure of a driver, alone or as `{"value": …, "unit": …}`; None for none and for what cannot be."""
    if isinstance(said, dict):
        said = said.get("value")
    if isinstance(said, str):
        found = re.match(r"\s*(\d+(?:\.\d+)?)", said)
        said = float(found[1]) if found else None
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        return None
    return float(said) if low <= said <= high else None


def whole(said: Any, low: int, high: int) -> int | None:
    """The same, without a fraction."""
    found = number(said, low, high)
    return None if found is None else int(found)


MEMORY = (64 << 20, 1 << 44)
"""Bytes that one GPU can have."""

BANDWIDTH = (10e9, 100e12)
"""Bytes a second that its memory can move."""
