"""What a machine's measurements change in what is believed of it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit.planning.fit.calibration import CAUSES, Calibration, Point, Terms
from modelkit.planning.fit.rates import SPREAD_CPU, SPREAD_GPU

seconds = st.floats(1e-7, 10)
terms = st.builds(Terms, seconds, seconds, seconds, seconds, seconds, st.booleans())


def test_it_finds_the_factors_that_measurements_have() -> None:
    draw, true = random.Random(1), {"fixed": 1.4, "memory": 0.8, "vector": 1.3, "matrix": 0.7, "link": 1.0}
    points = []
    for _ in range(60):
        fixed, memory, vector, matrix = (draw.uniform(0, 0.01) for _ in range(4))
        one = Terms(fixed, memory, vector, matrix)
        exact = one.seconds([true[cause] for cause in CAUSES])
        points.append(Point(one, exact * math.exp(draw.gauss(0, 0.02))))
    found = Calibration.of(SPREAD_CPU, points)
    assert found.points == 60
    for cause in ("fixed", "memory", "vector", "matrix"):
        assert found.factors[cause] == pytest.approx(true[cause], rel=0.1)
    assert found.factors["link"] == 1.0


def test_one_measurement_of_a_step_makes_its_own_prediction_sharp_and_others_sharper() -> None:
    small, large = Terms(fixed=0.001, memory=0.004), Terms(fixed=0.001, memory=0.02)
    before = Calibration.of(SPREAD_GPU)
    after = before.learned([Point(small, 0.0062)])
    assert 0.0062 in after.seconds(small)
    assert after.seconds(small).expected == pytest.approx(0.0062, rel=0.05)
    for one in (small, large):
        assert _reach(after, one) < _reach(before, one)
    assert _reach(after, large) > _reach(after, small)
    assert after.seconds(large).expected > before.seconds(large).expected


def test_a_noisy_measurement_counts_less() -> None:
    one = Terms(memory=0.01)
    sharp, vague = (Calibration.of(SPREAD_GPU, [Point(one, 0.015, noise)]) for noise in (0.0, 0.3))
    assert sharp.factors["memory"] > vague.factors["memory"] > 1
    assert _reach(sharp, one) < _reach(vague, one)


@pytest.mark.parametrize("by", [0.2, 4.0])
def test_a_machine_far_from_what_was_believed_is_believed_its_measurements(by: float) -> None:
    steps = [Terms(0.001, 0.004, overlap=True), Terms(0.001, 0.004, vector=0.02), Terms(0.001, 0.01, matrix=0.1)]
    found = Calibration.of(SPREAD_CPU, [Point(one, by * one.seconds()) for one in steps])
    for one in steps:
        assert by * one.seconds() in found.seconds(one)
        assert found.seconds(one).expected == pytest.approx(by * one.seconds(), rel=0.15)


def test_measurements_that_contradict_each_other_leave_a_wide_interval() -> None:
    one = Terms(memory=0.01)
    found = Calibration.of(SPREAD_GPU, [Point(one, 0.01), Point(one, 0.03)])
    assert 0.01 in found.seconds(one) and 0.03 in found.seconds(one)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_what_is_no_time_is_passed_over(bad: float) -> None:
    before = Calibration.of(SPREAD_CPU)
    assert before.learned([Point(Terms(memory=1.0), bad), Point(Terms(), 1.0)]) == before


def test_work_that_overlaps_takes_the_longer_of_both() -> None:
    assert Terms(memory=4.0, vector=0.1, overlap=True).seconds() == pytest.approx(4.0, rel=1e-3)
    assert Terms(memory=4.0, vector=4.0, overlap=True).seconds() == pytest.approx(4 * 2 ** (1 / 3))
    assert Terms(fixed=1.0, memory=4.0, vector=4.0).seconds() == 9.0


@given(terms, terms)
def test_one_after_the_other_takes_the_sum(first: Terms, second: Terms) -> None:
    assert (first + second).seconds() == pytest.approx(first.seconds() + second.seconds(), rel=1e-6)
    assert first.times(3).seconds() == pytest.approx(3 * first.seconds(), rel=1e-6)


@given(terms)
def test_shares_are_of_the_whole(one: Terms) -> None:
    assert sum(one.shares((1.0,) * len(CAUSES))) == pytest.approx(1)


@given(terms, st.lists(st.tuples(terms, seconds), max_size=6))
def test_whatever_was_measured_an_interval_is_one(one: Terms, measured: list[tuple[Terms, float]]) -> None:
    found = Calibration.of(SPREAD_GPU, [Point(*each) for each in measured])
    interval = found.seconds(one)
    assert 0 < interval.low <= interval.expected <= interval.high < math.inf


def _reach(belief: Calibration, one: Terms) -> float:
    interval = belief.seconds(one)
    return interval.high / interval.expected
