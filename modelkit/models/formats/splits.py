"""Models in several GGUF files: `name-00001-of-00003.gguf` and the others beside it.

llama.cpp writes such sets (`llama-gguf-split`) and loads one by the path of its first part, the others by their names.
Only the first part says what the model is; each part says its number, counted from 0, and how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modelkit.failure import Failure
from modelkit.models.formats.gguf import Header, Tensor
from modelkit.models.formats.gguf_reader import read_header

_NAME = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.DOTALL)
_MOST_PARTS = 1 << 10


@dataclass(frozen=True)
class Split:
    """A checked whole set of parts, in the order of their numbers. A model in one file is a set of one."""

    parts: tuple[Header, ...]

    @property
    def first(self) -> Header:
        """The part that says what the model is; the one that llama.cpp is given."""
        return self.parts[0]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(part.path for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def tensors(self) -> dict[str, tuple[Header, Tensor]]:
        """Every tensor of the model: the part that it lies in, and where it lies there."""
        return {name: (part, tensor) for part in self.parts for name, tensor in part.tensors.items()}


def part_names(name: str) -> tuple[str, ...]:
    """The names of all parts of the set that a file of this name belongs to; only its own if it belongs to none."""
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match["number"]) <= (count := int(match["count"])) <= _MOST_PARTS:
        return (name,)
    return tuple(f"{match['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1))


def read_split(path: Path) -> Split:
    """The model that `path` is, or is a part of. Raises Failure when a part is missing or not of the same model."""
    header = read_header(path)
    names = part_names(path.name)
    count = header.get("split.count", int, 1)
    if count <= 1 and "split.no" not in header.metadata:
        return Split((header,))
    if len(names) != count:
        said = f"its name says {len(names)}" if len(names) > 1 else "its name says nothing of parts"
        _refuse(path, "split-name", f"it is one of {count:,} parts of a model and {said}",
                "give the parts their own names back: `NAME-00001-of-00003.gguf`")
    missing = [name for name in names if not (path.parent / name).is_file()]
    if missing:
        _refuse(path, "split-missing", f"the model has {count} parts and {_list(missing)} "
                                       f"{'is' if len(missing) == 1 else 'are'} not beside it",
                "download every part into one folder", missing=missing)
    return joined(header if name == path.name else read_header(path.parent / name) for name in names)


def joined(parts: Iterable[Header]) -> Split:
    """The set that these headers are, in the order of their names. Raises Failure unless it is whole."""
    parts = tuple(parts)
    first, total, seen = parts[0], 0, dict[str, Path]()
    for number, part in enumerate(parts):
        if (said := part.get("split.count", int, 1)) != len(parts):
            _refuse(part.path, "split-count", f"it says that there are {said:,} parts and there are {len(parts)}")
        if (said := part.get("split.no", int, 0)) != number:
            _refuse(part.path, "split-number", f"it is part {number + 1} by its name and part {said + 1:,} by its "
                                               f"content")
        if part.architecture not in ("", first.architecture):
            _refuse(part.path, "split-architecture",
                    f"it is of the architecture `{part.architecture}`, the first part of `{first.architecture}`")
        for name in part.tensors:
            if name in seen:
                _refuse(part.path, "split-tensor", f"the tensor `{name}` is in {seen[name].name} too")
            seen[name] = part.path
        total += len(part.tensors)
    if (said := first.get("split.tensors.count", int, total)) != total:
        _refuse(first.path, "split-tensors-count", f"all parts together have {total:,} tensors, not {said:,}")
    return Split(parts)


def _list(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _refuse(path: Path, check: str, what: str, hint: str | None = None, **data: object) -> NoReturn:
    raise Failure("gguf-split", f"{path.name} can't be used: {what}",
                  hint or "download all parts of one model again, into a folder of their own",
                  data={"path": str(path), "check": check, **data})
