"""The cache of `huggingface_hub`, read and written in its documented layout.

    models--<organization>--<repository>/blobs/<sha256, or name in git>
    models--<organization>--<repository>/snapshots/<commit>/<path>       a link to a blob
    models--<organization>--<repository>/refs/<branch>                   a commit

https://huggingface.co/docs/huggingface_hub/guides/manage-cache describes it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelkit.failure import Failure
from modelkit.models.artifact import presume_inside
from modelkit.models.links import link
from modelkit.models.sources.picking import Listed


@dataclass(frozen=True)
class HubCache:
    """The cache under `folder`."""

    folder: Path

    def snapshot(self, repo: str, commit: str) -> Path:
        """Where the cache has, or would have, the files of a commit."""
        return self._room(repo) / "snapshots" / commit

    def linked(self, repo: str, commit: str, path: str, digest: str) -> bool:
        """Have a snapshot show a file that the cache holds already, for another commit; False if it does not."""
        blob = self._blob(repo, digest)
        if not blob.is_file():
            return False
        self._show(repo, commit, path, blob)
        return True

    def keep(self, repo: str, commit: str, path: str, file: Path, digest: str) -> None:
        """Have a fetched file in the cache as the library lays it out: a blob by its sha256, a link in the snapshot."""
        presume_inside(path)
        blob = self._blob(repo, digest)
        try:
            blob.parent.mkdir(parents=True, exist_ok=True)
            draft = blob.with_name(f"{blob.name}.{os.getpid()}.modelkit")
            draft.unlink(missing_ok=True)
            link(file, draft)
            draft.replace(blob)
            self._show(repo, commit, path, blob)
        except OSError as error:
            raise Failure("store-unusable", f"{error.filename}: {(error.strerror or str(error)).lower()}",
                          "check the disk and the permissions, or set HF_HOME to another folder") from None

    def _blob(self, repo: str, digest: str) -> Path:
        return self._room(repo) / "blobs" / digest.removeprefix("sha256:")

    def _show(self, repo: str, commit: str, path: str, blob: Path) -> None:
        shown = self.snapshot(repo, commit) / path
        shown.parent.mkdir(parents=True, exist_ok=True)
        draft = shown.with_name(f".{shown.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        draft.symlink_to(os.path.relpath(blob, shown.parent))
        draft.replace(shown)

    def _room(self, repo: str) -> Path:
        return self.folder / f"models--{repo.replace('/', '--')}"

    def listing(self, repo: str, revision: str | None) -> tuple[str, list[Listed]]:
        """What of a revision is in the cache: all that can be said without the network."""
        name = revision or "main"
        try:
            commit = name if is_commit(name) else (self._room(repo) / "refs" / name).read_text().strip()
            snapshot = self.snapshot(repo, commit)
            files = [_cached(path, snapshot) for path in snapshot.rglob("*") if path.is_file()] \
                if is_commit(commit) else []
        except OSError:
            files = []
        if not files:
            raise offline(f"hf.co/{repo} at {name}", self.folder)
        return commit, files


def offline(what: str, cache: Path) -> Failure:
    return Failure("offline", f"{what} is not in {cache}, and HF_HUB_OFFLINE forbids to ask for it",
                   "unset HF_HUB_OFFLINE and run `modelkit pull` once")


def is_commit(text: str) -> bool:
    return len(text) == 40 and _is_hex(text)


def _is_hex(text: str) -> bool:
    return not set(text) - set("0123456789abcdef")


def _cached(path: Path, snapshot: Path) -> Listed:
    """A file of a snapshot: the cache calls a blob by its sha256, or by its name in git."""
    name = path.resolve().name
    known = name if _is_hex(name) else ""
    return Listed(path.relative_to(snapshot).as_posix(), path.stat().st_size, known if len(known) == 64 else None,
                  known if len(known) == 40 else None)
