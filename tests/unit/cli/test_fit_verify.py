"""`modelkit fit --verify` over an engine that only says what it took."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modelkit.cli.fit.verifying import Measured
from modelkit.platforms.bundle import Bundle
from modelkit.release.bench import BenchResult, Closed, Sample
from tests.unit.cli.conftest import Run, write
from tests.unit.cli.fit_machine import stand_in
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


def measured(*answers: tuple[float, float, int | None], others: float = 0.0, on_cpu: bool = True) -> Measured:
    """Answers by their time to the first token, their whole time, and their tokens."""
    samples = tuple(Sample(due=0, ttft=first, e2e=whole, tokens=tokens) for first, whole, tokens in answers)
    result = BenchResult(load=Closed(concurrency=1), metrics={}, samples=samples, seconds=1)
    return Measured(1, result, others, on_cpu)


@pytest.mark.parametrize(("answers", "decode"), [
    ([(1, 2, 11), (1, 3, 41), (1, 2, 16)], 15), ([(1, 1, 11)], None), ([(1, 2, None)], None), ([(1, 2, 1)], None),
    ([], None)])
def test_a_pace_is_the_median_of_what_comes_after_first_tokens(
        answers: list[tuple[float, float, int | None]], decode: float | None) -> None:
    assert measured(*answers).decode == decode


@pytest.mark.parametrize(("others", "on_cpu", "disturbed"), [(0.05, True, False), (0.5, True, True),
                                                             (0.5, False, False)])
def test_what_others_take_of_the_processors_counts_where_they_compute(others: float, on_cpu: bool,
                                                                      disturbed: bool) -> None:
    assert measured(others=others, on_cpu=on_cpu).disturbed is disturbed
