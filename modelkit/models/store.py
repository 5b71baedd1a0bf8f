"""A content-addressed store of model files, safe against kills, races and tampering.

    blobs/sha256-<hex>      a file by its digest, read-only
    views/sha256-<hex>      an artifact of several files as a folder: hard links to blobs
    derived/sha256-<hex>    a folder made from other files, by the digest of its recipe
    index/<hex>             what a reference means: an artifact
    seen/<hex>              what was hashed before, with the marks that show a change
    partial/<key>           a download that goes on where it stopped
    work/<key>, locks/<key> work in progress and who may do it

Whatever appears under `blobs`, `views`, `derived`, `index` or `seen` was renamed there complete. Work is done under a
lock of its own name, so what a killed process left behind belongs to nobody, and the next one clears it or goes on.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from modelkit import places
from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.digests import digest as digest_of
from modelkit.models.digests import file_digest
from modelkit.models.links import link, sync

Progress = Callable[[int, int | None, str], None]
"""Called with bytes done, bytes in all if known, and what is being done."""

_CLEANING = "cleaning"  # the lock that work shares and cleaning has for itself
_LONG = 256 << 20  # bytes of a file whose digest takes long enough to be told of
_SPARE = 64 << 20  # bytes to leave free on the disk


def quiet(done: int, total: int | None, label: str) -> None:
    """The progress that nobody looks at."""


class Store:
    """The store under `root`; by default the cache folder's `models`."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else places.place("cache") / "models"

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / digest.replace(":", "-")

    def derived(self, digest: str) -> Path:
        return self.root / "derived" / digest.replace(":", "-")

    def find(self, reference: str) -> Artifact | None:
        """What a reference means, if all of its files are here and unchanged."""
        artifact = self._known(self._named("index", reference))
        whole = artifact is not None and artifact.reference == reference and all(
            self.intact(self.path(artifact, piece), piece.digest) for piece in artifact.files)
        return artifact if whole else None

    def artifacts(self) -> list[Artifact]:
        """Everything that was remembered, whole or not, by reference."""
        room = self.root / "index"
        known = [self._known(file) for file in room.iterdir() if file.name[0] != "."] if room.is_dir() else []
        return sorted((one for one in known if one is not None), key=lambda one: one.reference)

    def remember(self, artifact: Artifact) -> None:
        """From now on `find` knows this artifact under both of its spellings."""
        for reference in dict.fromkeys((artifact.resolved, artifact.reference)):
            said = artifact.as_json() | {"reference": reference}
            self._write_json(self._named("index", reference), said)

    def forget(self, reference: str) -> bool:
        """Forget what one spelling means; `modelkit.models.upkeep` clears the files that nothing means any more."""
        file = self._named("index", reference)
        if self._known(file) is None:
            return False
        file.unlink(missing_ok=True)
        return True

    def path(self, artifact: Artifact, piece: Piece) -> Path:
        """Where one file of an artifact is, or would be."""
        return self.blob(piece.digest) if artifact.place is None else Path(artifact.place) / piece.path

    def folder(self, artifact: Artifact) -> Path:
        """All files of an artifact under their own names: where they are, or hard links to the blobs."""
        if artifact.place is not None:
            return Path(artifact.place)
        view = self.view(artifact)
        if self._shows(view, artifact):
            return view
        with self.workspace(f"view {view.name}") as work:
            if self._shows(view, artifact):
                return view
            made = work / "view"
            made.mkdir()
            for piece in artifact.files:
                if not self.intact(self.blob(piece.digest), piece.digest):
                    raise Failure("model-changed", f"{piece.path} of {artifact.resolved} was changed or is missing",
                                  f"modelkit pull {artifact.resolved}")
                (made / piece.path).parent.mkdir(parents=True, exist_ok=True)
                link(self.blob(piece.digest), made / piece.path)
            if view.exists():
                view.rename(work / "replaced")
            self._rename(made, view)
        for piece in artifact.files:
            for file in (self.blob(piece.digest), view / piece.path):
                self.linked(file, piece.digest)
        return view

    def view(self, artifact: Artifact) -> Path:
        """Where the hard links to an artifact's blobs are, or would be."""
        tree = digest_of({piece.path: piece.digest for piece in artifact.files})
        return self.root / "views" / tree.replace(":", "-")

    def linked(self, file: Path, digest: str) -> None:
        """Know a file of this content by its marks again after a link to it came or went: that changes its ctime."""
        with suppress(OSError):
            self._saw(file, _marks(file), digest)

    def _shows(self, view: Path, artifact: Artifact) -> bool:
        try:
            return all((view / piece.path).stat().st_size == piece.size
                       and self.intact(view / piece.path, piece.digest) for piece in artifact.files)
        except OSError:
            return False

    def _known(self, file: Path) -> Artifact | None:
        try:
            return Artifact.from_json(_read_json(file))
        except (KeyError, TypeError, ValueError, AttributeError, Failure):
            return None

    def intact(self, path: Path, digest: str) -> bool:
        """Is `path` there with this content? Hashed again only when the file's marks have changed."""
        try:
            return self.digest(path) == digest
        except OSError:
            return False

    def digest(self, path: Path, on_progress: Progress = quiet, *, verify: bool = False) -> str:
        """The digest of any file, from memory while size, times and inode are the same. Raises OSError."""
        marks = _marks(path)
        known = _read_json(self._named("seen", str(path.absolute())))
        if not verify and known.get("marks") == marks and isinstance(known.get("digest"), str):
            return str(known["digest"])
        size, label = marks[2], f"checking {path.name}"
        digest = file_digest(path, lambda done: on_progress(done, size, label) if size >= _LONG else None)
        if _marks(path) == marks:
            self._saw(path, marks, digest)
        return digest

    def add(self, file: Path, digest: str) -> Path:
        """Move a finished file of this content into the store."""
        blob = self.blob(digest)
        file.chmod(0o444)
        sync(file)
        self._rename(file, blob)
        self._saw(blob, _marks(blob), digest)
        return blob

    def adopt(self, file: Path, digest: str, *, copy: bool = True) -> Path:
        """Have a file of this content, proved before, in the store too: as a link where the disk allows.

        Where it does not, as a copy, or without `copy` as a pointer to the file: it is gone when the file goes.
        """
        with self.workspace(digest) as work:
            if not self.intact(self.blob(digest), digest):
                link(file, work / "file", copy=copy)
                self._rename(work / "file", self.blob(digest))
                for name in (file, self.blob(digest)):
                    self.linked(name, digest)
        return self.blob(digest)

    def add_folder(self, folder: Path, digest: str) -> Path:
        """Move a finished folder out of a workspace into the store, in the place of what is there."""
        for file in folder.iterdir():
            file.chmod(0o444)
            sync(file)
        sync(folder)
        place = self.derived(digest)
        if place.exists():
            place.rename(folder.with_name("replaced"))  # goes with the workspace
        self._rename(folder, place)
        return place

    @contextmanager
    def workspace(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """An empty folder to work in while nobody else works at `key`. It is gone afterwards."""
        name = _hex(key)
        with self._locked(name, on_wait):
            self._sweep(name)
            folder = self._made("work") / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            try:
                with disk_trouble(self.root):
                    yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """While nobody brings anything into the store or makes anything in it."""
        with (self._made("locks") / _CLEANING).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def alone(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """While nobody else is at `key`, on this machine and with this store."""
        with self._locked(f"alone-{_hex(key)}", on_wait):
            yield

    @contextmanager
    def partial(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """A folder for work that goes on after a kill, while nobody else works at `key`. It goes when all went well."""
        name = _hex(key)
        with self._locked(f"partial-{name}", on_wait):
            folder = self._made("partial") / name
            with disk_trouble(self.root):
                folder.mkdir(mode=0o700, exist_ok=True)
                yield folder
            shutil.rmtree(folder, ignore_errors=True)

    def need_space(self, size: int, what: str) -> None:
        """Raise Failure unless `size` more bytes fit on the store's disk."""
        self._made("work")
        free = shutil.disk_usage(self.root).free
        if free < size + _SPARE:
            raise Failure("disk-full", f"{what} needs {_amount(size)} and {self.root} has {_amount(free)} left",
                          "make room, or set MODELKIT_HOME to a folder on a larger disk",
                          data={"needed": size, "free": free})

    @contextmanager
    def _locked(self, name: str, on_wait: Callable[[], None]) -> Iterator[None]:
        room = self._made("locks")
        with (room / _CLEANING).open("ab") as cleaning, (room / name).open("ab") as lock:
            for one, how in ((cleaning, fcntl.LOCK_SH), (lock, fcntl.LOCK_EX)):
                try:
                    fcntl.flock(one, how | fcntl.LOCK_NB)
                except BlockingIOError:
                    on_wait()
                    fcntl.flock(one, how)
            yield

    def _sweep(self, mine: str) -> None:
        """Clear what killed processes left: a folder whose lock nobody holds."""
        for folder in self._made("work").iterdir():
            if folder.name == mine or not (self.root / "locks" / folder.name).exists():
                continue
            with (self.root / "locks" / folder.name).open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                shutil.rmtree(folder, ignore_errors=True)

    def _made(self, room: str) -> Path:
        folder = self.root / room
        try:
            if not folder.is_dir():
                places.private_directory(self.root)
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Failure("store-unusable", f"the model store {self.root} can't be used: {error.strerror or error}",
                          "set MODELKIT_HOME to a folder that you may write") from None
        return folder

    def _named(self, room: str, key: str) -> Path:
        return self.root / room / _hex(key)

    def _saw(self, path: Path, marks: list[int], digest: str) -> None:
        """Remember a digest; where that is not possible it is computed again."""
        with suppress(OSError, Failure):
            self._write_json(self._named("seen", str(path.absolute())),
                             {"path": str(path.absolute()), "marks": marks, "digest": digest}, durable=False)

    def _write_json(self, path: Path, value: dict[str, Any], *, durable: bool = True) -> None:
        room = self._made(path.parent.name)
        draft = room / f".{path.name}.{os.getpid()}"
        with disk_trouble(self.root):
            draft.write_text(json.dumps(value))
            if durable:
                sync(draft)
            draft.replace(path)

    def _rename(self, source: Path, target: Path) -> None:
        room = self._made(target.parent.name)
        with disk_trouble(self.root):
            source.replace(target)
            sync(room)


@contextmanager
def disk_trouble(root: Path) -> Iterator[None]:
    """Turn what the system says about files into a Failure: a full disk, or another trouble with one of them."""
    try:
        yield
    except BrokenPipeError:
        raise  # about whoever listens to the progress
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Failure("disk-full", f"the disk with {root} is full",
                          "make room, or set MODELKIT_HOME to a folder on a larger disk") from None
        what = (error.strerror or str(error)).lower()
        raise Failure("store-unusable", f"{error.filename or root}: {what}",
                      "check the disk and the permissions, or set MODELKIT_HOME to another folder") from None


def _marks(path: Path) -> list[int]:
    """What changes when a file's content does."""
    stat = path.stat()
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _read_json(path: Path) -> dict[str, Any]:
    """A record, or an empty one when it is missing or damaged: records can be made again."""
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _hex(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
