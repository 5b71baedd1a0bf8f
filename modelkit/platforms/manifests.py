"""What gets written for platforms that other programs read: files, and the commands of those programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from modelkit.engines.launch import File
from modelkit.planning.plan import Plan, digest

DIRECTORY = "@DIRECTORY@"
"""Stands in commands for the folder that the files were written to."""

Command = tuple[str, ...]


@dataclass(frozen=True)
class Client:
    """The commands of a platform's own client. `programs` must all be on the PATH for them to work.

    A verb without a command (an empty tuple) is one that the platform does not have. `diff` says what `up` would
    change, `ready` waits until everything answers, `effective` has an engine print what it has (`platforms.asking`).
    `follow` and `tail` are the flags of the last of `logs` that go on printing and that take a number of lines;
    `install` says where the programs come from. `variables` are secrets that the commands read from their environment:
    its name there, and the Modelfile's reference to it.
    """

    programs: tuple[str, ...]
    up: tuple[Command, ...]
    down: tuple[Command, ...]
    status: tuple[Command, ...]
    logs: tuple[Command, ...]
    diff: tuple[Command, ...] = ()
    ready: tuple[Command, ...] = ()
    effective: tuple[Command, ...] = ()
    follow: str = "--follow"
    tail: str = "--tail"
    install: str = ""
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifests:
    """The bundle of a stage on such a platform. No timestamps, no key: same plan, same bytes.

    `notes` are sentences for the person who applies it (which secret to create first).
    """

    plan: Plan
    files: tuple[File, ...]
    client: Client | None = None
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest({"files": {file.path: file.content for file in self.files}})

    def as_json(self) -> dict[str, Any]:
        return {"schema": "modelkit.manifests/1", "stage": self.plan.stage, "platform": self.plan.platform,
                "digest": self.digest, "files": [file.path for file in self.files], "notes": list(self.notes)}
