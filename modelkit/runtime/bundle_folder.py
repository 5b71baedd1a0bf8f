"""A bundle as a folder: files, and `bundle.json` that says what they are. The folder is whole or not there.

The same manifests always give the same bytes. A folder is replaced at once, and only one that modelkit wrote and that
nobody has changed since.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelkit import __version__
from modelkit.failure import Failure
from modelkit.platforms.manifests import Manifests

INDEX = "bundle.json"
SCHEMA = "modelkit.folder/1"

_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h
_HERE = -100  # AT_FDCWD


def index(manifests: Manifests, lock: str = "") -> dict[str, Any]:
    """What `bundle.json` says. `lock` is the digest of what the lock has of the stage."""
    plan = manifests.plan
    return {
        "schema": SCHEMA, "modelkit": __version__, "model": plan.name, "stage": plan.stage, "platform": plan.platform,
        "engine": None if plan.engine is None else {
            "name": plan.engine.name, "version": plan.engine.version, "variant": plan.engine.variant},
        "image": plan.image, "images": dict(sorted(plan.images.items())),
        "source": None if plan.source is None else plan.source.model_dump(mode="json"),
        "lock": lock, "digest": manifests.digest, "notes": list(manifests.notes),
        "files": {file.path: {"sha256": _digest(file.content.encode()), "mode": f"{file.mode:04o}"}
                  for file in sorted(manifests.files, key=lambda f: f.path)},
    }


def read_index(folder: Path) -> dict[str, Any] | None:
    """What a bundle's folder says of itself; None for a folder that is none of ours, and where there is none."""
    try:
        said = json.loads((folder / INDEX).read_bytes())
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) and said.get("schema") == SCHEMA else None


def write(manifests: Manifests, folder: Path, lock: str = "", *, anyway: bool = False) -> dict[str, Any]:
    """Have the bundle in `folder`, at once, and return its index.

    Raises Failure for a folder with something else in it; with `anyway`, what is there does not count.
    """
    folder = folder.absolute()
    if folder == Path.cwd() or folder.parent == folder:
        raise Failure("bundle-folder", f"{folder} cannot be replaced as a whole", hint="name a folder of its own")
    said = index(manifests, lock)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent):
            if not anyway:
                presume_ours(folder)
            _replace(folder, _draft(manifests, said, folder))
    except OSError as error:
        raise Failure("bundle-unwritable", f"{error.filename or folder} can't be written: "
                      f"{(error.strerror or str(error)).lower()}", hint="name another folder") from None
    return said


def presume_ours(folder: Path) -> None:
    """Raise Failure unless a folder is empty, not there, or a bundle as modelkit wrote it."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Failure("bundle-folder", f"{folder} is no folder", hint="name another one")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if (said := read_index(folder)) is None:
        raise Failure("bundle-folder", f"{folder} is not empty, and modelkit did not write what is in it",
                      hint="name an empty folder, or a new one")
    wanted = {path: one["sha256"] for path, one in said["files"].items()}
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    changed = [path for path, file in sorted(there.items())
               if path != INDEX and (path not in wanted or _digest(file.read_bytes()) != wanted[path])]
    if changed:
        raise Failure("bundle-changed", f"{folder / changed[0]} is not as modelkit wrote it, and would be lost",
                      hint="move it away, or name another folder", detail=tuple(changed[1:]))


def _draft(manifests: Manifests, said: dict[str, Any], folder: Path) -> Path:
    """The new folder beside the old one."""
    draft = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    draft.mkdir()
    for file in manifests.files:
        path = draft / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content.encode())
        path.chmod(file.mode)
    (draft / INDEX).write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for made in (draft, *(path for path in draft.rglob("*") if path.is_dir()), draft / INDEX):
        made.chmod(0o755 if made.is_dir() else 0o644)
    return draft


def _replace(folder: Path, draft: Path) -> None:
    if not folder.is_dir():
        draft.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if _exchange(draft, folder):
        draft.rename(old)
    else:  # a moment without a folder, never with half of one
        folder.rename(old)
        draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(left: Path, right: Path) -> bool:
    """Let two folders change places at once, where the system can."""
    if not sys.platform.startswith("linux"):
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return call is not None and call(_HERE, os.fsencode(left), _HERE, os.fsencode(right), _EXCHANGE) == 0


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One writer at a time below a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
