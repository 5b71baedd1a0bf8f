"""Loads on a scripted model in virtual time: every number is known before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelkit.failure import Failure
from modelkit.release.bench import BenchResult, Closed, Limit, Open, Prompts, Synthetic, measure, sweep
from modelkit.release.bench.limits import limit
from modelkit.release.bench.measure import Extent
from modelkit.release.bench.result import Sample, enough, intervals, numbers
from modelkit.release.bench.workload import own_prompts
from tests.unit.release.scripted_model import Scripted
from tests.unit.release.virtual_time import run

_ASK = Prompts(({"messages": [{"role": "user", "content": "hello"}]},), "sha256:0")


def bench(model: Scripted, load: Any = None, *, extent: Extent | None = None, limits: tuple[str, ...] = (),
          workload: Any = _ASK) -> BenchResult:
    done: BenchResult = run(measure(model, workload, load, extent=extent, limits=[limit(one) for one in limits]))
    return done


def test_percentiles_are_those_of_the_script() -> None:
    # 101 answers of 0.00 to 1.00 seconds to the first token: pNN is 0.NN, whatever the order.
    order = np.random.default_rng(1).permutation(101)
    model = Scripted(first=lambda n: order[n] / 100, gap=lambda n: 0.02)
    done = bench(model, Closed(concurrency=1), extent=Extent(101, warmup=0))
    assert {name: round(value, 6) for name, value in done.metrics.items()} == {
        "errors": 0.0,
        "ttft.p50": 0.5, "ttft.p90": 0.9, "ttft.p95": 0.95, "ttft.p99": 0.99,
        "itl.p50": 0.02, "itl.p90": 0.02, "itl.p95": 0.02, "itl.p99": 0.02,
        "e2e.p50": 0.58, "e2e.p90": 0.98, "e2e.p95": 1.03, "e2e.p99": 1.07,
        "requests_per_second": round(101 / (50.5 + 101 * 0.08), 6),
        "tokens_per_second": round(101 * 5 / (50.5 + 101 * 0.08), 6)}
    assert done.seconds == pytest.approx(50.5 + 101 * 0.08)
    assert done.verdict == "pass" and not done.saturated


def test_the_warm_up_is_not_counted() -> None:
    model = Scripted(first=lambda n: 60.0 if n < 8 else 0.1)
    done = bench(model, Closed(concurrency=4), extent=Extent(40))
    assert (len(model.bodies), len(done.samples)) == (48, 40)
    assert done.metrics["ttft.p99"] == pytest.approx(0.1)
    assert done.metrics["tokens_per_second"] == pytest.approx(4 * 5 / 0.14)


def test_so_many_seconds_end_a_run() -> None:
    done = bench(Scripted(first=lambda n: 0.96), Closed(concurrency=2), extent=Extent(10_000, seconds=10, warmup=2))
    assert (len(done.samples), done.seconds) == (20, 10.0)


@pytest.mark.parametrize(("at_a_time", "tokens"), [(1, 1000 / 140), (4, 4000 / 140), (8, 4000 / 140)])
def test_throughput_of_so_many_servers(at_a_time: int, tokens: float) -> None:
    done = bench(Scripted(tokens=1, first=lambda n: 0.14, servers=4), Closed(concurrency=at_a_time),
                 extent=Extent(80, warmup=at_a_time))
    assert done.metrics["tokens_per_second"] == pytest.approx(tokens, rel=0.06)


def test_a_sweep_finds_where_more_clients_only_wait() -> None:
    model = Scripted(servers=4)
    loads = [Closed(concurrency=count) for count in (8, 1, 4, 2)]
    done = run(sweep(model, _ASK, loads, extent=Extent(64, warmup=0)))
    assert [(str(one.load), one.saturated) for one in done] == [
        ("1 at a time", False), ("2 at a time", False), ("4 at a time", False), ("8 at a time", True)]
    assert done[3].notes == ("no more tokens than with 4 at a time: they only wait longer",)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("rate", "grows"), [(10, False), (20, False), (32, False), (50, True), (100, True)])
def test_an_open_loop_sees_a_queue_that_grows(rate: float, grows: bool, seed: int) -> None:
    model = Scripted(first=lambda n: 0.06, servers=4)  # four servers of 0.1 seconds: 40 requests a second
    done: BenchResult = run(measure(model, _ASK, Open(rate=rate), extent=Extent(400), seed=seed,
                                    limits=[limit("ttft.p95 <= 10s")]))
    assert done.saturated is grows
    assert done.verdict == ("inconclusive" if grows else "pass")
    if grows:
        assert "the queue grew" in done.notes[0] and done.limits[0].why == done.notes[0]


def test_arrivals_are_on_time_and_waiting_counts() -> None:
    model = Scripted(first=lambda n: 0.5, servers=1, tokens=1)  # serves two a second, and four come
    done = bench(model, Open(rate=4, poisson=False), extent=Extent(8, warmup=0))
    assert [one.due for one in done.samples] == [n / 4 for n in range(8)]
    assert [one.ttft for one in done.samples] == pytest.approx([0.5 + n / 4 for n in range(8)])
    assert [one.underway for one in done.samples] == [0, 1, 1, 2, 2, 3, 3, 4]


def test_a_mob_ends_an_open_loop() -> None:
    done = bench(Scripted(first=lambda n: 3600.0), Open(rate=1000), extent=Extent(100_000, warmup=0))
    assert (len(done.samples), done.saturated) == (2048, True)
    assert "2048 requests wait" in done.notes[0]


def test_goodput_counts_answers_within_every_limit() -> None:
    # Of 100 answers 80 begin in time, and half of those have gaps that are too long.
    model = Scripted(first=lambda n: 0.1 if n % 10 < 8 else 0.9, gap=lambda n: 0.01 if n % 2 else 0.05)
    done = bench(model, Closed(concurrency=1), extent=Extent(100, warmup=0),
                 limits=("ttft.p95 <= 500ms", "itl.p95 <= 20ms", "errors <= 0"))
    assert done.metrics["goodput"] * done.seconds == pytest.approx(40)
    assert [one.verdict for one in done.limits] == ["fail", "fail", "pass"] and done.verdict == "fail"


def test_one_token_meets_no_limit_on_gaps() -> None:
    assert not Sample(due=0, ttft=0.1, e2e=0.1, tokens=1).within([limit("itl.p50 <= 1s")])


def test_failures_have_no_times_and_are_said() -> None:
    model = Scripted(failing=lambda n: n % 4 == 3)
    done = bench(model, Closed(concurrency=1), extent=Extent(80, warmup=0),
                 limits=("ttft.p50 <= 1s", "errors <= 1%"))
    assert done.metrics["errors"] == 0.25 and done.metrics["requests_per_second"] == pytest.approx(1 / 0.14)
    assert [(one.verdict, one.why) for one in done.limits] == [
        ("inconclusive", "25 % of the requests failed, so the others had less to share"), ("fail", None)]
    assert done.verdict == "fail" and "20 of 80 requests failed; the first: 503: busy" in done.notes


def test_a_model_that_answers_nothing_is_a_failure() -> None:
    with pytest.raises(Failure, match="the first 10 requests all failed: 503: busy"):
        bench(Scripted(failing=lambda n: True), Closed(concurrency=2))


@pytest.mark.parametrize(("count", "metric", "verdict"), [
    (58, "ttft.p95", "inconclusive"), (59, "ttft.p95", "pass"), (298, "e2e.p99", "inconclusive"),
    (299, "e2e.p99", "pass"), (28, "tokens_per_second", "inconclusive"), (29, "tokens_per_second", "pass")])
def test_too_few_samples_show_nothing(count: int, metric: str, verdict: str) -> None:
    text = f"{metric} >= 1" if metric == "tokens_per_second" else f"{metric} <= 1s"
    done = bench(Scripted(), Closed(concurrency=1), extent=Extent(count, warmup=0), limits=(text,))
    assert done.verdict == verdict
    assert verdict == "pass" or done.limits[0].why == f"{count} samples, and {metric} takes {enough(metric)}"


def test_what_the_engine_does_not_count_is_not_measured() -> None:
    samples = [Sample(due=0, ttft=0.1, e2e=1.0)] * 30
    assert "tokens_per_second" not in numbers(samples, 30, ()) and "itl.p50" not in numbers(samples, 30, ())
    assert numbers([], 1, ()) == {}


def test_intervals_hold_the_percentile_in_95_of_100_runs() -> None:
    chance, held = np.random.default_rng(5), {"ttft.p50": 0, "ttft.p90": 0, "ttft.p95": 0}
    for _ in range(400):
        samples = [Sample(due=0, ttft=float(value), e2e=1.0) for value in chance.exponential(size=120)]
        found = intervals(samples)
        assert "ttft.p99" not in found  # 120 are too few
        for name in held:
            truth = -np.log(1 - int(name[-2:]) / 100)
            held[name] += found[name][0] <= truth <= found[name][1]
    assert all(count / 400 >= 0.94 for count in held.values()), held


def test_prompts_get_the_length_that_was_asked_for() -> None:
    model = Scripted()
    ready = run(Synthetic(prompt=(110, 110), answer=(7, 7), seed=3).ready(model))
    body = ready.body(0)
    assert (body["max_tokens"], body["ignore_eos"]) == (7, True)
    assert 10 + 2 * len(body["messages"][0]["content"].split()) == 110
    beginnings = {ready.body(n)["messages"][0]["content"][:24] for n in range(200)}
    assert len(beginnings) == 200 and ready.body(1) == ready.body(1)


def test_an_engine_without_ignore_eos_and_a_long_system_prompt_are_said() -> None:
    ready = run(Synthetic(prompt=(5, 5)).ready(Scripted(ignore_eos=False)))
    assert "ignore_eos" not in ready.body(0)
    assert ready.notes == ("the engine has no `ignore_eos`: answers end where the model ends them",
                           "prompts have 12 tokens at least: the system prompt and template are long")


def test_own_prompts(tmp_path: Path) -> None:
    lines = tmp_path / "p.jsonl"
    lines.write_text('"one"\n\n{"prompt": "two", "max_tokens": 3}\n{"messages": [{"role": "user", "content": "three"}],'
                     ' "model": "x", "stream": false}\n')
    found = own_prompts(lines, 9)
    assert found.bodies == ({"max_tokens": 9, "messages": [{"role": "user", "content": "one"}]},
                            {"max_tokens": 3, "messages": [{"role": "user", "content": "two"}]},
                            {"max_tokens": 9, "messages": [{"role": "user", "content": "three"}]})
    text = tmp_path / "p.txt"
    text.write_text("one\ntwo\n")
    assert [one["messages"][0]["content"] for one in own_prompts(text, None).bodies] == ["one", "two"]


@pytest.mark.parametrize(("name", "content", "said"), [
    ("p.jsonl", b"{", "p.jsonl:1: this is no JSON"), ("p.jsonl", b'"a"\n{"x": 1}', "p.jsonl:2: a line is a string"),
    ("p.jsonl", b'{"messages": []}', "p.jsonl:1: a line is a string"), ("p.txt", b" \n", "holds no prompt"),
    ("p.txt", b"\xff\xfe\x00", "is not UTF-8 text"), ("missing.txt", None, "cannot be read: no such file")])
def test_prompts_that_are_none(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Failure, match=said):
        own_prompts(tmp_path / name, None)


@pytest.mark.parametrize(("text", "metric", "value"), [
    ("ttft.p95<=500ms", "ttft.p95", 0.5), ("tps >= 25 tok/s", "tokens_per_second", 25.0),
    ("errors < 1%", "errors", 0.01), ("goodput > 2", "goodput", 2.0), ("latency <= 2s", "e2e.p95", 2.0)])
def test_limits_in_the_languages_words(text: str, metric: str, value: float) -> None:
    assert (limit(text).metric, limit(text).value) == (metric, value)


@pytest.mark.parametrize(("text", "said"), [
    ("fast", "is no limit"), ("tests >= 1", "measures no `tests`"), ("ttft.p95 <= soon", "must be a duration"),
    ("ttft <= 1s", "measures no `ttft`"), ("", "is no limit")])
def test_limits_that_are_none(text: str, said: str) -> None:
    with pytest.raises(Failure, match=said):
        limit(text)


def test_a_result_survives_json() -> None:
    done = bench(Scripted(), Closed(concurrency=2), extent=Extent(30, warmup=0), limits=("ttft.p50 <= 1s",))
    assert BenchResult.model_validate(done.as_json()) == done
    assert isinstance(done.limits[0].limit, Limit)
