"""What a reference resolved to: files by digest, wherever they lie on this machine."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from modelkit.failure import Failure

Form = Literal["gguf", "safetensors", "adapter"]
Role = Literal["weights", "config", "template", "system", "params", "messages", "license", "projector", "adapter",
               "other"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_PATH = 1024


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """One file of an artifact: its path inside it (`a/b.json`), its digest and size in bytes."""

    path: str
    digest: str
    size: int
    role: Role = "weights"

    def __post_init__(self) -> None:
        presume_inside(self.path)
        if not _DIGEST.fullmatch(self.digest) or self.size < 0:
            raise Failure("artifact-invalid", f"`{self.path}` has no usable digest or size: {self.digest}, {self.size}",
                          "the place it came from says something impossible; don't use it")


@dataclass(frozen=True)
class Artifact:
    """A model as its source has it.

    `resolved` is the pinned spelling of `reference`: it always means these bytes. `revision` is the source's own word
    for that state (a commit, a manifest's digest, a package's version). `place` is a folder outside the store where
    another tool keeps the files under their paths, None when they are blobs of the store.
    """

    reference: str
    resolved: str
    form: Form
    files: tuple[Piece, ...]
    revision: str = ""
    place: str | None = None

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.files)

    @property
    def weights(self) -> tuple[Piece, ...]:
        """The files that hold tensors, in the order of their names."""
        return tuple(sorted(piece for piece in self.files if piece.role == "weights"))

    def at(self, place: str | None) -> Artifact:
        return replace(self, place=place)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Artifact:
        """Raises KeyError, TypeError, ValueError or Failure for what is no artifact."""
        files = tuple(Piece(**piece) for piece in value["files"])
        return cls(**{**value, "files": files})


def presume_inside(path: str) -> None:
    """Raise Failure unless `path` is a relative POSIX path that stays inside its folder on every system."""
    parts = PurePosixPath(path).parts
    odd = (not parts or path.startswith("/") or len(path) > _LONGEST_PATH or "\\" in path or ":" in parts[0]
           or {"..", "."} & set(path.split("/")) or "" in path.split("/")
           or any(character < " " or character == "\x7f" for character in path))
    if odd:
        shown = "".join(c if c.isprintable() else "?" for c in path[:80])
        raise Failure("path-escapes", f"`{shown}` is not the name of a file inside a model",
                      "the place it came from is broken or hostile; don't use it")
