"""The document of `modelkit ci`: `modelkit.ci/1`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import ConfigDict, Field

from modelkit.planning.plan import Frozen
from modelkit.release.changes import Change
from modelkit.release.verdict import Verdict

StepName = Literal["check", "layout", "lock", "plan", "flags", "parity"]


class Step(Frozen):
    """One thing that was looked at: what came of it in one line, and what there is to say of it, one line each.

    `skipped` says why it was not looked at; it fails nothing.
    """

    name: StepName
    verdict: Verdict
    summary: str
    details: tuple[str, ...] = ()


class StageReport(Frozen):
    """One stage as the files have it now. `changes` are against the base's; None where there is none."""

    stage: str
    engine: str
    platform: str
    model: str
    ir: str
    is_new: bool = False
    changes: tuple[Change, ...] | None = None


class Side(Frozen):
    """The stages that `difference` is between."""

    left: str
    right: str


class FileReport(Frozen):
    """One Modelfile. `difference` is what changes for clients from the first to the second of `between`."""

    modelfile: str
    verdict: Verdict
    steps: tuple[Step, ...]
    stages: tuple[StageReport, ...] = ()
    between: Side | None = None
    difference: tuple[Change, ...] = ()


class Report(Frozen):
    """All Modelfiles. `base` is what the changes are against: a commit, by the word that was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["modelkit.ci/1"] = Field("modelkit.ci/1", alias="schema")
    verdict: Verdict
    base: str | None = None
    files: tuple[FileReport, ...]

    def as_json(self) -> dict[str, Any]:
        """The document."""
        return self.model_dump(mode="json", by_alias=True)


def file_verdict(steps: Iterable[Step]) -> Verdict:
    """One verdict: what was skipped fails nothing, but where everything was, nothing is shown."""
    return verdict_of(step.verdict for step in steps)


def verdict_of(verdicts: Iterable[Verdict]) -> Verdict:
    """`fail` before `error` before `pass`."""
    found = set(verdicts)
    for one in ("fail", "error", "inconclusive", "pass"):
        if one in found:
            return one
    return "skipped"
