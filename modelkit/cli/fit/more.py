"""What `modelkit fit` says only where it is asked: users at a latency, what a million tokens cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modelkit.cli.fit.phrases import Row
from modelkit.failure import Failure
from modelkit.planning.fit.report import plain
from modelkit.planning.fit.sizes import between

if TYPE_CHECKING:
    from modelkit.planning.fit.calibration import Calibration
    from modelkit.planning.fit.report import FitReport
    from modelkit.planning.fit.users import Users
    from modelkit.release.bench.limits import Limit


def limits_of(texts: Sequence[str]) -> list[Limit]:
    """`itl.p95 <= 50ms`. Raises Failure for what is none, or about anything else than a token's time."""
    from modelkit.release.bench.limits import limit

    found = [limit(text) for text in texts]
    for one in found:
        if one.latency not in ("itl", "ttft") or not one.op.startswith("<"):
            raise Failure("usage", f"`--users-at {one.text}`: nothing predicts that",
                          hint="`itl.p95 <= 50ms` or `ttft.p95 <= 1s`: the time between tokens, or to the first")
    return found


def users(report: FitReport, limits: Sequence[Limit], calibration: Calibration | None) -> list[Users | None]:
    """How many may ask at a time within each limit, as memory has room for them; None where no speed is known."""
    from modelkit.planning.fit.users import users_at

    now = report.now
    if now.anatomy is None:
        return [None] * len(limits)
    most = room(report) or 0
    return [users_at(one.metric, one.value, now.anatomy, now.serving, report.hardware, calibration=calibration,
                     most=most) for one in limits]


def room(report: FitReport, most: int = 4096) -> int | None:
    """Conversations at full length that there is memory for, up to `most`; None where nobody knows."""
    from modelkit.planning.fit.budgets import budget

    now = report.now
    if now.anatomy is None or now.fits is None:
        return None
    if now.serving.engine == "vllm":
        from modelkit.planning.fit.vllm import pool

        return max(0, min(most, int(pool(now.anatomy, now.serving, report.hardware).concurrency)))
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        share = middle / now.serving.concurrency
        wider = replace(now.serving, concurrency=middle, kv_tokens=round(now.serving.kv_tokens * share),
                        sequences=round(now.serving.sequences * share))
        fits = budget(now.anatomy, wider, report.hardware).fits is not False
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def user_rows(limits: Sequence[Limit], found: Sequence[Users | None], most: int | None) -> Iterator[Row]:
    for limit, one in zip(limits, found, strict=True):
        if one is None:
            yield limit.text, "not known", "", ""
            continue
        why = "more have no room in memory" if one.expected == most else ""
        total = f"{between(one.at.total)} tok/s together" if one.at is not None else ""
        yield limit.text, f"{one.expected} ({one.sure} to {one.best})", total, why


def cost(report: FitReport, price: float) -> tuple[str, Any]:
    """Of a million tokens, in words and as JSON, while as many ask as the stage takes at once."""
    from modelkit.planning.fit.users import cost_per_million

    speed = report.now.speed
    if speed is None:
        return "what a million tokens cost is not known: no speed is", None
    one = cost_per_million(price, speed.total)
    return (f"a million tokens cost {between(one)} at {price:g} an hour, while {speed.users} ask without a "
            "pause"), plain(one)
