"""What gets written for platforms that other programs read: files, and the commands of those programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelkit.engines.launch import File
from modelkit.planning.plan import Plan, digest

DIRECTORY = "@DIRECTORY@"
"""Stands in commands for the folder that the files were written to."""

Command = tuple[str, ...]


@dataclass(frozen=True)
class Client:
    """The commands of a platform's own client. `programs` must all be on the PATH for them to work.

    A verb without a command (an empty tuple) is one that the platform does not have.
    """

    programs: tuple[str, ...]
    up: tuple[Command, ...]
    down: tuple[Command, ...]
    status: tuple[Command, ...]
    logs: tuple[Command, ...]


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
