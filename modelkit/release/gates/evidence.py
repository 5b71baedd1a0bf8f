"""What gates found, kept by its digest beside the records, so that it need not be measured twice.

`promotions/evidence/<sha256>.json`: the gate, the subject and what was asked, the verdict, and the result in full.
Evidence counts for the same subject and the same question only, and until it is too old.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelkit.failure import Failure
from modelkit.release.history import moment
from modelkit.release.record import Evidence, Gate, Records, write_once

_LARGEST = 64 * 1024 * 1024  # bytes that are read of one file


class Finding(BaseModel):
    """One gate's result with what it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["modelkit.evidence/1"] = Field("modelkit.evidence/1", alias="schema")
    subject: str  # the `ir` that was measured
    asked: str  # the digest of the question: the gate, its threshold, the cases
    gate: Gate  # without `evidence`, which would be this file
    result: Any = None

    def encode(self) -> bytes:
        value = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Shelf:
    """The evidence of a Modelfile's promotions."""

    root: Path  # the folder `promotions`

    @property
    def folder(self) -> Path:
        return self.root / "evidence"

    def keep(self, finding: Finding) -> Evidence:
        """Write a finding, unless it is there. Raises Failure when it cannot be written."""
        data = finding.encode()
        digest = hashlib.sha256(data).hexdigest()
        path = self.folder / f"{digest}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not path.is_file():
                write_once(path, data)
        except OSError as error:
            raise Failure("evidence-not-written", f"{path} could not be written: {error.strerror}",
                          hint="make the folder writable: a promotion without evidence is none") from None
        return Evidence(path=f"evidence/{digest}.json", sha256=digest)

    def fault(self, evidence: Evidence) -> str | None:
        """Why evidence is not what a record names; None when it is."""
        name = Path(evidence.path).name
        if evidence.path != f"evidence/{name}" or name != f"{evidence.sha256}.json":
            return f"evidence {evidence.path} is not called by its digest"
        try:
            data = (self.folder / name).read_bytes()
        except OSError:
            return f"evidence {evidence.path} is missing"
        return None if hashlib.sha256(data).hexdigest() == evidence.sha256 else f"evidence {evidence.path} was changed"

    def latest(self, subject: str, asked: str, *, max_age: float, now: datetime | None = None) -> Gate | None:
        """The newest decided result (pass or fail) for a subject and question that is not too old."""
        best: Gate | None = None
        for path in self.folder.glob("*.json") if self.folder.is_dir() else ():
            finding = _read(path)
            if finding is None or (finding.subject, finding.asked) != (subject, asked):
                continue
            gate = finding.gate
            age = ((now or datetime.now(UTC)) - moment(gate.ended)).total_seconds()
            if gate.verdict in ("pass", "fail") and -60 <= age <= max_age and (best is None or gate.ended > best.ended):
                best = gate.model_copy(update={"evidence": Evidence(path=f"evidence/{path.name}", sha256=path.stem)})
        return best


def _read(path: Path) -> Finding | None:
    """A finding, if the file is one and its name is its digest."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        data = path.read_bytes()
        finding = Finding.model_validate_json(data)
        moment(finding.gate.ended)
    except (OSError, ValidationError, ValueError):
        return None
    return finding if hashlib.sha256(data).hexdigest() == path.stem else None


def of(records: Records) -> Shelf:
    """The evidence beside a stage's records."""
    return Shelf(records.root)
