"""Promotion records: one immutable JSON file an event, chained by digest, and a HEAD that names the last.

`promotions/<model>/<to-stage>/<UTC>-<id8>.json` beside the Modelfile, to be committed with it. A record's id is the
sha256 of its bytes; `prev` is the id of the record before it. Two people promoting at once conflict on HEAD, on
purpose: that is a decision for people.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelkit.failure import Failure
from modelkit.release.identity import Actor, Git, actor_and_git
from modelkit.release.verdict import Verdict

__all__ = ["Actor", "Artifact", "EngineSubject", "Evidence", "Gate", "Git", "Kind", "Override", "Record", "Records",
           "Subject", "Written", "actor_and_git", "now", "runner", "write_once"]

_ID = re.compile(r"sha256:[0-9a-f]{64}")

Kind = Literal["promote", "refuse", "rollback", "approve", "reject", "hold", "release"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Artifact(_Part):
    """Something the promoted stage runs, by digest."""

    id: str
    uri: str
    revision: str | None = None
    tree: str
    bytes: int


class EngineSubject(_Part):
    name: str
    version: str
    image: str | None = None
    argv: str  # digest of the launch, its run directory left open


class Subject(_Part):
    """What was promoted. Evidence counts only for the subject that it was made with."""

    modelfile: str
    ir: str
    lock: str | None = None
    artifacts: tuple[Artifact, ...]
    template: str | None = None
    engine: EngineSubject


class Evidence(_Part):
    path: str
    sha256: str


class Gate(_Part):
    """One check and its verdict. Numbers are decimal strings, so that a record has one spelling."""

    id: str
    kind: str
    required: bool = True
    verdict: Verdict
    observed: dict[str, Any] = Field(default_factory=dict)
    threshold: str | None = None
    evidence: Evidence | None = None
    runner: dict[str, str] = Field(default_factory=dict)
    started: str
    ended: str


class Override(_Part):
    """Somebody takes a gate's failure on themselves, until `expires` (UTC, as records spell it)."""

    gate: str
    reason: str
    actor: str
    expires: str


class Record(_Part):
    """One event in a stage's life."""

    schema_: Literal["modelkit.promotion/1"] = Field("modelkit.promotion/1", alias="schema")
    kind: Kind
    model: str
    from_: str = Field(alias="from")
    to: str
    subject: Subject | None  # what serves, or shall serve, after the event; None: a hold before the first promotion
    gates: tuple[Gate, ...]
    overrides: tuple[Override, ...] = ()
    reason: str | None = None
    about: str | None = None  # the `ir` that a reject, hold, release or rollback lets in or keeps out; None: any
    until: str | None = None  # when a hold ends by itself
    actor: Actor
    git: Git | None
    prev: str | None
    at: str
    tool: str

    def encode(self) -> bytes:
        """The record's one spelling: sorted keys, two spaces, LF; what an event has not is left out of the newer
        fields, so that older records keep their bytes."""
        value = self.model_dump(mode="json", by_alias=True)
        for name in ("reason", "about", "until"):
            if value[name] is None:
                del value[name]
        return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Written:
    path: Path
    id: str


def identity_of(data: bytes) -> str:
    """A record's id: the digest of its bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Records:
    """The records of one model and stage, beside its Modelfile."""

    def __init__(self, modelfile: Path, model: str, stage: str) -> None:
        self.model, self.stage = model, stage
        self.root = modelfile.resolve().parent / "promotions"
        self.folder = self.root / file_name(model) / file_name(stage)

    def head(self) -> str | None:
        """The id of the last record; None before the first. Raises Failure when HEAD does not name a record."""
        try:
            words = (self.folder / "HEAD").read_text("utf-8", "replace").split()
        except FileNotFoundError:
            return None
        if len(words) != 2 or not _ID.fullmatch(words[0]):
            raise Failure("record-head", f"{self.folder / 'HEAD'} does not name one record",
                          hint="resolve the merge conflict in it: keep the record that is live")
        return words[0]

    def files(self) -> list[Path]:
        """The files that are named as records, in the order of their times."""
        return sorted(self.folder.glob("*Z-*.json")) if self.folder.is_dir() else []

    def append(self, record: Record) -> Written:
        """Write the record, then move HEAD to it. Nothing is half there: each file appears by one rename.

        Raises Failure `record-conflict` (exit 1) when another record came after the one that this one follows.
        """
        data = record.encode()
        identity = identity_of(data)
        stamp = record.at.replace("-", "").replace(":", "")
        path = self.folder / f"{stamp}-{identity[7:15]}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._presume_last(record.prev)
                write_once(path, data)
                self._point(identity, record)
        except OSError as error:
            raise Failure("record-not-written", f"the promotion record could not be written: {error.strerror}",
                          hint=f"make {self.folder} writable; what it tells of stands") from None
        return Written(path, identity)

    def settle(self) -> str | None:
        """Finish what a killed command began: a record that follows HEAD, written whole, becomes HEAD. Its id."""
        if not self.folder.is_dir():
            return None
        head, found = self.head(), None
        for path in self.files():
            data = path.read_bytes()
            identity = identity_of(data)
            if not path.stem.endswith(identity[7:15]):
                continue
            try:
                record = Record.model_validate_json(data)
            except ValidationError:
                continue
            if record.prev == head and identity != head:
                if found is not None:
                    return None  # a fork is for people
                found = (identity, record)
        if found is not None:
            with self._alone():
                if self.head() == head:
                    self._point(*found)
            return found[0]
        return None

    def _point(self, identity: str, record: Record) -> None:
        write_once(self.folder / "HEAD", f"{identity} {record.subject.ir if record.subject else '-'}\n".encode())

    def _presume_last(self, prev: str | None) -> None:
        if (last := self.head()) != prev:
            raise Failure("record-conflict", f"stage `{self.stage}` was changed meanwhile: its last record is "
                          f"{last}", hint="look at `modelkit history`, and begin again", exit_code=1)
        if last is not None and not any(path.stem.endswith(last[7:15]) for path in self.files()):
            raise Failure("record-missing", f"the last record of stage `{self.stage}`, {last}, is not here",
                          hint="bring it back from git; `modelkit history verify` says what else is wrong", exit_code=1)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time on this machine; between machines, HEAD conflicts in git."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def now() -> str:
    """UTC, to the second, as records spell it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def runner(tool: str) -> dict[str, str]:
    """What ran a gate, without naming the machine."""
    return {"modelkit": tool, "host_fp": host_fingerprint(), "python": platform.python_version()}


def host_fingerprint() -> str:
    """Tells one machine from another, without naming it."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:12]


def file_name(name: str) -> str:
    return name.replace("/", "--")


def write_once(path: Path, data: bytes) -> None:
    """A file that is there whole, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
