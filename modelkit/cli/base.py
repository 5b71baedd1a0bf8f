"""A Modelfile as another commit has it: its text, the texts that it names, and its lock."""

from __future__ import annotations

import subprocess
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli.lockfile import LockFile
from modelkit.cli.stages import Stages
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.models.lock import Lock

_SECONDS = 30


def commit_of(word: str, folder: Path) -> str:
    """The commit that a branch, tag or id names. Raises Failure for anything else, and outside of a repository."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}")
    if found is None:
        raise Failure("no-base", f"git knows no commit `{word}` here", "fetch it first: in GitHub Actions, give "
                      "actions/checkout `fetch-depth: 0`")
    return found.decode().strip()


def stages_at(commit: str, path: Path, given: Mapping[str, str], arguments: Namespace) -> Stages | None:
    """A Modelfile's stages as a commit has them, with that commit's lock; None where it is not there, or has errors.

    Models that the Modelfile names by a path are those of today.
    """
    from modelkit.language.check import compile_source
    from modelkit.language.outside import Outside
    from modelkit.language.source import Source

    data = _at(commit, path.parent, path.name)
    if data is None:
        return None
    declared = Outside(dict(given), partial(_read, commit, path.parent))
    modelfile, _ = compile_source(Source.decode(str(path), data), declared)
    if modelfile is None:
        return None
    lock = LockFile(modelfile)
    lock.lock = _lock(commit, path)
    return Stages(modelfile, arguments, lock=lock)


def _lock(commit: str, path: Path) -> Lock | None:
    from modelkit.models import lock as lockfile

    name = lockfile.path_of(path).name
    data = _at(commit, path.parent, name)
    if data is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / name
        copy.write_bytes(data)
        with suppress(Failure):  # of another release, or damaged: what the Modelfile says is compared without it
            return lockfile.read(copy)
    return None


def _read(commit: str, folder: Path, name: str) -> str:
    """A text that the Modelfile names; where the commit lacks it, the one that is here."""
    from modelkit.language.outside import LARGEST, UnreadableFile, read_text
    from modelkit.language.source import Source

    data = None if Path(name).is_absolute() or name.startswith("~") else _at(commit, folder, name)
    if data is None:
        return read_text(folder, name)
    if len(data) > LARGEST:
        raise UnreadableFile("is larger than 1 MiB")
    text = Source.decode(name, data).text
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _at(commit: str, folder: Path, name: str) -> bytes | None:
    return _git(folder, "show", f"{commit}:./{name}")


def _git(folder: Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, timeout=_SECONDS, check=False,
                              stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
