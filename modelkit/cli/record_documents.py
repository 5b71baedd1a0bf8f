"""The documents of `gate`, `history` and the words about versions, as types."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from modelkit.release.record import Gate, Override, Record
from modelkit.release.verdict import Verdict

Gates = TypedDict("Gates", {
    "schema": Literal["modelkit.gates/1"], "model": str, "from": str, "to": str, "version": str, "verdict": Verdict,
    "gates": list[Gate], "overrides": list[Override]})


class AskedGate(TypedDict):
    """A gate before it is judged; `phase` says whether it asks engines."""

    id: str
    kind: str
    required: bool
    threshold: str | None
    phase: Literal["files", "engines"] | None


class AskedGates(TypedDict):
    """`gate --list`."""

    schema: Literal["modelkit.asked-gates/1"]
    stage: str
    gates: list[AskedGate]


class Kept(TypedDict):
    """A record as it lies in its file."""

    id: str
    path: str
    record: Record


class Story(TypedDict):
    """A stage's records, the oldest first, and what counts now, by the records' ids."""

    model: str
    stage: str
    head: str | None
    live: str | None
    held: str | None
    kept_out: dict[str, str]
    overrides: list[Override]
    records: list[Kept]


class History(TypedDict):
    """`history`."""

    schema: Literal["modelkit.history/1"]
    stages: list[Story]


class Served(TypedDict):
    """`history at`: what served in each stage; null: nothing was promoted by then."""

    schema: Literal["modelkit.served/1"]
    at: str
    stages: dict[str, Kept | None]


class Problem(TypedDict):
    """Something that is not as it was written."""

    kind: str
    path: str
    message: str


class VerifiedStage(TypedDict):
    """`signed` has the signer by the record's id."""

    records: int
    evidence: int
    signed: dict[str, str]
    problems: list[Problem]


class Verified(TypedDict):
    """`history verify`."""

    schema: Literal["modelkit.verified/1"]
    verified: bool
    stages: dict[str, VerifiedStage]


class WrittenRecord(TypedDict):
    id: str
    path: str


class Said(TypedDict):
    """`approve`, `reject`, `hold`, `release`."""

    schema: Literal["modelkit.said/1"]
    kind: Literal["approve", "reject", "hold", "release"]
    stage: str
    about: str | None
    until: str | None
    record: WrittenRecord
    signature: str | None
