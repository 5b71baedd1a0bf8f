"""The documents that commands print with `--json`, as types; their JSON Schemas are published from here.

A release may add fields, and takes none away while the number in `schema` stays.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter, with_config
from typing_extensions import TypedDict

from modelkit.cli.record_documents import AskedGates, Gates, History, Kept, Said, Served, Verified
from modelkit.planning.difference import Kind
from modelkit.planning.plan import Plan, Verdict
from modelkit.release.changes import Change, Changes
from modelkit.release.ci import Report
from modelkit.release.gates.evidence import Finding
from modelkit.release.record import Gate, Record

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
    "gate": Gates | AskedGates, "check": Check, "fmt": Fmt,
    "record": Record, "evidence": Finding, "history": History | Served | Kept | Verified,
    "approve": Said, "reject": Said, "hold": Said, "release": Said,
}
"""By the command that prints it with `--json`, or by what it is: files beside a Modelfile are documents, too."""


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a document."""
    said = TypeAdapter(DOCUMENTS[name]).json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{ROOT}/{name}.json", **said}
