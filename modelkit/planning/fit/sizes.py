"""Bytes in words: binary units, as memory is sold and as engines print them."""

from __future__ import annotations


def spelled(size: float) -> str:
    """`92.1 MiB`, `11.4 GiB`; a sign where there is one to show.

    >>> spelled(98_362_432), spelled(24 << 30), spelled(-1 << 20), spelled(900)
    ('93.8 MiB', '24.0 GiB', '-1.0 MiB', '900 B')
    """
    if abs(size) >= 1 << 30:
        return f"{size / (1 << 30):.1f} GiB"
    if abs(size) >= 1 << 17:
        return f"{size / (1 << 20):.1f} MiB"
    return f"{size / 1024:.1f} KiB" if abs(size) >= 1024 else f"{size:.0f} B"


def change(size: int) -> str:
    """A difference, always with its sign.

    >>> change(-2 << 30), change(1 << 20)
    ('-2.0 GiB', '+1.0 MiB')
    """
    return f"{'-' if size < 0 else '+'}{spelled(abs(size))}"
