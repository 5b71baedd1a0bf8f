"""Figures in words: bytes in binary units, as memory is sold and as engines print them; speeds without exponents."""

from __future__ import annotations

from modelkit.planning.fit.interval import Interval


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


def figure(value: float) -> str:
    """A number as precise as such predictions are.

    >>> figure(9.26), figure(61.97), figure(9278.4), figure(0.0344)
    ('9.3', '62', '9280', '0.034')
    """
    if value >= 1000:
        return f"{float(f'{value:.3g}'):.0f}"
    return f"{value:.0f}" if value >= 20 else f"{value:.2g}"


def between(value: Interval) -> str:
    """What is expected, and between what.

    >>> between(Interval(50.2, 61.97, 75))
    '62 (50 to 75)'
    """
    return f"{figure(value.expected)} ({figure(value.low)} to {figure(value.high)})"


def seconds(value: Interval) -> str:
    """The same of a time, in a unit that suits it.

    >>> seconds(Interval(0.0011, 0.0025, 0.004)), seconds(Interval(1, 2, 3))
    ('2.5 (1.1 to 4) ms', '2 (1 to 3) s')
    """
    return f"{between(value.scaled(1000))} ms" if value.expected < 1 else f"{between(value)} s"
