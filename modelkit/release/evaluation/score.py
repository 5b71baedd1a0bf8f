"""Scores with their intervals, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelkit.release.intervals import Z95, wilson
from modelkit.release.verdict import Verdict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Question(_Part):
    """One question and what its answer is worth, from 0 to 1. None: it was not answered, which says nothing of the
    model; `error` says why."""

    id: str
    score: float | None
    error: str | None = None


class Score(_Part):
    """What a task's questions come to: the mean over those that were answered, `low` to `high` at 95 %."""

    name: str
    metric: str
    value: float
    low: float
    high: float
    questions: tuple[Question, ...]
    tool: str  # who scored: `modelkit 0.3`, `lm-eval 0.4.13`, `inspect 0.3.285`
    task: str | None = None  # digest of the task's own files, where they are one's own
    shots: int | None = None  # worked examples before each question

    @property
    def samples(self) -> dict[str, float]:
        """What answered questions got, by their ids."""
        return {one.id: one.score for one in self.questions if one.score is not None}

    @property
    def answered(self) -> int:
        return sum(one.score is not None for one in self.questions)

    @property
    def unscored(self) -> int:
        return len(self.questions) - self.answered

    @property
    def verdict(self) -> Verdict:
        """Does it show anything? Nothing when a question got no answer: which ones fail is not chance."""
        return "pass" if self.answered and not self.unscored else "error"

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json") | {"answered": self.answered, "unscored": self.unscored}


class Paired(_Part):
    """How much better the second of two scores is, over the questions that both answered, `low` to `high` at 95 %."""

    name: str
    difference: float
    low: float
    high: float
    count: int
    better: int
    worse: int

    @property
    def verdict(self) -> Literal["better", "worse", "same"]:
        return "better" if self.low > 0 else "worse" if self.high < 0 else "same"


def scored(name: str, metric: str, questions: Sequence[Question], *, tool: str, task: str | None = None,
           shots: int | None = None) -> Score:
    """The score of questions; 0 with the widest interval when none was answered."""
    values = [one.score for one in questions if one.score is not None]
    low, high = mean_interval(values)
    return Score(name=name, metric=metric, value=sum(values) / len(values) if values else 0.0, low=low, high=high,
                 questions=tuple(questions), tool=tool, task=task, shots=shots)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Of a mean at 95 %: Wilson's for right and wrong, the normal one for what may be partly right."""
    count = len(values)
    if not count:
        return 0.0, 1.0
    mean = sum(values) / count
    if all(value in (0, 1) for value in values):
        share = wilson(round(sum(values)), count)
        return share.low, share.high
    if count == 1:
        return 0.0, 1.0
    error = Z95 * math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1) / count)
    return max(min(0.0, *values), mean - error), min(max(1.0, *values), mean + error)


def paired(before: Score, after: Score) -> Paired | None:
    """The difference over questions that both answered, by their ids; None when there is none.

    For right and wrong the interval is that of A. Agresti and Y. Min ("Simple improved confidence intervals for
    comparing matched proportions", 2005): half a pair is added to each of the four outcomes, so that two models that
    agree on ten questions are not said to be equal for certain. Else it is the normal one of the differences.
    """
    was = before.samples
    pairs = [(was[name], value) for name, value in after.samples.items() if name in was]
    if not pairs:
        return None
    differences = [now - then for then, now in pairs]
    count, up, down = len(pairs), sum(one > 0 for one in differences), sum(one < 0 for one in differences)
    mean = sum(differences) / count
    if all(then in (0, 1) and now in (0, 1) for then, now in pairs):
        more = count + 2
        middle = (up - down) / more
        error = Z95 * math.sqrt(max(0.0, (up + down + 1) - (up - down) ** 2 / more)) / more
    else:
        variance = sum((one - mean) ** 2 for one in differences) / max(1, count - 1)
        middle, error = mean, Z95 * math.sqrt(variance / count) if count > 1 else 1.0
    return Paired(name=after.name, difference=mean, low=max(-1.0, middle - error), high=min(1.0, middle + error),
                  count=count, better=up, worse=down)


def not_worse(before: Score, after: Score, margin: float = 0.05) -> Verdict:
    """Is `after` not worse than `before` by more than `margin`? `pass` when the whole interval of the difference says
    so, `fail` when none of it does, else inconclusive: more questions would tell. `error` when a question was not
    answered."""
    if "error" in (before.verdict, after.verdict):
        return "error"
    found = paired(before, after)
    if found is None:
        return "inconclusive"
    return "pass" if found.low >= -margin else "fail" if found.high < -margin else "inconclusive"
