"""Two benchmarks held against each other, and benchmarks as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelkit.failure import Failure
from modelkit.release.bench import BenchResult, Closed, Open, Sample
from modelkit.release.bench.compare import compare
from modelkit.release.bench.document import BenchDocument, Subject, keep, kept, read, this_machine
from modelkit.release.bench.verdict import judged

_MACHINE = this_machine()


def document(scale: float = 1.0, *, seed: int = 0, count: int = 100, load: Closed | Open | None = None,
             workload: str = "w", spread: float = 0.2) -> BenchDocument:
    """Answers with times that vary, `scale` times as long."""
    chance, load = np.random.default_rng(seed), load or Closed(concurrency=2)
    samples = []
    for number in range(count):
        first = scale * float(chance.lognormal(-2, spread))
        gaps = tuple(scale * float(value) for value in chance.lognormal(-4, spread, 9))
        samples.append(Sample(due=number / 10, ttft=first, itl=gaps, e2e=first + sum(gaps), tokens=10))
    seconds = sum(one.e2e for one in samples) / 2
    return BenchDocument(subject=Subject(model="m"), machine=_MACHINE, workload={"kind": workload},
                         runs=(judged(load, tuple(samples), seconds, ()),))


def verdicts(before: BenchDocument, after: BenchDocument, tolerance: float = 0.05) -> dict[str, str]:
    return {one.metric: one.verdict for one in compare(before, after, tolerance=tolerance, rounds=300)}


_ALL = ["tokens_per_second", "ttft.p50", "ttft.p90", "ttft.p95", "itl.p50", "itl.p90", "itl.p95", "itl.p99",
        "e2e.p50", "e2e.p90", "e2e.p95"]


@pytest.mark.parametrize(("scale", "said"), [(0.5, "better"), (2.0, "worse")])
def test_twice_as_slow_is_worse(scale: float, said: str) -> None:
    assert verdicts(document(seed=1), document(scale, seed=2)) == dict.fromkeys(_ALL, said)


def test_a_run_and_itself_are_the_same() -> None:
    assert verdicts(document(), document()) == dict.fromkeys(_ALL, "same")


def test_chance_is_not_a_change() -> None:
    # Two runs of one engine: intervals of 95 % let about one in twenty through, and correlated metrics go together.
    wrong = [metric for seed in range(10) for metric, said in
             verdicts(document(seed=2 * seed), document(seed=2 * seed + 1), 0.0).items() if said != "same"]
    assert len(wrong) <= 0.1 * 10 * len(_ALL), wrong


def test_small_changes_are_tolerated() -> None:
    before, after = document(seed=1, spread=0.001), document(1.03, seed=1, spread=0.001)
    assert set(verdicts(before, after).values()) == {"same"}
    assert set(verdicts(before, after, 0.01).values()) == {"worse"}


def test_an_interval_is_about_the_ratio() -> None:
    first = compare(document(seed=1), document(2.0, seed=2))[0]
    assert first.metric == "tokens_per_second" and first.load == "2 at a time"
    assert first.low < first.ratio < first.high and first.low > 0.45 and first.high < 0.55


def test_an_open_loop_has_no_throughput_to_compare() -> None:
    load = Open(rate=10)
    assert "tokens_per_second" not in verdicts(document(load=load), document(load=load))


@pytest.mark.parametrize(("after", "said"), [
    (document(workload="other"), "asked for different things"),
    (document(load=Closed(concurrency=3)), "no load in common")])
def test_what_cannot_be_compared(after: BenchDocument, said: str) -> None:
    with pytest.raises(Failure, match=said):
        compare(document(), after)


def test_it_is_kept_and_read(tmp_path: Path) -> None:
    one, other = document(seed=1), document(seed=2)
    paths = [keep(one, tmp_path / "bench"), keep(other, tmp_path / "bench")]
    assert read(paths[0]) == one
    (tmp_path / "bench" / "z.json").write_text("{}")
    assert sorted(found.runs[0].seconds for found in kept(tmp_path / "bench")) == sorted(
        found.runs[0].seconds for found in (one, other))
    assert json.loads(paths[0].read_text())["verdict"] == "pass"


@pytest.mark.parametrize(("content", "said"), [
    ("{", "is no JSON"), ("{}", "subject: field required"), ("[]", "is no result"), ("[" * 9999, "is no JSON"),
    (None, "cannot be read")])
def test_files_that_are_no_benchmark(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "b.json").write_text(content)
    with pytest.raises(Failure, match=said):
        read(tmp_path / "b.json")


@pytest.mark.parametrize(("verdicts_", "said"), [
    (["fail", "pass"], "pass"), (["inconclusive", "fail"], "fail"), (["inconclusive"], "inconclusive"),
    ([], "inconclusive"), (["error", "inconclusive"], "error")])
def test_a_sweep_passes_when_one_load_does(verdicts_: list[str], said: str) -> None:
    runs = tuple(BenchResult(load=Closed(concurrency=1), metrics={}, seconds=1, verdict=one)  # type: ignore[arg-type]
                 for one in verdicts_)
    assert document().model_copy(update={"runs": runs}).verdict == said
