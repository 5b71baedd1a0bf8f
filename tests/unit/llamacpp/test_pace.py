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
    worked(pace, 0.001)
    pace.observe(2.0, 5, 200)
    assert pace.prompt_tokens(5) * 0.01 <= STEP_SECONDS


def test_who_comes_does_not_wait_for_a_long_step() -> None:
    pace = Pace(512)
    worked(pace, 0.01)
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
