"""What a supervisor writes down, for the command that comes after it was killed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelkit.runtime.identity import Identity

SCHEMA = "modelkit.run/2"


@dataclass(frozen=True)
class ProcessState:
    """One process of a generation, as last seen: an engine, or (`replica` 0) what stands before several."""

    replica: int
    phase: str
    since: float
    pid: int | None = None
    start: int | None = None
    restarts: int = 0
    socket: str = ""

    @property
    def identity(self) -> Identity | None:
        return None if self.pid is None or self.start is None else Identity(self.pid, self.start)


@dataclass(frozen=True)
class GenerationState:
    """One stage as it runs: its engines, as last seen."""

    id: int
    stage: str
    engine: str
    digest: str
    phase: str
    since: float
    socket: str = ""
    processes: tuple[ProcessState, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GenerationState:
        return cls(**{**value, "processes": tuple(ProcessState(**p) for p in value["processes"])})


@dataclass(frozen=True)
class RunState:
    """One supervisor and what it runs. Holds no key and no prompt."""

    run_id: str
    modelfiles: tuple[str, ...]
    pid: int
    start: int
    boot_id: str
    since: float
    endpoint: str
    generations: tuple[GenerationState, ...] = field(default=())
    routed: tuple[int, ...] = ()

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start)

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunState:
        """The state of `as_json`. Raises ValueError, KeyError or TypeError on anything else."""
        fields = dict(value)
        if fields.pop("schema", None) != SCHEMA:
            raise ValueError(f"not a {SCHEMA} document")
        fields["modelfiles"], fields["routed"] = tuple(fields["modelfiles"]), tuple(fields["routed"])
        fields["generations"] = tuple(GenerationState.from_json(g) for g in fields["generations"])
        return cls(**fields)


def write(path: Path, state: RunState) -> None:
    """Replace the file as a whole. Raises OSError and leaves the old file when it cannot be written."""
    replace_file(path, json.dumps(state.as_json(), indent=1).encode() + b"\n")


def replace_file(path: Path, data: bytes) -> None:
    """Write a private file: a reader, or a machine that loses power, sees the old one or the new one.

    Raises OSError and leaves the old file when it cannot be written.
    """
    draft = path.with_suffix(".tmp")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: Path) -> RunState | None:
    """The state that was written, None when there is none or it makes no sense."""
    try:
        return RunState.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
