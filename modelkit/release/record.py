"""Promotion records: one immutable JSON file an event, chained by digest, and a HEAD that names the last.

`promotions/<model>/<to-stage>/<UTC>-<id8>.json` beside the Modelfile, to be committed with it. A record's id is the
sha256 of its bytes; `prev` is the id of the record before it. Two people promoting at once conflict on HEAD, on
purpose: that is a decision for people.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modelkit.failure import Failure
from modelkit.release.verdict import Verdict


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
    gate: str
    reason: str
    actor: str
    expires: str


class Actor(_Part):
    """Who did it: a claim, unless the record is signed."""

    name: str
    email: str | None = None
    source: Literal["git", "oidc", "env"]
    ci_run: str | None = None


class Git(_Part):
    commit: str | None
    dirty: bool


class Record(_Part):
    """One event in a stage's life."""

    schema_: Literal["modelkit.promotion/1"] = Field("modelkit.promotion/1", alias="schema")
    kind: Literal["promote", "rollback", "approve", "reject", "hold", "release"]
    model: str
    from_: str = Field(alias="from")
    to: str
    subject: Subject
    gates: tuple[Gate, ...]
    overrides: tuple[Override, ...] = ()
    actor: Actor
    git: Git | None
    prev: str | None
    at: str
    tool: str

    def encode(self) -> bytes:
        """The record's one spelling: sorted keys, two spaces, LF."""
        value = self.model_dump(mode="json", by_alias=True)
        return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class Written:
    path: Path
    id: str


class Records:
    """The records of one model and stage, beside its Modelfile."""

    def __init__(self, modelfile: Path, model: str, stage: str) -> None:
        self.folder = modelfile.resolve().parent / "promotions" / _file_name(model) / _file_name(stage)

    def head(self) -> str | None:
        """The id of the last record; None before the first. Raises Failure when HEAD does not name a record."""
        try:
            words = (self.folder / "HEAD").read_text("utf-8").split()
        except FileNotFoundError:
            return None
        if len(words) != 2 or not words[0].startswith("sha256:"):
            raise Failure("record-head", f"{self.folder / 'HEAD'} does not name one record",
                          hint="resolve the merge conflict in it: keep the record that is live")
        return words[0]

    def append(self, record: Record) -> Written:
        """Write the record, then move HEAD to it. Nothing is half there: each file appears by one rename."""
        data = record.encode()
        identity = hashlib.sha256(data).hexdigest()
        stamp = record.at.replace("-", "").replace(":", "")
        path = self.folder / f"{stamp}-{identity[:8]}.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write_once(path, data)
            _write_once(self.folder / "HEAD", f"sha256:{identity} {record.subject.ir}\n".encode())
        except OSError as error:
            raise Failure("record-not-written", f"the promotion record could not be written: {error.strerror}",
                          hint=f"make {self.folder} writable; the promotion itself stands") from None
        return Written(path, f"sha256:{identity}")


def now() -> str:
    """UTC, to the second, as records spell it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def runner(tool: str) -> dict[str, str]:
    """What ran a gate, without naming the machine."""
    node = hashlib.sha256(platform.node().encode()).hexdigest()[:12]
    return {"modelkit": tool, "host_fp": node, "python": platform.python_version()}


def actor_and_git(folder: Path) -> tuple[Actor, Git | None]:
    """Who and from which commit, by git where there is one."""
    commit = _git(folder, "rev-parse", "HEAD")
    inside = _git(folder, "rev-parse", "--is-inside-work-tree") == "true"
    name, email = _git(folder, "config", "user.name"), _git(folder, "config", "user.email")
    ci_run = os.environ.get("CI_RUN_URL")
    dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    git = Git(commit=commit, dirty=dirty) if inside else None
    if name:
        return Actor(name=name, email=email, source="git", ci_run=ci_run), git
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        login = str(os.getuid())
    return Actor(name=login, source="env", ci_run=ci_run), git


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20,
                              check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _file_name(name: str) -> str:
    return name.replace("/", "--")


def _write_once(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
