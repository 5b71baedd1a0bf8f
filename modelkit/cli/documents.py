"""The documents that commands print with `--json`, as types; their JSON Schemas are published from here.

A release may add fields, and takes none away while the number in `schema` stays.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from modelkit.cli.fit.documents import Fit
from modelkit.cli.measured_documents import Bench, Deployed, Eval, LockChecked, Locked, Run, Tasks
from modelkit.cli.record_documents import AskedGates, Gates, History, Kept, Said, Served, Verified
from modelkit.planning.difference import Kind
from modelkit.planning.plan import Plan, Verdict
from modelkit.release.changes import Change, Changes
from modelkit.release.ci import Report
from modelkit.release.gates.evidence import Finding
from modelkit.release.record import Gate, Record
from modelkit.release.verdict import Verdict as Judged

ROOT = "https://modelkit.dev/schemas"
"""Names, not addresses: nothing is fetched from there."""


class ErrorBody(TypedDict):
    """`code` is stable; `hint` says what to do next, `detail` lines verbatim."""

    code: str
    message: str
    hint: NotRequired[str]
    detail: NotRequired[list[str]]


class Error(TypedDict):
    """What any command prints that fails."""

    error: ErrorBody


class LockState(TypedDict):
    current: bool
    reason: str | None


@with_config({"extra": "allow"})
class PlanDocument(TypedDict):
    """`plan`: the plan itself (`modelkit.plan/1`), and what `up` would change."""

    name: str
    stage: str
    lock: LockState
    provider: str | None
    changes: Changes


class Difference(TypedDict):
    setting: str
    left: Any
    right: Any
    kind: Kind
    why: str
    left_verdict: Verdict | None
    right_verdict: Verdict | None


class Diff(TypedDict):
    """`diff`."""

    schema: Literal["modelkit.diff/1"]
    left: str
    right: str
    counts: dict[Kind, int]
    differences: list[Difference]


class Up(TypedDict):
    """`up` on this machine."""

    outcome: Literal["started", "switched", "joined", "unchanged", "starting", "scaled"]
    stage: str
    model: str
    base_url: str
    engine: str
    digest: str


class Applied(TypedDict):
    """`up` on a platform of another program."""

    outcome: Literal["up", "applied"]
    stage: str
    model: str
    platform: str
    engine: str
    base_url: str | None
    digest: str
    changed: bool
    bundle: str


class Down(TypedDict):
    """`down`."""

    stopped: list[str]
    swept: list[Any]


class DriftDocument(TypedDict):
    kind: Literal["engine", "modelfile", "lock"]
    what: str
    planned: Any
    found: Any
    text: str


class EngineStatus(TypedDict):
    model: str
    stage: str
    engine: str
    serving: bool
    effective: dict[str, Any]
    drift: list[DriftDocument]
    changes: list[Change]


class Status(TypedDict):
    """`status`."""

    schema: Literal["modelkit.status/1"]
    modelfile: str
    drift: bool
    engines: list[EngineStatus]


class RecordPlace(TypedDict):
    id: str
    path: str


class Rendered(TypedDict):
    """`promote --render`."""

    schema: Literal["modelkit.rendered/1"]
    stage: str
    model: str
    platform: str
    path: str
    files: list[str]
    notes: list[str]
    record: RecordPlace
    gates: list[Gate]


class Promoted(TypedDict):
    """`promote`."""

    schema: Literal["modelkit.promoted/1"]
    outcome: Literal["promoted", "unchanged"]
    stage: str
    model: str
    engine: str
    base_url: str
    record: RecordPlace
    gates: list[Gate]


RolledBack = TypedDict("RolledBack", {  # `from` can be no name of a class's field
    "schema": Literal["modelkit.rollback/1"], "outcome": Literal["planned", "rolled back"], "stage": str, "model": str,
    "engine": str, "from": str, "to": str, "kept_out": str | None, "reason": str, "base_url": NotRequired[str],
    "warm": NotRequired[bool], "seconds": NotRequired[float], "record": NotRequired[RecordPlace]})
"""`rollback`: `from` and `to` are ids of records. With `--dry-run` it was only planned."""


class TestedCheck(TypedDict):
    kind: str
    text: str
    severity: str
    place: dict[str, Any]
    verdict: Judged
    why: str | None


class TestedAttempt(TypedDict):
    """One repetition: its answers, a text for each turn of the model's."""

    number: int
    verdict: Judged
    error: str | None
    seconds: float
    tokens: int
    retries: int
    answers: list[str]
    checks: list[TestedCheck]


class TestedCase(TypedDict):
    name: str
    place: dict[str, Any]
    verdict: Judged
    passes: int
    repeats: int
    needed: int
    flaky: bool
    attempts: list[TestedAttempt]


class Tested(TypedDict):
    """`test`."""

    schema: Literal["modelkit.tests/1"]
    verdict: Judged
    passed: int
    total: int
    failed: int
    errors: int
    skipped: int
    flaky: list[str]
    seconds: float
    tokens: int
    conditions: dict[str, Any]
    cases: list[TestedCase]


class LikelyCause(TypedDict):
    kind: str
    title: str
    detail: str
    side: str | None
    fix: str
    conversations: list[str]


class Parity(TypedDict):
    """`parity`. `differences` name the first token that differs; `answers` is there where
    answers were compared, too."""

    schema: Literal["modelkit.parity/1"]
    left: str
    right: str
    equal: bool
    conversations: int
    tokens: int
    refused: list[str]
    causes: list[LikelyCause]
    differences: list[dict[str, Any]]
    asked: dict[str, Any]
    answers: dict[str, Any] | None
    verdict: Judged


class Place(TypedDict):
    line: int
    column: int
    offset: int


class Diagnosed(TypedDict):
    rule: str
    severity: Literal["error", "warning", "info"]
    message: str
    start: Place
    end: Place


class Check(TypedDict):
    """`check`."""

    schema: Literal["modelkit.check/1"]
    files: list[str]
    diagnostics: list[Diagnosed]
    ignored: list[Any]
    fixed: list[Any]


class Formatted(TypedDict):
    file: str
    status: Literal["changed", "unchanged", "errors"]


class Fmt(TypedDict):
    """`fmt`."""

    schema: Literal["modelkit.fmt/1"]
    files: list[Formatted]


DOCUMENTS: dict[str, Any] = {
    "error": Error, "changes": Changes, "plan": PlanDocument | list[PlanDocument], "modelkit.plan": Plan,
    "up": Up | Applied | Changes | list[Up] | list[Changes], "down": Down | list[Changes], "diff": Diff,
    "status": Status, "ci": Report, "promote": Promoted | Rendered | Changes,
    "gate": Gates | AskedGates, "check": Check, "fmt": Fmt, "fit": Fit | list[Fit],
    "record": Record, "evidence": Finding, "history": History | Served | Kept | Verified,
    "rollback": RolledBack, "test": Tested, "parity": Parity,
    "bench": Bench, "eval": Eval | Tasks, "lock": Locked | LockChecked, "ps": list[Run | Deployed],
    "approve": Said, "reject": Said, "hold": Said, "release": Said,
}
"""By the command that prints it with `--json`, or by what it is: files beside a Modelfile are documents, too."""


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a document."""
    said = TypeAdapter(DOCUMENTS[name]).json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{ROOT}/{name}.json", **said}
