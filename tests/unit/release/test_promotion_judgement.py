"""Worse, not worse, or too few to say; and whether there is room for two."""

from __future__ import annotations

import math
import random
from bisect import bisect_left

import pytest

from modelkit.planning.plan import Origin, Plan, Setting
from modelkit.release.intervals import wilson
from modelkit.release.promotion.counts import Counts, Histogram, histogram
from modelkit.release.promotion.judgement import Limits, judge, quantile_lower
from modelkit.release.promotion.room import estimate, room
from tests.unit.release.promotion_stage import bundle, counts

LIMITS = Limits(requests=50, ratio=1.5)


@pytest.mark.parametrize(("stable", "candidate", "verdict"), [
    (counts(1000), counts(50), "pass"),
    (counts(1000), counts(49), "inconclusive"),
    (counts(20), counts(50), "inconclusive"),
    (counts(0), counts(0), "inconclusive"),
    (counts(1000), counts(10, errors=10), "fail"),
    (counts(1000), counts(9, errors=9), "inconclusive"),
    (counts(1000), counts(60, errors=1), "pass"),
    (counts(1000), counts(60, errors=3), "fail"),
    (counts(1000, errors=50), counts(60, errors=3), "pass"),
    (counts(1000), counts(60, refused=30), "fail"),
    (counts(1000, refused=500), counts(120, refused=60), "pass"),
    (counts(1000, 0.2), counts(60, 0.25), "pass"),
    (counts(1000, 0.2), counts(60, 0.4), "fail"),
    (counts(1000, 0.002), counts(60, 0.02), "pass"),  # ten times as long, and nobody feels 18 ms
    (counts(1000, 0.4), counts(60, 0.2), "pass"),
], ids=lambda value: "" if not isinstance(value, str) else value)
def test_verdicts(stable: Counts, candidate: Counts, verdict: str) -> None:
    judged = judge(stable, candidate, LIMITS)
    assert judged.verdict == verdict, judged.reason
    assert judged.reason
    assert judged.observed["candidate.requests"] == str(candidate.requests)


def test_whole_answers_are_timed_where_few_stream() -> None:
    slow = Counts(60, 0, 0, Histogram(), counts(60, 1.0).duration)
    assert "time to the answer" in judge(counts(100, 0.1), slow, LIMITS).reason


def test_noise_aborts_one_in_a_hundred_at_most() -> None:
    """Both sides drawn from one distribution, 60 requests against 1000."""
    draw = random.Random(3)
    bounds = tuple(0.001 * 1.05**n for n in range(240))

    def drawn(number: int) -> Counts:
        found = [0] * (len(bounds) + 1)
        for _ in range(number):
            found[bisect_left(bounds, draw.lognormvariate(-1, 0.5))] += 1
        return Counts(number, 0, 0, histogram(bounds, found), histogram(bounds, found))

    aborted = sum(judge(drawn(1000), drawn(60), LIMITS).verdict == "fail" for _ in range(100))
    assert aborted <= 1


@pytest.mark.parametrize(("hits", "n", "low"), [(0, 10, 0.0), (1, 10, 0.0179), (5, 10, 0.2366), (10, 10, 0.7225)])
def test_wilson_is_as_in_tables(hits: int, n: int, low: float) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), method 3, gives the same ends."""
    assert math.isclose(wilson(hits, n).low, low, abs_tol=5e-5)


def test_a_quantile_is_bounded_from_below_by_a_lower_rank() -> None:
    one_each = histogram([float(n) for n in range(1, 101)], [*[1] * 100, 0])
    assert one_each.quantile(0.95) == 95
    assert quantile_lower(one_each) == 90  # 95 - 1.96 * sqrt(100 * 0.95 * 0.05), rounded down


def test_counts_of_two_moments_are_subtracted() -> None:
    spent = counts(100, 0.1) - counts(40, 0.1)
    assert (spent.requests, spent.duration.total) == (60, 60)
    with pytest.raises(ValueError, match="2 bounds need 3 counts"):
        histogram([1, 2], [1, 2])


def plan(*, gpu: float | None = None, variant: str = "cpu", size: int = 7) -> Plan:
    made = bundle("prod").plan
    assert made.engine is not None and made.weights is not None
    settings = () if gpu is None else (Setting(name="serve.gpu_memory", value=gpu, origin=Origin(kind="stage")),)
    return made.model_copy(update={"engine": made.engine.model_copy(update={"variant": variant}), "settings": settings,
                                   "weights": made.weights.model_copy(update={"size": size})})


GIB = 2**30


@pytest.mark.parametrize(("asked", "target", "serving", "held", "free", "mode"), [
    ("auto", plan(), None, 0, 0, "side-by-side"),
    ("auto", plan(), plan(), 4 * GIB, 5 * GIB, "side-by-side"),
    ("auto", plan(), plan(), 4 * GIB, 4 * GIB, "swap"),
    ("auto", plan(size=6 * GIB), plan(size=GIB), 2 * GIB, 5 * GIB, "swap"),
    ("auto", plan(), plan(), 4 * GIB, None, "side-by-side"),
    ("auto", plan(variant="cuda"), plan(variant="cuda"), 0, 900 * GIB, "swap"),
    ("auto", plan(variant="cuda", gpu=0.4), plan(variant="cuda", gpu=0.5), 0, 0, "side-by-side"),
    ("swap", plan(), plan(), 0, 900 * GIB, "swap"),
    ("side-by-side", plan(), plan(), 4 * GIB, 0, "side-by-side"),
], ids=["nothing serves", "room", "no room", "larger weights", "not known", "one gpu", "gpu shared", "asked: swap",
        "asked: side by side"])
def test_room(asked: str, target: Plan, serving: Plan | None, *, held: int, free: int | None, mode: str) -> None:
    found = room(asked, target, serving, held=held, free=free, loaded=12)  # type: ignore[arg-type]
    assert found.mode == mode, found.why
    assert found.downtime == (12 if mode == "swap" else 0)


def test_without_weights_nothing_is_estimated() -> None:
    assert estimate(plan().model_copy(update={"weights": None}), plan()) is None
