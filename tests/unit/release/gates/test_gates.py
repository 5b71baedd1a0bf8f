"""Gates: what is asked, what each finds, and how that folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.modelfile import Modelfile
from modelkit.language.source import Source
from modelkit.release import history
from modelkit.release.evaluation.score import Question, Score, scored
from modelkit.release.gates import KINDS, GateContext, Measures, Soaked, asked, run_gates
from modelkit.release.gates.running import _JUDGES
from modelkit.release.identity import Actor
from modelkit.release.parity import Difference, ParityReport
from modelkit.release.parity.causes import Cause
from modelkit.release.record import Override
from modelkit.release.verdict import Verdict
from tests.unit.release.told import Story, subject

TEST = 'TEST "capital" {\n  USER What is the capital of France?\n  EXPECT contains "Paris"\n}\n'


def modelfile(stage: str, text: str = TEST) -> Modelfile:
    found, diagnostics = compile_source(Source("Modelfile", f"FROM hf.co/a/b\n{text}STAGE prod {{\n{stage}\n}}\n"))
    assert found is not None, diagnostics
    return found


@dataclass
class Cases:
    counts: Mapping[str, int]
    flaky: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def count(self, verdict: Verdict) -> int:
        return self.counts.get(verdict, 0)

    def as_json(self) -> Any:
        return dict(self.counts)


@dataclass
class Limit:
    text: str


@dataclass
class Held:
    limit: Limit
    observed: float | None
    verdict: Verdict
    why: str | None = None


@dataclass
class Bench:
    limits: tuple[Held, ...]
    samples: tuple[int, ...] = (1, 2, 3)

    def as_json(self) -> Any:
        return {"limits": len(self.limits)}


def parity(compared: int = 42, *different: str) -> Callable[[], ParityReport]:
    causes = (Cause("bos-missing", "left"),)
    differences = tuple(Difference(one, 3, "Hi", "'a' (token 1)", "'b' (token 2)", 9, 9, causes) for one in different)
    return lambda: ParityReport(compared, 1000, differences)


def context(folder: Path, stage: str = "  POLICY locked", text: str = TEST, **more: Any) -> GateContext:
    good = Measures(lint=lambda: (), lock=lambda: None, supply=lambda: {"api_key": None, "safetensors_only": None},
                    lost=lambda: (), soaked=lambda: Soaked(7200), memory=lambda: 1e9, parity=parity(),
                    tests=lambda: Cases({"pass": 2}))
    fields = {"modelfile": modelfile(stage, text), "source": "dev", "target": "prod", "subject": subject("9"),
              "history": history.read(Story(folder).store), "measures": good,
              "actor": Actor(name="Eve", email="eve@example.org", source="git")}
    return GateContext(**{**fields, **more})


def measured(found: GateContext, **more: Any) -> GateContext:
    return replace(found, measures=replace(found.measures, **more))


def verdict(found: GateContext, name: str) -> Verdict:
    (gate,) = run_gates(found, only=[name]).gates
    return gate.verdict


def test_every_kind_has_a_judge_and_every_metric_a_kind() -> None:
    from modelkit.language.metrics import EVAL, METRICS

    assert KINDS.keys() == _JUDGES.keys()
    assert {row.gate for row in (*METRICS.values(), EVAL)} <= KINDS.keys()


def test_what_is_always_asked_and_in_which_order() -> None:
    assert [(one.id, one.required) for one in asked(modelfile("  POLICY locked"), "prod")] == [
        ("lint", True), ("lock", True), ("supply", True), ("params", False), ("parity", True), ("tests", True)]
    assert [one.id for one in asked(modelfile("  POLICY locked", ""), "prod")][-1] == "parity"


def test_expect_lines_become_gates() -> None:
    found = asked(modelfile("  POLICY strict\n  EXPECT ttft.p95 <= 500ms\n  EXPECT tests >= 90%\n"
                            "  EXPECT eval.mmlu >= 0.6\n  EXPECT soak >= 24h\n  EXPECT approvals >= 2\n"
                            "  EXPECT memory <= 8GB ADVISORY\n"
                            "  EXPECT ttft.p95 <= 1s advisory"), "prod")
    assert [(one.id, one.kind, one.required, one.threshold) for one in found[3:]] == [
        ("params", "params", True, "nothing lost"), ("soak", "soak", True, "soak >= 24h"),
        ("approvals", "approval", True, "approvals >= 2"), ("parity", "parity", True, "token ids identical"),
        ("tests", "tests", True, "tests >= 90%"), ("ttft.p95", "slo", True, "ttft.p95 <= 500ms"),
        ("eval.mmlu", "eval", True, "eval.mmlu >= 0.6"), ("ttft.p95#2", "slo", False, "ttft.p95 <= 1s"),
        ("memory", "fit", False, "memory <= 8GB")]
    assert {one.id: one.value for one in found}["soak"] == 86400


def test_all_good_passes(tmp_path: Path) -> None:
    report = run_gates(context(tmp_path))
    assert report.verdict == "pass"
    assert [one.verdict for one in report.gates] == ["pass"] * 6
    assert report.stopping == ()


@pytest.mark.parametrize(("name", "measure", "wanted"), [
    ("lint", {"lint": lambda: ["bad"]}, "fail"),
    ("lint", {"lint": None}, "skipped"),
    ("lock", {"lock": lambda: "the files changed"}, "fail"),
    ("supply", {"supply": lambda: {"api_key": "no key"}}, "fail"),
    ("supply", {"supply": dict}, "inconclusive"),
    ("params", {"lost": lambda: ["mirostat"]}, "fail"),
    ("parity", {"parity": parity(42, "plain")}, "fail"),
    ("parity", {"parity": parity(0)}, "inconclusive"),
    ("parity", {"parity": None}, "skipped"),
    ("tests", {"tests": lambda: Cases({"pass": 1, "fail": 1})}, "fail"),
    ("tests", {"tests": lambda: Cases({"pass": 1, "error": 1})}, "error"),
    ("tests", {"tests": lambda: Cases({"pass": 1, "skipped": 1})}, "inconclusive"),
    ("tests", {"tests": lambda: Cases({"fail": 1, "error": 1})}, "fail"),
    ("tests", {"tests": lambda: Cases({})}, "inconclusive"),
    ("tests", {"tests": None}, "skipped"),
])
def test_a_gate_that_is_not_passed(tmp_path: Path, name: str, measure: dict[str, Callable[[], Any] | None],
                                   wanted: Verdict) -> None:
    found = measured(context(tmp_path, "  POLICY api_key"), **measure)
    assert verdict(found, name) == wanted
    report = run_gates(found)
    if name == "params":  # advisory without POLICY strict
        assert report.verdict == "pass"
    else:
        assert [one.id for one in report.stopping] == [name]
        assert report.verdict == ("inconclusive" if wanted == "skipped" else wanted)


@pytest.mark.parametrize(("counts", "wanted"), [
    ({"pass": 9, "fail": 1}, "pass"), ({"pass": 9, "error": 1}, "pass"), ({"pass": 8, "fail": 2}, "fail"),
    ({"pass": 8, "fail": 1, "error": 1}, "error"), ({"pass": 7, "fail": 2, "error": 1}, "fail")])
def test_a_broken_test_counts_only_where_it_decides(tmp_path: Path, counts: dict[str, int], wanted: Verdict) -> None:
    found = measured(context(tmp_path, "  EXPECT tests >= 90%"), tests=lambda: Cases(counts))
    assert verdict(found, "tests") == wanted


@pytest.mark.parametrize("error", [Failure("engine-dead", "it died"), OSError("no route"), TimeoutError()])
def test_a_check_that_breaks_is_an_error_and_no_verdict_on_the_model(tmp_path: Path, error: Exception) -> None:
    def broken() -> ParityReport:
        raise error

    found = measured(context(tmp_path), parity=broken)
    (gate,) = run_gates(found, only=["parity"]).gates
    assert gate.verdict == "error"
    assert gate.observed["error"]


def test_a_kind_that_nobody_knows_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(KINDS, "slo")
    monkeypatch.delitem(_JUDGES, "slo")
    report = run_gates(context(tmp_path, "  EXPECT e2e.p50 <= 2s"))
    assert {one.id: one.verdict for one in report.gates}["e2e.p50"] == "error"
    assert report.verdict == "error"


def test_a_limit_is_judged_by_the_load(tmp_path: Path) -> None:
    stage = "  EXPECT ttft.p95 <= 500ms\n  EXPECT errors <= 1%\n  EXPECT e2e.p99 <= 2s\n  EXPECT itl.p50 <= 1s"
    bench = Bench((Held(Limit("ttft.p95 <= 500ms"), 0.4, "pass"), Held(Limit("errors <= 1%"), 0.5, "fail"),
                   Held(Limit("e2e.p99 <= 2s"), None, "inconclusive", "100 samples, and e2e.p99 takes 299")))
    found = measured(context(tmp_path, stage), bench=lambda: bench)
    gates = {one.id: one for one in run_gates(found).gates}
    assert [gates[one].verdict for one in ("ttft.p95", "errors", "e2e.p99", "itl.p50")] == [
        "pass", "fail", "inconclusive", "inconclusive"]
    assert gates["ttft.p95"].observed == {"samples": "3", "ttft.p95": "0.4"}
    assert "299" in gates["e2e.p99"].observed["why"]


def score(values: list[float | None]) -> Score:
    return scored("mine", "includes", [Question(id=str(at), score=one) for at, one in enumerate(values)], tool="t")


def pair(count: int, worse: int, better: int) -> tuple[Score, Score]:
    """What runs now, and what is worse in some questions and better in others."""
    return (score([float(at < count - better) for at in range(count)]),
            score([float(at >= worse) for at in range(count)]))


@pytest.mark.parametrize(("count", "worse", "better", "wanted"), [
    (100, 0, 0, "pass"), (20, 0, 0, "pass"), (100, 1, 1, "pass"), (100, 8, 0, "fail"), (100, 8, 7, "inconclusive"),
    (1000, 8, 7, "pass"), (10, 1, 0, "inconclusive"), (10, 8, 0, "fail"), (10, 0, 3, "pass")])
def test_an_evaluation_may_not_be_worse_than_what_runs_beyond_chance(tmp_path: Path, count: int, worse: int,
                                                                     better: int, wanted: Verdict) -> None:
    now, new = pair(count, worse, better)
    found = measured(context(tmp_path, "  EXPECT eval.mine >= 0.1"), evaluate=lambda name: new,
                     baseline=lambda name: now)
    (gate,) = run_gates(found, only=["eval.mine"]).gates
    assert (gate.verdict, gate.observed["pairs"]) == (wanted, str(count))


@pytest.mark.parametrize(("values", "now", "wanted"), [
    ([1.0, 1.0], None, "pass"), ([1.0, 0.0], None, "fail"), ([1.0, None], None, "error"),
    ([1.0, 1.0], [None, 1.0], "inconclusive")])
def test_an_evaluation_has_a_floor(tmp_path: Path, values: list[float | None], now: list[float | None] | None,
                                   wanted: Verdict) -> None:
    found = measured(context(tmp_path, "  EXPECT eval.mine >= 0.6"), evaluate=lambda name: score(values),
                     baseline=lambda name: score(now) if now else None)
    assert verdict(found, "eval.mine") == wanted


@pytest.mark.parametrize(("seconds", "wanted"), [(3600, "pass"), (3599, "fail")])
def test_soak(tmp_path: Path, seconds: float, wanted: Verdict) -> None:
    found = context(tmp_path, "  EXPECT soak >= 1h")
    assert verdict(measured(found, soaked=lambda: Soaked(seconds)), "soak") == wanted
    assert verdict(measured(found, soaked=lambda: None), "soak") == "inconclusive"


@pytest.mark.parametrize(("used", "wanted"), [(7e9, "pass"), (9e9, "fail"), (None, "inconclusive")])
def test_memory(tmp_path: Path, used: float | None, wanted: Verdict) -> None:
    assert verdict(measured(context(tmp_path, "  EXPECT memory <= 8GB"), memory=lambda: used), "memory") == wanted


def test_what_was_planned_stands_beside_what_was_measured_and_judges_nothing(tmp_path: Path) -> None:
    asked_for = context(tmp_path, "  EXPECT memory <= 8GB")
    for used, planned, wanted in ((7.2e9, 7e9, "pass"), (7e9, 9e9, "pass"), (9e9, 7e9, "fail")):
        found = measured(asked_for, memory=lambda used=used: used, predicted=lambda planned=planned: planned)
        report = run_gates(found, only=["memory"])
        assert report.gates[0].verdict == wanted
        assert report.gates[0].observed["predicted"] == str(int(planned))
        assert report.gates[0].observed["off"] == f"{(used - planned) / planned:+.1%}"


def person(name: str) -> dict[str, Any]:
    return {"actor": {"name": name, "email": f"{name.lower()}@example.org", "source": "git"},
            "about": subject("9").ir}


@pytest.mark.parametrize(("people", "wanted"), [
    (["Ada", "Bob"], "pass"), (["Ada", "Ada"], "fail"), (["Ada", "Eve"], "fail"), (["Ada", "Zoe"], "fail"),
    ([], "fail")])
def test_approvals_are_of_others_and_count_once(tmp_path: Path, people: list[str], wanted: Verdict) -> None:
    story = Story(tmp_path)
    for one in people:
        story.tell("approve", None, **person(one))
    story.tell("approve", None, **person("Kim") | {"about": subject("8").ir})  # of another version
    found = context(tmp_path, "  EXPECT approvals >= 2", history=history.read(story.store),
                    authors=frozenset({"zoe@example.org"}))
    assert verdict(found, "approvals") == wanted


def test_a_rejection_takes_approvals_back_and_signatures_may_be_asked_for(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.tell("approve", None, **person("Ada"))
    story.tell("reject", None, **person("Bob"))
    found = context(tmp_path, "  EXPECT approvals >= 1", history=history.read(story.store))
    assert verdict(found, "approvals") == "fail"
    again = story.tell("approve", None, **person("Ada"))
    found = replace(found, history=history.read(story.store))
    assert verdict(found, "approvals") == "pass"
    assert verdict(replace(found, signers=frozenset()), "approvals") == "fail"
    assert verdict(replace(found, signers=frozenset({again.id})), "approvals") == "pass"


def over(gate: str, until: str = "2999-01-01T00:00:00Z", reason: str = "known") -> tuple[Override, ...]:
    return (Override(gate=gate, reason=reason, actor="Ada", expires=until),)


def test_an_override_counts_for_a_failure_and_stays_visible(tmp_path: Path) -> None:
    found = measured(context(tmp_path, overrides=over("tests")), tests=lambda: Cases({"fail": 1}))
    report = run_gates(found)
    assert report.verdict == "pass"
    assert [one.verdict for one in report.gates if one.id == "tests"] == ["fail"]
    assert [one.gate for one in report.overrides] == ["tests"]
    assert report.stopping == ()


def test_an_override_of_what_passes_is_not_kept(tmp_path: Path) -> None:
    assert run_gates(context(tmp_path, overrides=over("tests"))).overrides == ()


def test_an_error_is_never_overridden(tmp_path: Path) -> None:
    found = measured(context(tmp_path, overrides=over("tests")), tests=lambda: Cases({"error": 1}))
    report = run_gates(found)
    assert (report.verdict, report.overrides) == ("error", ())


@pytest.mark.parametrize(("override", "code"), [
    (over("lock"), "no-override"), (over("supply"), "no-override"), (over("tests", "2020-01-01T00:00:00Z"),
    "no-override"), (over("tests", reason=" "), "no-override"), (over("nonsense"), "no-gate")])
def test_an_override_that_cannot_be(tmp_path: Path, override: tuple[Override, ...], code: str) -> None:
    with pytest.raises(Failure) as caught:
        run_gates(context(tmp_path, overrides=override))
    assert caught.value.code == code


def test_phases_and_their_sum(tmp_path: Path) -> None:
    found = context(tmp_path)
    first, second = run_gates(found, ("files",)), run_gates(found, ("engines",))
    assert [one.id for one in first.gates] == ["lint", "lock", "supply", "params"]
    assert [one.id for one in second.gates] == ["parity", "tests"]
    assert (first + second).verdict == "pass"


def test_an_unknown_gate_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="no gate is called `speed`"):
        run_gates(context(tmp_path), only=["speed"])
