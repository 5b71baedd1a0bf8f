"""What was brought to platforms of other programs: a folder for each stage, with its bundle and what became of it.

    deployed/<project>/<stage>/bundle/           the files, where the platform's client found them
    deployed/<project>/<stage>/deployment.json   whose they are, the client's commands, what was applied last
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelkit.places import place, private_directory
from modelkit.platforms.manifests import Client, Manifests
from modelkit.runtime import bundle_folder
from modelkit.runtime.project import project_id

_RECORD = "deployment.json"


@dataclass(frozen=True)
class Deployment:
    """One stage on its platform. `begun` says whether its client was ever told to apply something, `applied` is the
    index of what it applied in full, None before that."""

    folder: Path
    modelfile: str
    model: str
    stage: str
    platform: str
    engine: str
    client: Client
    begun: bool = False
    applied: dict[str, Any] | None = None

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"


@dataclass(frozen=True)
class Changes:
    """What of the files is new, other than before, or gone since they were applied last."""

    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.created or self.changed or self.removed)


def all_of(modelfile: Path | None = None, stage: str | None = None) -> Iterator[Deployment]:
    """Every deployment of this user, or those of one Modelfile, or of one of its stages."""
    root = place("state") / "deployed"
    projects = root.glob("*") if modelfile is None else [root / project_id(modelfile)]
    for project in sorted(projects):
        for record in sorted(project.glob(f"*/{_RECORD}")):
            if (found := _read(record)) is not None and stage in (None, found.stage):
                yield found


def planned(modelfile: Path, manifests: Manifests) -> Deployment:
    """The deployment that manifests would be. Writes nothing."""
    plan = manifests.plan
    assert manifests.client is not None, "a platform without a client has no deployments"
    before = next(all_of(modelfile, plan.stage), None)
    folder = place("state") / "deployed" / project_id(modelfile) / plan.stage
    return Deployment(folder, str(modelfile.resolve()), plan.name, plan.stage, plan.platform, plan.engine_name,
                      manifests.client, before is not None and before.begun, before.applied if before else None)


def changes(deployment: Deployment, manifests: Manifests) -> Changes:
    """In what files manifests differ from what was applied last."""
    before = {} if deployment.applied is None else deployment.applied["files"]
    now = bundle_folder.index(manifests)["files"]
    return Changes(tuple(sorted(now.keys() - before.keys())),
                   tuple(sorted(path for path in now.keys() & before.keys() if now[path] != before[path])),
                   tuple(sorted(before.keys() - now.keys())))


def put(deployment: Deployment, manifests: Manifests, lock: str = "") -> dict[str, Any]:
    """Write the bundle to where the client finds it, and the record; returns the bundle's index."""
    private_directory(deployment.folder)
    said = bundle_folder.write(manifests, deployment.bundle, lock, anyway=True)
    record(deployment)
    return said


def record(deployment: Deployment) -> None:
    """Have it on the disk."""
    said = dataclasses.asdict(deployment)
    del said["folder"]
    path = deployment.folder / _RECORD
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(said, indent=1), "utf-8")
    draft.replace(path)


def forget(deployment: Deployment) -> None:
    """It is no more."""
    (deployment.folder / _RECORD).unlink(missing_ok=True)  # first: without it there is no deployment
    shutil.rmtree(deployment.folder, ignore_errors=True)
    with suppress(OSError):
        deployment.folder.parent.rmdir()


def _read(path: Path) -> Deployment | None:
    from pydantic import TypeAdapter

    try:
        said = json.loads(path.read_bytes())
        return TypeAdapter(Deployment).validate_python({**said, "folder": path.parent})
    except (OSError, ValueError, TypeError):
        return None  # of another release: `up` writes it anew
