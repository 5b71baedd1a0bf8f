"""Benchmarks of this machine are kept as points of the formula, and believed by the next prediction."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelkit.cli.fit import calibrating
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed import speed
from modelkit.release.bench.loads import Closed, Open
from modelkit.release.bench.result import BenchResult, Sample
from tests.unit.fit.speed_shapes import SMOLLM2, anatomy

MODEL = anatomy(SMOLLM2, "Q4_1")
HERE = Hardware("here", cpus=2, cpu_bandwidth=34e9, cpu_flops=33.6e9, source="measured")
SERVING = Serving("llama.cpp", 2048, 4, "f16")


def load(users: int, gap: float, *, first: float = 0.5, count: int = 8, **said: Any) -> BenchResult:
    samples = tuple(Sample(due=0, ttft=first * (1 + 0.01 * at), e2e=first * (1 + 0.01 * at) + 63 * gap, tokens=64,
                           prompt_tokens=128) for at in range(count))
    return BenchResult(load=Closed(concurrency=users), metrics={}, samples=samples, seconds=10, **said)


def plan(**said: Any) -> Any:
    engine = SimpleNamespace(provider="llama-cpp-python", version="0.3.36", variant="cpu")
    return cast("Any", SimpleNamespace(engine_name="llama.cpp", engine=engine, name="m") if not said
                else SimpleNamespace(**{"engine_name": "llama.cpp", "engine": engine, "name": "m"} | said))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path))
    return tmp_path


def learnt(*runs: BenchResult, machine: Hardware = HERE) -> list[Any]:
    points = list(calibrating.points_of(MODEL, SERVING, machine, runs))
    if points:
        calibrating._keep(points, plan(), machine)
    return points


def test_a_load_is_a_step_and_a_prompt_of_one_who_is_alone() -> None:
    points = learnt(load(1, 0.02), load(4, 0.05))
    assert [round(one.seconds, 3) for one in points] == [0.02, 0.518, 0.05]
    assert all(one.noise < 0.05 for one in points)


@pytest.mark.parametrize(("tokens", "itl", "gap"), [
    (11, (), 0.1), (11, (0.05,) * 9 + (0.55,), 0.05), (11, (0.2,) * 5, 0.1), (None, (0.1,), None), (1, (), None)],
    ids=["no chunks", "one token a chunk", "two tokens a chunk", "not counted", "one"])
def test_steps_are_told_from_the_prompts_of_others(tokens: int | None, itl: tuple[float, ...],
                                                   gap: float | None) -> None:
    samples = (Sample(due=0, ttft=1, e2e=2, tokens=tokens, prompt_tokens=100, itl=itl),) * 3
    steps = calibrating.steps_of(BenchResult(load=Closed(concurrency=1), metrics={}, samples=samples, seconds=1))
    assert (steps and pytest.approx(steps.seconds)) == gap
    assert steps is None or steps.context == 105.5


@pytest.mark.parametrize("run", [
    load(1, 0.02, saturated=True), load(1, 0.02, count=2), load(8, 0.02),
    load(1, 0.02).model_copy(update={"load": Open(rate=1.0)}),
    load(1, 0.02).model_copy(update={"samples": tuple(Sample(due=0, e2e=1, error="no") for _ in range(9))}),
    load(1, 0.0)], ids=["saturated", "too few", "more users than it serves", "open", "failed", "no time"])
def test_what_shows_nothing_is_no_point(run: BenchResult) -> None:
    assert [one for one in calibrating.points_of(MODEL, SERVING, HERE, [run]) if one.seconds < 0.1] == []


def test_what_was_learnt_is_near_what_is_predicted_next() -> None:
    before = speed(MODEL, SERVING, HERE)
    learnt(load(1, 0.02), load(4, 0.05))
    belief = calibrating.known(plan(), SERVING, HERE)
    assert belief is not None and belief.points == 3
    after = speed(MODEL, SERVING, HERE, calibration=belief)
    assert before is not None and after is not None and after.calibrated
    assert abs(after.decode.expected - 50) < abs(before.decode.expected - 50)
    assert after.decode.high / after.decode.low < before.decode.high / before.decode.low


def test_the_fastest_of_each_step_is_believed() -> None:
    learnt(load(1, 0.02))
    learnt(load(1, 0.08))
    belief = calibrating.known(plan(), SERVING, HERE)
    assert belief is not None and belief.points == 2


@pytest.mark.parametrize("other", [
    replace(HERE, source="table"), replace(HERE, devices=(Device("RTX-4090", "cuda", 1 << 34, bandwidth=1e12),))],
    ids=["a name", "a GPU"])
def test_nothing_is_known_of_other_hardware(other: Hardware) -> None:
    learnt(load(1, 0.02))
    assert calibrating.known(plan(), SERVING, other) is None
    assert calibrating.known(plan(engine_name="vllm"), SERVING, HERE) is None


@pytest.mark.parametrize("bad", ["", "{}", "[1]", '{"formula": 1, "points": [{"terms": {"memory": 1e999}}]}',
                                 '{"formula": 1, "points": [{"terms": {"memory": -1, "overlap": true}, "seconds": 1}]}',
                                 '{"formula": 1, "points": 3}'],
                         ids=["empty", "nothing", "a list", "infinite", "negative", "no points"])
def test_a_damaged_file_is_passed_over(bad: str, home: Path) -> None:
    learnt(load(1, 0.02))
    (folder,) = (home / "state/fit/speeds").iterdir()
    (folder / "2.json").write_text(bad)
    belief = calibrating.known(plan(), SERVING, HERE)
    assert belief is not None and belief.points == 2


def test_points_of_another_formula_say_nothing(home: Path) -> None:
    learnt(load(1, 0.02))
    (path,) = (home / "state/fit/speeds").glob("*/*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"formula": 0}))
    assert calibrating.known(plan(), SERVING, HERE) is None


@pytest.mark.parametrize("what", [{"weights": None}, {"task": "embed"}, {"image": "vllm:1"}],
                         ids=["no weights", "another task", "a container"])
def test_nothing_is_learnt_where_there_is_nothing_to_learn(what: dict[str, Any]) -> None:
    made = plan(**({"weights": object(), "task": "chat", "image": None} | what))
    assert calibrating.learn(made, [load(1, 0.02)]) is None


def test_nothing_is_learnt_while_others_have_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0, 0))
    assert calibrating.busy()
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0, 0))
    assert not calibrating.busy()
