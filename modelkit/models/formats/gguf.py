"""What a GGUF file says about itself, once it has been checked. `modelkit.models.formats.gguf_reader` reads it."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from modelkit.failure import Failure
from modelkit.models.formats.access import Access
from modelkit.models.formats.gguf_types import SCALARS, TensorType


@dataclass(frozen=True, slots=True)
class Array:
    """An array in the metadata, not read yet: `count` elements of `kind`, the first at `offset`."""

    kind: str
    count: int
    offset: int
    end: int


_LARGEST_ARRAY = 64 << 20  # bytes: the largest vocabularies with their merges have a tenth of it
_MOST_ELEMENTS = 1 << 22

Value = bool | int | float | str | Array


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's place in the file. `shape` is ggml's order: the fastest-running dimension first."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int  # from the start of the file
    size: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a GGUF file says about itself, checked: every tensor lies inside the file, apart from the others.

    `path` is the file's name where it is not on this machine. `architecture` is "" in the later parts of a split model.
    """

    path: Path
    version: int
    metadata: dict[str, Value]
    tensors: dict[str, Tensor]
    data_offset: int
    alignment: int
    size: int
    architecture: str
    access: Access = field(repr=False, compare=False)

    def get(self, key: str, kind: type[Any], default: Any = None) -> Any:
        """The value of `key` if it is of `kind` (an int passes for a float), `default` if there is none."""
        value = self.metadata.get(key)
        if value is None:
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            refuse(self.path, "value-type", 0, f"`{key}` is not {_KIND_WORDS.get(kind, kind.__name__)}")
        return value

    def strings(self, key: str) -> list[str]:
        """The strings of an array, empty when there is no such key."""
        array = self._array(key, "string")
        return [] if array is None else _strings(self.path, key, array, self.body(key))

    def numbers(self, key: str) -> tuple[int, ...] | tuple[float, ...]:
        """The numbers of an array, empty when there is no such key."""
        array = self._array(key)
        if array is None:
            return ()
        if array.kind == "string":
            refuse(self.path, "value-type", array.offset, f"`{key}` holds strings, not numbers")
        return struct.unpack(f"<{array.count}{_CODES[array.kind]}", self.body(key))

    def body(self, key: str) -> bytes:
        """The bytes of an array as they are in the file, empty when there is no such key."""
        if (array := self._array(key)) is None:
            return b""
        size = array.end - array.offset
        if size > _LARGEST_ARRAY or array.count > _MOST_ELEMENTS:
            refuse(self.path, "array-length", array.offset,
                   f"`{key}` has {array.count:,} elements in {size:,} bytes; the most that is read is "
                   f"{_MOST_ELEMENTS:,} in {_LARGEST_ARRAY >> 20} MiB")
        if len(body := self.access.read_at(array.offset, size)) != size:
            refuse(self.path, "changed", array.offset, "the file became shorter while it was read")
        return body

    def _array(self, key: str, kind: str | None = None) -> Array | None:
        array = self.metadata.get(key)
        if array is None:
            return None
        if not isinstance(array, Array) or (kind is not None and array.kind != kind):
            refuse(self.path, "value-type", 0, f"`{key}` is not an array of {kind or 'number'}s")
        return array


_CODES = dict(SCALARS.values())
_KIND_WORDS: dict[type[Any], str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def refuse(path: Path, check: str, offset: int, what: str, hint: str | None = None) -> NoReturn:
    raise Failure("gguf-invalid", f"{path.name} is not a usable GGUF file: {what} (at byte {offset})",
                  hint or "download the file again; if that does not help, its maker has to repair it",
                  data={"path": str(path), "check": check, "offset": offset})


def _strings(path: Path, key: str, array: Array, body: bytes) -> list[str]:
    at, unpack, texts = 0, struct.Struct("<Q").unpack_from, list[str]()
    append = texts.append
    try:
        for _ in range(array.count):
            (length,) = unpack(body, at)
            begin = at + 8
            at = begin + length
            append(body[begin:at].decode())
    except (struct.error, UnicodeDecodeError):
        refuse(path, "utf-8", array.offset + at, f"a string of `{key}` is not UTF-8")
    return texts
