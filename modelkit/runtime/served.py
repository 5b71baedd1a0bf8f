"""What served last, written down where a kill and a reboot leave it: a later command can have it serve again."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.runtime.project import Project
from modelkit.runtime.state import replace_file

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle

SCHEMA = "modelkit.served/1"


def path_of(project: Project) -> Path:
    return project.logs / "served.json"


def write(project: Project, served: Mapping[str, Bundle]) -> None:
    """Remember what serves, by Modelfile. No key, and of the environment nothing but what the Modelfile says.

    Raises OSError and leaves what was written before.
    """
    document = {"schema": SCHEMA, "served": {modelfile: bundle.as_json() for modelfile, bundle in served.items()}}
    replace_file(path_of(project), json.dumps(document).encode() + b"\n")


def read(project: Project) -> dict[str, Bundle]:
    """What served last, by Modelfile. Nothing where none is known, or another version of modelkit wrote it."""
    from modelkit.platforms.bundle import Bundle

    try:
        document = json.loads(path_of(project).read_bytes())
        if document["schema"] != SCHEMA:
            return {}
        return {str(modelfile): Bundle.from_json(bundle) for modelfile, bundle in document["served"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def forget(project: Project) -> None:
    """It was meant to end."""
    with contextlib.suppress(OSError):
        path_of(project).unlink()
