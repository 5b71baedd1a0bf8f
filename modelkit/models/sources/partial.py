"""A file that comes here piece by piece: hashed as it grows, kept on the disk as it grows, continued after a kill.

The file only ever grows at its end, so its length says what is there. `state.json` beside it says of which state of
the remote file that is, and how much of it would outlive a loss of power.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from queue import Queue
from types import TracebackType
from typing import Any

from modelkit.models.sources.ranges import State
from modelkit.models.store import Progress

_BLOCK = 1 << 20
_SYNC_EVERY = 64 << 20
_AHEAD = 32  # blocks that may wait to be hashed


class Hasher:
    """sha256 in a thread of its own: hashlib lets the others run meanwhile."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blocks: Queue[bytes | memoryview | None] = Queue(_AHEAD)
        self._thread = threading.Thread(target=self._work, name="sha256", daemon=True)
        self._thread.start()

    def update(self, block: bytes | memoryview) -> None:
        self._blocks.put(block)

    def digest(self) -> str:
        self.stop()
        return "sha256:" + self._sha256.hexdigest()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._blocks.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (block := self._blocks.get()) is not None:
            self._sha256.update(block)


class Partial:
    """The beginning of a file in `folder`. Used by one thread. Raises OSError for trouble with the disk."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data"
        self._record = folder / "state.json"
        said = _read(self._record)
        self.state = State(said["url"], said["validator"], said["size"]) if said else State()
        self._synced: int = said.get("synced", 0)
        self._file = self.path.open("ab", buffering=0)
        self._hasher = Hasher()
        self._sync: threading.Thread | None = None
        self._trouble: OSError | None = None
        self.length = self._file.tell()

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._hasher.stop()
        if self._sync is not None:
            self._sync.join()
        self._file.close()
        if kind is not None:
            with suppress(OSError):
                self._write_state()

    def resume(self, length: int, on_progress: Progress, total: int | None, label: str) -> None:
        """Go on after the first `length` bytes: read them once for the hash."""
        self._cut(length)
        if not length:
            return
        with self.path.open("rb", buffering=0) as file:
            while self.length < length and (block := file.read(min(_BLOCK, length - self.length))):
                self._hasher.update(block)
                self.length += len(block)
                on_progress(self.length, total, label)

    def drop(self) -> None:
        """Have nothing of it, as in the beginning."""
        self._cut(0)
        self.state = State()
        self._write_state()

    def begin(self, state: State) -> None:
        """From here on it is of this state of the remote file."""
        self.state = state
        self._write_state()

    def durable(self) -> int:
        """How much of the file was surely on the disk when that was written down last."""
        return min(self._synced, self.length)

    def write(self, block: bytes | memoryview) -> None:
        self._hasher.update(block)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest):]
        self.length += len(block)
        if self.length - self._synced >= _SYNC_EVERY and (self._sync is None or not self._sync.is_alive()):
            self._raise_trouble()
            self._sync = threading.Thread(target=self._keep, args=(self.length,), name="fdatasync", daemon=True)
            self._sync.start()

    def digest(self) -> str:
        """`sha256:…` of all that was written."""
        self._raise_trouble()
        return self._hasher.digest()

    def _cut(self, length: int) -> None:
        """Have only the first `length` bytes, with nothing hashed yet."""
        if self._sync is not None:
            self._sync.join()
        self._hasher.stop()
        self._hasher = Hasher()
        self._file.truncate(length)
        self._synced = min(self._synced, length)
        self.length = 0

    def _keep(self, length: int) -> None:
        """Have the first `length` bytes on the disk while more come, so that the end need not wait for all of them."""
        try:
            os.fdatasync(self._file.fileno()) if hasattr(os, "fdatasync") else os.fsync(self._file.fileno())
            self._synced = length
            self._write_state()
        except OSError as error:
            self._trouble = error

    def _raise_trouble(self) -> None:
        if self._trouble is not None:
            raise self._trouble

    def _write_state(self) -> None:
        draft = self._record.with_suffix(".new")
        draft.write_text(json.dumps({"url": self.state.url, "validator": self.state.validator, "size": self.state.size,
                                     "synced": self._synced}))
        draft.replace(self._record)


def _read(record: Path) -> dict[str, Any]:
    try:
        said = json.loads(record.read_text())
        fine = (isinstance(said["url"], str) and isinstance(said["validator"], str | None)
                and isinstance(said["size"], int | None) and isinstance(said["synced"], int))
        return said if fine else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
