"""Reading anywhere in a file, whether it lies on this machine or on another."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modelkit.failure import Failure


class Access(Protocol):
    """A file that can be read anywhere. `name` is shown to people: a path, or an address.

    Headers are read front to back, then parts of them again: what is far away reads ahead and keeps what it has read.
    """

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`, fewer only where the file ends. Raises Failure when it can't be read."""
        ...


class LocalFile:
    """A file on this machine. Raises Failure when it is not there or can't be read."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.name = str(path)
        try:
            with self.path.open("rb") as file:
                self.size = file.seek(0, 2)
        except OSError as error:
            raise _unreadable(self.path, error) from None

    def read_at(self, offset: int, count: int) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(count)
        except OSError as error:
            raise _unreadable(self.path, error) from None


def _unreadable(path: Path, error: OSError) -> Failure:
    if isinstance(error, FileNotFoundError):
        return Failure("model-missing", f"there is no file {path}")
    return Failure("model-unreadable", f"{path} can't be read: {(error.strerror or str(error)).lower()}")
