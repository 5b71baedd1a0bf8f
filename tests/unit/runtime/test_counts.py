"""Counts that are subtracted, and the percentiles of what is left."""

from __future__ import annotations

import random
from statistics import quantiles
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.runtime.counts import difference, percentile
from modelkit.runtime.tally import Spread, Tallies, Tally

OUTCOMES: dict[str, tuple[int, str, str]] = {
    "good": (200, "ok", "good"), "server error": (500, "ok", "errors"),
    "gateway error": (502, "engine_stopped", "errors"),
    "cut off": (200, "engine_stopped", "errors"), "not HTTP": (200, "bad_engine_response", "errors"),
    "refused": (400, "ok", "refused"), "not found": (404, "ok", "refused"),
    "client left": (200, "client_gone", "abandoned"),
    "client left early": (499, "client_gone", "abandoned"), "client stalled": (200, "stalled", "abandoned"),
}


@pytest.mark.parametrize(("status", "outcome", "counted"), OUTCOMES.values(), ids=OUTCOMES)
def test_how_requests_end(status: int, outcome: str, counted: str) -> None:
    tally = Tally()
    tally.note(status, outcome, 2.0, 0.5)
    said = {name: getattr(tally, name) for name in ("errors", "refused", "abandoned")}
    assert said == {name: int(name == counted) for name in said}
    assert tally.requests == 1
    assert tally.duration.count == (counted == "good")


@pytest.mark.parametrize("shape", ["narrow", "wide", "long tail"])
def test_percentiles_are_within_three_percent(shape: str) -> None:
    draw = random.Random(7)
    times = [{"narrow": draw.uniform(0.1, 0.12), "wide": draw.uniform(0.001, 30),
              "long tail": draw.lognormvariate(-2, 1.5)}[shape] for _ in range(20_000)]
    spread = Spread()
    for one in times:
        spread.observe(one)
    exact = quantiles(times, n=100, method="inclusive")
    buckets = spread.as_json()["buckets"]
    for percent in (50, 90, 95, 99):
        assert percentile(buckets, percent) == pytest.approx(exact[percent - 1], rel=0.03)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e-4, 1e6])
def test_any_time_has_a_bucket(seconds: float) -> None:
    spread = Spread()
    spread.observe(seconds)
    assert spread.count == 1


def look(tallies: Tallies, at: float, *, run: str = "r", generation: int = 1) -> dict[str, Any]:
    return {"run_id": run, "generation": generation, "at": at, "started": 100.0, **tallies.as_json()}


def test_two_looks_say_what_was_between_them() -> None:
    tallies = Tallies()
    for _ in range(10):
        tallies.served.note(200, "ok", 1.0, 0.1)
    first = difference(look(tallies, 110.0), None)
    assert (first["served"]["requests"], first["served"]["ttft"]["count"], first["seconds"]) == (10, 10, 10.0)
    for _ in range(3):
        tallies.served.note(200, "ok", 4.0, 0.4)
    tallies.served.note(500, "ok", 0.1, None)
    tallies.skipped += 2
    second = difference(look(tallies, 115.0), first)
    assert (second["seconds"], second["served"]["requests"], second["served"]["errors"]) == (5.0, 4, 1)
    assert second["served"]["duration"]["count"] == 3
    assert second["served"]["duration"]["sum"] == pytest.approx(12.0)
    assert second["served"]["duration"]["p50"] == pytest.approx(4.0, rel=0.03)
    assert second["mirrored"]["skipped"] == 2
    assert difference(look(tallies, 118.0), second)["served"]["requests"] == 0
    assert difference(look(tallies, 118.0), first)["served"]["requests"] == 4


def test_nothing_has_no_percentiles() -> None:
    empty = difference(look(Tallies(), 101.0), None)
    assert empty["served"]["ttft"] == {"count": 0, "sum": 0.0, "p50": None, "p90": None, "p95": None, "p99": None,
                                       "buckets": {}}


@pytest.mark.parametrize(("run", "generation", "word"), [("other", 1, "run"), ("r", 2, "generation")])
def test_what_does_not_belong_together_is_refused(run: str, generation: int, word: str) -> None:
    earlier = difference(look(Tallies(), 101.0, run=run, generation=generation), None)
    with pytest.raises(Failure, match=word) as refused:
        difference(look(Tallies(), 102.0), earlier)
    assert refused.value.code == "other-run"
