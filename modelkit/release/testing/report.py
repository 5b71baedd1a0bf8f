"""What a run of tests showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modelkit.release.testing.case import Case, Check
from modelkit.release.testing.checks import Outcome
from modelkit.release.verdict import Verdict, fold

SCHEMA = "modelkit.tests/1"
_LONGEST = 4000  # characters of a text in a report


@dataclass(frozen=True)
class Checked:
    """One check of one answer; `answer` is its text, empty where there was none."""

    check: Check
    outcome: Outcome
    answer: str = ""


@dataclass(frozen=True)
class Attempt:
    """One repetition of a case. `error`: it was not answered, which says nothing about the model."""

    number: int
    checked: tuple[Checked, ...] = ()
    error: str | None = None
    answers: tuple[str, ...] = ()
    seconds: float = 0.0
    tokens: int = 0
    retries: int = 0

    @property
    def verdict(self) -> Verdict:
        if self.error is not None:
            return "error"
        found = [one.outcome.verdict for one in self.checked if one.check.severity == "block"]
        for verdict in ("fail", "error", "skipped"):
            if verdict in found:
                return verdict
        return "pass"

    @property
    def why(self) -> str:
        """The first thing that keeps it from passing, in a sentence; empty when it passed."""
        if self.error is not None:
            return self.error
        return next((one.outcome.why for one in self.checked
                     if one.check.severity == "block" and one.outcome.verdict == self.verdict), "")

    @property
    def warnings(self) -> tuple[Checked, ...]:
        return tuple(one for one in self.checked
                     if one.check.severity == "warn" and one.outcome.verdict not in ("pass", "skipped"))


@dataclass(frozen=True)
class CaseResult:
    """One case: it passes when so many of its repetitions do as it must."""

    case: Case
    attempts: tuple[Attempt, ...]
    needed: int

    @property
    def passes(self) -> int:
        return sum(attempt.verdict == "pass" for attempt in self.attempts)

    @property
    def verdict(self) -> Verdict:
        """`fail` only if the model's answers decide it: what was not answered or not checked may have passed."""
        failed = sum(attempt.verdict == "fail" for attempt in self.attempts)
        if self.passes >= self.needed:
            return "pass"
        if len(self.attempts) - failed < self.needed:
            return "fail"
        return "error" if any(attempt.verdict == "error" for attempt in self.attempts) else "skipped"

    @property
    def flaky(self) -> bool:
        """Some repetitions passed and some failed, whatever the verdict."""
        return self.passes > 0 and any(attempt.verdict == "fail" for attempt in self.attempts)

    @property
    def first_bad(self) -> Attempt | None:
        order = ("fail", "error", "skipped")
        bad = [attempt for attempt in self.attempts if attempt.verdict in order]
        return min(bad, key=lambda attempt: order.index(attempt.verdict)) if bad else None

    def as_json(self) -> dict[str, Any]:
        return {"name": self.case.name, "place": asdict(self.case.place), "verdict": self.verdict,
                "passes": self.passes, "repeats": len(self.attempts), "needed": self.needed, "flaky": self.flaky,
                "attempts": [_attempt(one) for one in self.attempts]}


@dataclass(frozen=True)
class TestReport:
    """A whole run. `conditions` say how the model was asked: what of the result would be the same on another day."""

    __test__ = False  # pytest must not collect it

    cases: tuple[CaseResult, ...]
    conditions: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        return fold(case.verdict for case in self.cases)

    @property
    def passed(self) -> int:
        return self.count("pass")

    @property
    def total(self) -> int:
        return len(self.cases)

    @property
    def flaky(self) -> tuple[str, ...]:
        return tuple(case.case.name for case in self.cases if case.flaky)

    @property
    def tokens(self) -> int:
        """Of all answers, as the engine counted them."""
        return sum(attempt.tokens for case in self.cases for attempt in case.attempts)

    def count(self, verdict: Verdict) -> int:
        return sum(case.verdict == verdict for case in self.cases)

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "verdict": self.verdict, "passed": self.passed, "total": self.total,
                "failed": self.count("fail"), "errors": self.count("error"), "skipped": self.count("skipped"),
                "flaky": list(self.flaky), "seconds": round(self.seconds, 3), "tokens": self.tokens,
                "conditions": dict(self.conditions), "cases": [case.as_json() for case in self.cases]}


def _attempt(one: Attempt) -> dict[str, Any]:
    return {"number": one.number, "verdict": one.verdict, "error": one.error, "seconds": round(one.seconds, 4),
            "tokens": one.tokens, "retries": one.retries, "answers": [text[:_LONGEST] for text in one.answers],
            "checks": [{"kind": c.check.kind, "text": c.check.text[:_LONGEST], "severity": c.check.severity,
                        "place": asdict(c.check.place), "verdict": c.outcome.verdict, "why": c.outcome.why}
                       for c in one.checked]}
