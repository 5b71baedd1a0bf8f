"""How large steps are, from how long the last ones took."""

from __future__ import annotations

import pytest

from modelkit.llamacpp.pace import ALONE_SECONDS, SMALLEST, STEP_SECONDS, Pace


def worked(pace: Pace, seconds_per_token: float, steps: int = 20) -> int:
    """What is chosen after some steps on a machine of this speed, five being answered."""
    for _ in range(steps):
        chosen = pace.prompt_tokens(5)
        pace.observe(0.01 + chosen * seconds_per_token, 5, chosen)
    return pace.prompt_tokens(5)


def test_nobody_is_answered_so_all_goes_to_prompts() -> None:
    assert Pace(512).prompt_tokens(0) == 512


@pytest.mark.parametrize(("seconds_per_token", "least", "most"), [
    (1e-5, 507, 507), (0.005, 192, 256), (0.01, 96, 128), (1.0, SMALLEST, SMALLEST),
])
def test_a_step_is_as_large_as_its_time_allows(seconds_per_token: float, least: int, most: int) -> None:
    assert least <= worked(Pace(512), seconds_per_token) <= most


def test_a_slower_prompt_counts_at_once() -> None:
    pace = Pace(512)
    before = worked(pace, 0.001)
    pace.observe(2 * STEP_SECONDS, 5, before)
    assert pace.prompt_tokens(5) <= before // 2 + 5


def test_what_a_step_costs_by_itself_in_tokens() -> None:
    pace = Pace(512)
    assert pace.step_tokens() == float("inf")
    for drawn in (1, 4, 8, 4) * 5:
        pace.observe(0.04 + 0.01 * drawn, drawn, 0)
    assert pace.step_tokens() == pytest.approx(4)


def test_one_slow_step_is_forgotten_by_the_next() -> None:
    pace = Pace(512)
    before = worked(pace, 0.005)
    pace.observe(60, 5, before)
    assert worked(pace, 0.005, steps=2) >= 0.9 * before


def test_steps_that_are_mostly_overhead_become_large() -> None:
    """A step of any size costs half the time that it may take."""
    pace = Pace(512)
    for _ in range(30):
        chosen = pace.prompt_tokens(5)
        pace.observe(STEP_SECONDS / 2 + chosen * 0.003, 5, chosen)
    assert 180 <= pace.prompt_tokens(5) <= 200


def test_a_short_prompt_says_nothing_of_a_long_one() -> None:
    pace = Pace(512)
    before = worked(pace, 0.005)
    pace.observe(1.1, 5, 40)
    assert pace.prompt_tokens(5) == before


def test_who_comes_does_not_wait_for_a_long_step() -> None:
    pace = Pace(512)
    for _ in range(8):
        chosen = pace.prompt_tokens(0)
        pace.observe(chosen * 0.01, 0, chosen)
    assert pace.prompt_tokens(0) * 0.01 <= ALONE_SECONDS


def test_guesses_that_are_dear_do_not_pay() -> None:
    pace = Pace(512)
    for tokens in (1, 2, 4, 8) * 5:
        pace.observe(0.010 + 0.001 * tokens, tokens, 0)
        pace.guessed(0.04, 4)
    assert not pace.pays(4, 1.0, 1)


def test_a_size_that_was_said_is_kept() -> None:
    assert worked(Pace(512, 100), 0.5) == 100


def test_guesses_pay_where_more_tokens_cost_little() -> None:
    pace = Pace(512)
    assert pace.pays(4, 0.5, 1)  # nothing is known yet
    for tokens in (1, 2, 4, 8) * 5:
        pace.observe(0.010 + 0.001 * tokens, tokens, 0)
    assert pace.pays(4, 1.0, 1)
    assert not pace.pays(4, 0.3, 1)
    assert not pace.pays(4, 1.0, 30)


def test_guesses_do_not_pay_where_every_token_costs_the_same() -> None:
    pace = Pace(512)
    for tokens in (1, 2, 4, 8) * 5:
        pace.observe(0.005 * tokens, tokens, 0)
    assert not pace.pays(4, 3.0, 1)
