"""`modelkit fit --verify` over an engine that only says what it took."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelkit.cli.fit.verifying import Measured, _speeds
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed import pace
from modelkit.platforms.bundle import Bundle
from modelkit.release.bench import BenchResult, Closed, Sample
from tests.unit.cli.conftest import Run, write
from tests.unit.cli.fit_machine import stand_in
from tests.unit.fit.speed_shapes import SMOLLM2, anatomy
from tests.unit.models.small_model import small_model
from tests.unit.runtime.support import bundle

LINES = {"weights": "x:   CPU_Mapped model buffer size", "attention cache": "x:  CPU KV buffer size",
         "compute": "x:  CPU compute buffer size", "output": "x:   CPU  output buffer size"}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    stand_in(monkeypatch)
    with tempfile.TemporaryDirectory(prefix="mk-v", dir="/tmp") as path:  # a short one, for sockets
        monkeypatch.setattr(tempfile, "tempdir", path)
        yield
        assert list(Path(path).iterdir()) == []


def standing_in(monkeypatch: pytest.MonkeyPatch, *vices: str) -> None:
    """A stub engine in the place of the stage's."""
    def render(plan: object) -> Bundle:
        stub = bundle(*vices, "--name", "bot", "--token-seconds", "0.002")
        return Bundle(plan, replace(stub.launch, start_seconds=20))  # type: ignore[arg-type]

    monkeypatch.setattr("modelkit.platforms.render", render)


def said(budget: dict[str, int], **other: float) -> list[str]:
    """An engine's log of those sizes, with other factors for some lines."""
    return [word for name, text in LINES.items() for word in
            ("--say", f"{text} = {budget.get(name, 0) * other.get(name, 1) / 2**20:.2f} MiB")]


@pytest.fixture
def fit(run: Run) -> Run:
    small_model(Path("m.gguf"), context_length=65536)
    write("NAME bot\nFROM ./m.gguf\nPARAMETER num_ctx 32768\nENGINE llama.cpp\nSERVE max_concurrency 1\n")
    return lambda *words: run("fit", *words)


def predicted(fit: Run) -> dict[str, int]:
    lines = json.loads(fit("--json")[1])["now"]["budget"]["lines"]
    return {one["name"]: one["size"] for one in lines}


def test_what_holds_is_remembered(fit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = predicted(fit)
    standing_in(monkeypatch, *said(sizes))
    _, out, err = fit("--verify", "--json")
    checks = {one["name"]: one for one in json.loads(out)["verified"]["checks"]}
    assert {name: one["held"] for name, one in checks.items() if name in LINES} == dict.fromkeys(LINES, "held"), err
    assert checks["the whole process"]["measured"] > 1 << 20 and "one user" not in checks, "it counts no tokens"
    after = json.loads(fit("--json")[1])
    sources = {one["name"]: one["source"] for one in after["now"]["budget"]["lines"]}
    seen = [name for name in LINES if sizes[name] > 0.01 * 2**20]  # a log has two decimals of MiB
    assert {sources[name] for name in seen} == {"measured"} and len(seen) > 2
    assert "measured on" in " ".join(after["notes"])
    other = json.loads(fit("--json", "--context", "16384")[1])
    assert "measured" not in {one["source"] for one in other["now"]["budget"]["lines"]}


def test_what_does_not_hold_is_exit_code_1(fit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(monkeypatch, *said(predicted(fit), **{"attention cache": 1.05}))
    code, out, _ = fit("--verify")
    assert code == 1 and "not as predicted: " in out
    row = next(line for line in out.splitlines() if line.startswith("attention cache") and "PROMISED" not in line
               and "missed" in line)
    assert "within 1 %" in row


def test_an_engine_that_does_not_start_is_one_failure(fit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    standing_in(monkeypatch, "--die-at-start", "no memory left")
    code, out, err = fit("--verify")
    assert code == 2 and "error[engine-exited]" in err and "no memory left" in err and out == ""
    assert not list(Path("home/state").glob("fit/*.json"))


def test_a_stage_of_other_programs_is_not_started(fit: Run) -> None:
    write("NAME bot\nFROM ./m.gguf\nPLATFORM compose\nENGINE vllm\n")
    code, _, err = fit("--verify")
    assert code == 2 and "error[" in err


def measured(users: int = 1, *, others: float = 0.0, on_cpu: bool = True) -> Measured:
    """Answers of 65 tokens, 20 ms from one to the next, but where the prompts of others came between."""
    samples = tuple(Sample(due=0, ttft=1, e2e=1 + 63 * 0.02 + 0.5, tokens=65, prompt_tokens=128,
                           itl=(0.02,) * 63 + (0.5,)) for _ in range(8))
    result = BenchResult(load=Closed(concurrency=users), metrics={}, samples=samples, seconds=1)
    return Measured(users, result, others, on_cpu)


@pytest.mark.parametrize("users", [1, 4])
def test_a_speed_is_held_against_steps_behind_as_much(users: int) -> None:
    serving = Serving("llama.cpp", 2048, 4, "f16")
    machine = Hardware("here", cpus=2, cpu_bandwidth=34e9, cpu_flops=33.6e9, source="measured")
    model = anatomy(SMOLLM2, "Q4_1")
    report = SimpleNamespace(now=SimpleNamespace(anatomy=model, serving=serving), hardware=machine)
    check, = _speeds(cast("Any", report), [measured(users)], None)
    assert check.name == ("one user" if users == 1 else "4 users")
    assert check.measured == pytest.approx(users / 0.02)
    begin, end = (pace(model, serving, machine, users, context) for context in (0, 2047))
    assert begin is not None and end is not None
    assert end.expected < 0.8 * begin.expected, "it matters what is behind"
    assert check.predicted == pytest.approx(begin.expected, rel=0.2) and check.predicted < begin.expected
    assert [one.why for one in _speeds(cast("Any", report), [measured(users, others=0.4)], None)] == [
        "other programs took 40 % of the processors"]


@pytest.mark.parametrize(("others", "on_cpu", "disturbed"), [(0.05, True, False), (0.5, True, True),
                                                             (0.5, False, False)])
def test_what_others_take_of_the_processors_counts_where_they_compute(others: float, on_cpu: bool,
                                                                      disturbed: bool) -> None:
    assert measured(others=others, on_cpu=on_cpu).disturbed is disturbed
