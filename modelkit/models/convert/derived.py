"""Files made from other files, kept under the digest of their recipe: made once, made again only when that changes.

A recipe is plain data: `{"tool": …, "version": …, "input": sha256 of what it was made from, "arguments": {…}}`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelkit.models.digests import digest, file_digest
from modelkit.models.store import Progress, Store, quiet

_MANIFEST = "manifest.json"
_SCHEMA = "modelkit.folder/1"

Recipe = Mapping[str, Any]
Written = Mapping[str, Mapping[str, Any]]
"""File name to `{"sha256": hex, "size": bytes}`."""


@dataclass(frozen=True)
class Derived:
    """A folder in the store with what a recipe made, and its manifest."""

    path: Path
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        """Of recipe and files: the same inputs made into other bytes are another thing."""
        return digest(self.manifest)

    @property
    def size(self) -> int:
        return sum(said["size"] for said in self.manifest["files"].values())


def find(recipe: Recipe, store: Store, *, verify: bool = False) -> Derived | None:
    """What was made by `recipe`, None if it is not here or not whole. `verify` reads every byte of it."""
    place = store.derived(digest(recipe))
    try:
        manifest = json.loads((place / _MANIFEST).read_text("utf-8"))
        whole = manifest["recipe"] == recipe and all(
            (place / name).stat().st_size == said["size"]
            and (not verify or file_digest(place / name) == f"sha256:{said['sha256']}")
            for name, said in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not whole:
        return None
    with suppress(OSError):
        os.utime(place / _MANIFEST)  # when it was last wanted: `modelkit gc` clears what nobody wants
    return Derived(place, manifest)


def make(recipe: Recipe, store: Store, write: Callable[[Path], Written | None], *, label: str,
         on_progress: Progress = quiet, verify: bool = False) -> Derived:
    """What `recipe` makes, made now if it is not here.

    `write` gets an empty folder, fills it, and returns sizes and digests of its files if it knows them; where it
    returns None they are read once more. Two at once do the work once; a kill leaves nothing that counts.
    """
    if (found := find(recipe, store, verify=verify)) is not None:
        return found
    with store.workspace(digest(recipe), lambda: on_progress(0, None, f"waiting for another {label}")) as work:
        if (found := find(recipe, store, verify=verify)) is not None:
            return found
        folder = work / "folder"
        folder.mkdir()
        files = write(folder) or _read(folder, on_progress)
        manifest = {"schema": _SCHEMA, "recipe": dict(recipe), "files": {name: dict(files[name]) for name in files}}
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        return Derived(store.add_folder(folder, digest(recipe)), manifest)


def _read(folder: Path, on_progress: Progress) -> Written:
    files = {}
    for file in sorted(file for file in folder.iterdir() if file.is_file()):
        size = file.stat().st_size
        said = file_digest(file, partial(_hear, on_progress, size, f"checking {file.name}"))
        files[file.name] = {"sha256": said.removeprefix("sha256:"), "size": size}
    return files


def _hear(on_progress: Progress, size: int, label: str, done: int) -> None:
    on_progress(done, size, label)
