"""How many users at a limit of latency, and what a million tokens cost."""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.calibration import Calibration
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed import PROMPT, Speed, speed, with_users

MOST_USERS = 4096


@dataclass(frozen=True)
class Users:
    """How many users at once keep a limit: surely, as expected, at best; 0 where not even one does."""

    metric: str
    limit: float  # seconds
    sure: int
    expected: int
    best: int
    at: Speed | None  # with the expected number; None where that is 0


def users_at(metric: str, limit: float, anatomy: Anatomy, serving: Serving, hardware: Hardware, *,
             calibration: Calibration | None = None, prompt: int = PROMPT, most: int = MOST_USERS) -> Users | None:
    """The largest number of users of whom each still sees `metric` (`itl…`, `ttft…`) within `limit` seconds, up to
    `most`, which is as many as memory holds; None where speed is not known, or another metric is asked for."""
    one = speed(anatomy, serving, hardware, calibration=calibration, prompt=prompt)
    name = metric.partition(".")[0]
    if one is None or name not in ("itl", "ttft"):
        return None

    def seen(users: int) -> Interval:
        now = speed(anatomy, with_users(serving, users), hardware, calibration=calibration, prompt=prompt)
        assert now is not None
        return Interval(1 / now.user.high, 1 / now.user.expected, 1 / now.user.low) if name == "itl" else now.ttft

    def largest(bound: str) -> int:
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if getattr(seen(middle), bound) <= limit else (low, middle - 1)
        return low

    expected = largest("expected")
    return Users(metric, limit, largest("high"), expected, largest("low"),
                 speed(anatomy, with_users(serving, expected), hardware, calibration=calibration, prompt=prompt)
                 if expected else None)


def cost_per_million(price: float, tokens_per_second: Interval) -> Interval:
    """What a million tokens cost at a price an hour, while that many tokens a second are made without a pause."""
    millions = tokens_per_second.scaled(3600 / 1e6)
    return Interval(price / millions.high, price / millions.expected, price / millions.low)
