"""Predictions held against what engines say that they took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.verified import (
    Check,
    Verification,
    kind_of,
    llama_checks,
    process_check,
    remembered,
    rows,
    speed_check,
    taken,
    vllm_checks,
)

MiB = 1 << 20
LOG = """load_tensors:   CPU_Mapped model buffer size =    92.10 MiB
llama_context:        CPU  output buffer size =     3.75 MiB
llama_kv_cache:        CPU KV buffer size =    90.00 MiB
sched_reserve:        CPU compute buffer size =    27.20 MiB
"""
BUDGET = Budget((Line("weights", "ram", round(92.1 * MiB), "", "file"), Line("attention cache", "ram", 90 * MiB, ""),
                 Line("compute", "ram", round(27.3 * MiB), "", "engine"), Line("output", "ram", round(3.75 * MiB), ""),
                 Line("vocabulary", "ram", 15 * MiB, ""), Line("engine", "ram", 60 * MiB, "", "reserve"),
                 Line("margin", "ram", 500 * MiB, "", "reserve")), {"ram": 8 << 30})


def test_each_line_against_its_own() -> None:
    checks = {one.name: one for one in llama_checks(BUDGET, LOG)}
    assert {name: one.held for name, one in checks.items()} == dict.fromkeys(
        ("weights", "attention cache", "compute", "output"), "held")
    assert checks["compute"].error == pytest.approx(27.3 / 27.2 - 1, abs=1e-4)
    assert checks["compute"].lines == ("compute",)


@pytest.mark.parametrize(("line", "predicted", "held"), [
    ("weights", 92.1, "held"), ("weights", 93.0, "held"), ("weights", 93.1, "missed"), ("weights", 91.1, "missed"),
    ("output", 3.78, "held"), ("output", 3.9, "missed")])
def test_the_promise_is_a_percent_and_the_logs_rounding(line: str, predicted: float, held: str) -> None:
    lines = tuple(replace(one, size=round(predicted * MiB)) if one.name == line else one for one in BUDGET.lines)
    found = {one.name: one.held for one in llama_checks(Budget(lines), LOG)}
    assert found[line] == held and [name for name, one in found.items() if one == "missed"] == \
        ([line] if held == "missed" else [])


def test_what_only_one_side_has_is_missed() -> None:
    without = Budget(tuple(one for one in BUDGET.lines if one.name != "compute"))
    assert {one.name: one.held for one in llama_checks(without, LOG)}["compute"] == "missed"
    state = Budget((*BUDGET.lines, Line("recurrent state", "ram", 4 * MiB, "")))
    assert {one.name: one.held for one in llama_checks(state, LOG)}["recurrent state"] == "missed"


def test_a_log_without_sizes_shows_nothing() -> None:
    assert list(llama_checks(BUDGET, "loading\nready\n")) == []


def test_of_a_gpu_nothing_is_promised() -> None:
    budget = Budget((Line("weights", "gpu0", 4096 * MiB, "", "file"), Line("weights", "ram", 400 * MiB, "", "file")))
    log = "x:  CUDA0 model buffer size =  4000.00 MiB\nx: CPU_Mapped model buffer size = 400.00 MiB"
    assert {one.place: one.held for one in llama_checks(budget, log)} == {"gpu0": "not promised", "ram": "held"}


def test_the_process_is_everything_but_what_is_kept_free() -> None:
    whole = sum(one.size for one in BUDGET.lines if one.name != "margin")
    assert taken(BUDGET) == whole
    assert process_check(whole, round(whole * 1.029), promised=True).held == "held"
    assert process_check(whole, round(whole * 1.04), promised=True).held == "missed"
    assert process_check(whole, 2 * whole, promised=False).held == "not promised"


@pytest.mark.parametrize(("tokens", "cpu", "held"), [(93184, True, "held"), (93056, True, "missed"),
                                                     (93056, False, "not promised")])
def test_vllms_tokens_are_exact_on_a_processor(tokens: int, cpu: bool, held: str) -> None:
    log = "INFO CPU KV cache size: 93,184 tokens, Maximum concurrency for 2,048 tokens per request: 45.50x"
    checks = vllm_checks(log, tokens=tokens, concurrency=tokens / 2048, weights=1, cpu=cpu)
    assert {one.name: one.held for one in checks} == {"attention cache": held, "conversations at full length": held}


@pytest.mark.parametrize(("measured", "why", "held"), [(62, "", "held"), (49, "", "missed"), (76, "", "missed"),
                                                       (5, "others", "not judged")])
def test_speeds_are_in_their_interval(measured: float, why: str, held: str) -> None:
    assert speed_check("one user", Interval(50, 60, 75), measured, why=why).held == held


def test_one_miss_is_enough_and_nothing_else_is() -> None:
    good, missed = Check("a", "ram", "bytes", 1, 1, 0.01), Check("b", "ram", "tokens", 1, 2, 0.0)
    open_ = Check("c", "gpu0", "bytes", 1, 2)
    assert Verification("2026-01-01T00:00:00Z", "llama.cpp 1", (good, open_)).holds
    assert not Verification("2026-01-01T00:00:00Z", "llama.cpp 1", (good, missed)).holds


def test_there_and_back() -> None:
    found = Verification("2026-01-01T00:00:00Z", "llama.cpp 1", (*llama_checks(BUDGET, LOG),
                         speed_check("one user", Interval(50, 60, 75), 62)), ("a note",))
    assert Verification.from_json(found.as_json()) == found
    for broken in ({}, [], {"schema": "modelkit.verified/2"}, found.as_json() | {"checks": [{"name": "x"}]},
                   found.as_json() | {"checks": 1}):
        with pytest.raises(ValueError, match="modelkit"):
            Verification.from_json(broken)  # type: ignore[arg-type]


def test_what_was_measured_stands_in_place_of_what_was_predicted() -> None:
    known = Verification("2026-01-01T00:00:00Z", "llama.cpp 1", tuple(llama_checks(BUDGET, LOG)))
    lines = {one.name: one for one in remembered(BUDGET, known).lines}
    assert lines["compute"].source == "measured" and lines["compute"].size == round(27.2 * MiB)
    assert lines["compute"].how.startswith("2026-01-01; predicted 27.3 MiB")
    assert lines["vocabulary"] == BUDGET.lines[4]
    assert remembered(BUDGET, known).capacity == BUDGET.capacity


def test_a_row_says_it_all() -> None:
    check = Check("compute", "ram", "bytes", 27.3 * MiB, 27.2 * MiB, 0.01)
    (row,) = rows([check])
    assert row == ("compute", "ram", "27.3 MiB", "27.2 MiB", "+0.4 %", "within 1 %", "held")
    (row,) = rows([replace(check, unit="tok/s", measured=0, within=None, low=1, high=2, why="busy")])
    assert row[4:] == ("", "1 to 2", "not judged: busy")


@pytest.mark.parametrize(("name", "kind"), [
    ("weights", "model"), ("weights, laid out anew", "model"), ("draft weights", "model"), ("attention cache", "KV"),
    ("KV cache", "KV"), ("draft attention cache", "KV"), ("recurrent state", "RS"), ("compute", "compute"),
    ("output", "output"), ("projector weights", None), ("adapter a weights", None), ("vocabulary", None),
    ("engine", None)])
def test_kinds_of_lines(name: str, kind: str | None) -> None:
    assert kind_of(Line(name, "ram", 1, "")) == kind
