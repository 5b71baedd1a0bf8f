"""A model's folder as a container can mount it: alone. Links that lead out of a folder lead nowhere in a container."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from modelkit.failure import Failure
from modelkit.models.links import link
from modelkit.models.store import Progress, quiet
from modelkit.places import place


def mountable(path: Path, digest: str, on_progress: Progress = quiet) -> Path:
    """The folder itself, or one with the same files and no link out of it: hard links where that is possible.

    `digest` names the content. A hub's cache, for one, shows its files as links to blobs elsewhere.
    """
    path = path.absolute()
    if not path.is_dir() or not any(_leads_out(file, path) for file in path.rglob("*") if file.is_symlink()):
        return path
    target = place("data") / "mounts" / digest.replace(":", "-")
    if target.is_dir():
        return target
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        for file in sorted(path.rglob("*")):
            there = draft / file.relative_to(path)
            if file.is_dir():
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            on_progress(0, None, "linking files for the container")
            link(file, there)
        draft.rename(target)
    except FileExistsError:
        pass  # another run was faster
    except OSError as error:
        if not target.is_dir():
            raise Failure("model-unreadable", f"{error.filename or path} can't be linked: "
                          f"{(error.strerror or str(error)).lower()}", hint="free some disk space") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _leads_out(file: Path, folder: Path) -> bool:
    return not file.resolve().is_relative_to(folder.resolve())
