"""Reads GGUF headers without trusting them.

Memory is bounded by `_MOST_TEXT` and one block of the file, time by the caps below; array bodies are walked, and read
only when asked for. Anything wrong is `Failure("gguf-invalid")` with the check that failed and the byte it failed at.
"""

from __future__ import annotations

import math
import re
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from modelkit.models.formats.access import Access, LocalFile
from modelkit.models.formats.gguf import Array, Header, Tensor, Value, refuse
from modelkit.models.formats.gguf_types import SCALARS, TENSOR_TYPES

_MOST_KEYS = _MOST_TENSORS = 1 << 16
_MOST_TEXT = 64 << 20  # bytes of all strings that are not in arrays
_MOST_STRINGS = 1 << 21  # strings in all arrays: they have to be walked one by one
_LONGEST_NAME = 1 << 10
_LARGEST_ALIGNMENT = 1 << 20
_BLOCK = 1 << 20
_FIRST_READ = 256 << 10  # the later parts of a split model have no more header than this

_STRING, _ARRAY = 8, 9
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def read_header(path: Path | str, *, model: bool = True) -> Header:
    """The checked header of a GGUF file. Raises Failure, and nothing else, whatever the file holds.

    Only a `model` has to name its architecture: other things are kept in GGUF files too. The last few headers are kept
    while their files stay as they are: one command asks for the same one from several rooms.
    """
    key = _unchanging(Path(path), model)
    header = _kept.get(key) if key is not None else None
    if header is None:
        header = read_header_from(LocalFile(path), model=model)
        if key is not None:
            while len(_kept) >= _MOST_KEPT:
                _kept.pop(next(iter(_kept)), None)
            _kept[key] = header
    return header


_Key = tuple[str, int, int, int, int, bool]
_kept: dict[_Key, Header] = {}
_MOST_KEPT = 8
_SETTLED = 2.0  # seconds after which a later change shows in a file's times, whatever they are counted in


def _unchanging(path: Path, model: bool) -> _Key | None:
    """Tells a file and its content from others; None for one that was written just now, or is not there."""
    try:
        said = path.stat()
    except (OSError, ValueError):
        return None
    changed = max(said.st_mtime, said.st_ctime)
    return None if not 0 <= changed < time.time() - _SETTLED else (
        str(path.absolute()), said.st_ino, said.st_size, said.st_mtime_ns, said.st_ctime_ns, model)


def read_header_from(access: Access, *, model: bool = True) -> Header:
    """The checked header of a GGUF file that is anywhere."""
    return _Reader(access).header(model)


class _Reader:
    """A cursor over the file that holds one block of it and knows how much is left."""

    def __init__(self, access: Access) -> None:
        self.path, self.access, self.size = Path(access.name), access, access.size
        self.start, self.block, self.at = 0, b"", 0  # the block's place in the file, and ours in the block
        self.text_left, self.strings_left = _MOST_TEXT, _MOST_STRINGS

    @property
    def offset(self) -> int:
        return self.start + self.at

    def refuse(self, check: str, what: str, offset: int | None = None) -> NoReturn:
        refuse(self.path, check, self.offset if offset is None else offset, what)

    def need(self, count: int, what: str) -> None:
        """Make the next `count` bytes available in the block."""
        if len(self.block) - self.at >= count:
            return
        if self.offset + count > self.size:
            self.refuse("truncated", f"the file ends inside its header, after {self.size:,} bytes: {what} needs "
                                     f"{count:,} bytes and {max(self.size - self.offset, 0):,} are left")
        self.start, self.at = self.offset, 0
        most = max(count, _BLOCK if self.start else _FIRST_READ)
        self.block = self.access.read_at(self.start, min(most, self.size - self.start))
        if len(self.block) < count:
            self.refuse("changed", "the file became shorter while it was read")

    def number(self, code: str, what: str) -> Any:
        width = struct.calcsize("<" + code)
        self.need(width, what)
        (value,) = struct.unpack_from("<" + code, self.block, self.at)
        self.at += width
        return value

    def text(self, longest: int, what: str) -> str:
        length = self.number("Q", f"the length of {what}")
        if length > longest:
            self.refuse("string-length", f"{what} claims {length:,} bytes; the most is {longest:,}", self.offset - 8)
        self.text_left -= length
        if self.text_left < 0:
            self.refuse("text-total", f"the metadata holds more than {_MOST_TEXT >> 20} MiB of text")
        self.need(length, what)
        raw = self.block[self.at:self.at + length]
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            self.refuse("utf-8", f"{what} is not UTF-8", self.offset + error.start)
        self.at += length
        return text

    def header(self, model: bool) -> Header:
        version = self.magic()
        tensor_count = self.number("Q", "the number of tensors")
        key_count = self.number("Q", "the number of metadata keys")
        if tensor_count > _MOST_TENSORS:
            self.refuse("tensor-count", f"it claims {tensor_count:,} tensors; the most is {_MOST_TENSORS:,}", 8)
        if key_count > _MOST_KEYS:
            self.refuse("key-count", f"it claims {key_count:,} metadata keys; the most is {_MOST_KEYS:,}", 16)
        metadata = self.metadata(key_count)
        if isinstance(part := metadata.get("split.no"), int) and part > 0:
            model = False  # only the first part of a split model says what it is
        architecture = metadata.get("general.architecture", None if model else "")
        if not isinstance(architecture, str) or not (_ARCHITECTURE.fullmatch(architecture) or not model):
            self.refuse("architecture", "`general.architecture` is missing or not a name")
        alignment = metadata.get("general.alignment", 32)
        if (not isinstance(alignment, int) or isinstance(alignment, bool)
                or not 1 <= alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1)):
            self.refuse("alignment", f"`general.alignment` is not a power of two up to {_LARGEST_ALIGNMENT:,}")
        tensors = self.tensors(tensor_count, alignment)
        data_offset = -(-self.offset // alignment) * alignment
        placed = self.placed(tensors, data_offset)
        return Header(self.path, version, metadata, placed, data_offset, alignment, self.size, architecture,
                      self.access)

    def magic(self) -> int:
        self.need(min(4, self.size), "the magic")
        magic = self.block[:4]
        if magic != b"GGUF":
            self.refuse("magic", _looks_like(magic, self.block))
        self.at = 4
        version: int = self.number("I", "the version")
        if version & 0xFFFF == 0:
            self.refuse("byte-order", "it is written for big-endian machines", 4)
        if version not in (2, 3):
            self.refuse("version", f"its version is {version}; 2 and 3 are known", 4)
        return version

    def metadata(self, count: int) -> dict[str, Value]:
        metadata: dict[str, Value] = {}
        for _ in range(count):
            begin = self.offset
            key = self.text(_LONGEST_NAME, "a metadata key")
            if not key or key in metadata:
                self.refuse("key", f"the key `{key}` occurs twice" if key else "a metadata key is empty", begin)
            metadata[key] = self.value(key)
        return metadata

    def value(self, key: str) -> Value:
        kind = self.number("I", f"the type of `{key}`")
        if kind == _STRING:
            return self.text(_MOST_TEXT, f"`{key}`")
        if kind == _ARRAY:
            return self.array(key)
        if kind not in SCALARS:
            self.refuse("value-type", f"`{key}` has the unknown type {kind}", self.offset - 4)
        value: Value = self.number(SCALARS[kind][1], f"`{key}`")
        return value

    def array(self, key: str) -> Array:
        kind = self.number("I", f"the element type of `{key}`")
        if kind == _ARRAY:
            self.refuse("array-nesting", f"`{key}` is an array of arrays", self.offset - 4)
        if kind != _STRING and kind not in SCALARS:
            self.refuse("value-type", f"`{key}` is an array of the unknown type {kind}", self.offset - 4)
        count = self.number("Q", f"the length of `{key}`")
        begin = self.offset
        smallest = 8 if kind == _STRING else struct.calcsize("<" + SCALARS[kind][1])
        if count * smallest > self.size - begin:
            self.refuse("array-length", f"`{key}` claims {count:,} elements and only {self.size - begin:,} bytes "
                                        f"of the file are left", begin - 8)
        if kind != _STRING:
            self.skip(count * smallest)
            return Array(SCALARS[kind][0], count, begin, self.offset)
        self.strings_left -= count
        if self.strings_left < 0:
            self.refuse("array-length", f"the metadata holds more than {_MOST_STRINGS:,} strings", begin - 8)
        self.skip_strings(count, key)
        return Array("string", count, begin, self.offset)

    def skip(self, count: int) -> None:
        """Pass over bytes that are known to be there."""
        if (at := self.at + count) <= len(self.block):
            self.at = at
        else:
            self.start, self.block, self.at = self.start + at, b"", 0

    def skip_strings(self, count: int, key: str) -> None:
        unpack, length, left = struct.Struct("<Q").unpack_from, 0, iter(range(count, -1, -1))
        while count:
            block, at = self.block, self.at
            try:
                while count := next(left):  # the one hot loop: a vocabulary has some hundred thousand strings
                    (length,) = unpack(block, at)
                    at += 8 + length
            except (struct.error, OverflowError):
                left = iter(range(count, -1, -1))  # the block ends here
            if at <= len(block):
                self.at = at
            else:
                self.at = at - length
                if length > self.size - self.offset:
                    self.refuse("string-length", f"a string of `{key}` claims {length:,} bytes and only "
                                                 f"{self.size - self.offset:,} are left", self.offset - 8)
                self.skip(length)
            if count:
                self.need(8, f"a string of `{key}`")

    def tensors(self, count: int, alignment: int) -> list[Tensor]:
        """The tensor table; offsets are still relative to the data."""
        return [self.tensor(alignment) for _ in range(count)]

    def tensor(self, alignment: int) -> Tensor:
        begin = self.offset
        name = self.text(_LONGEST_NAME, "a tensor's name")
        dimensions = self.number("I", f"the dimensions of `{name}`")
        if not 1 <= dimensions <= 4:
            self.refuse("dimensions", f"tensor `{name}` has {dimensions:,} dimensions; 1 to 4 are possible", begin)
        shape = tuple(self.number("Q", f"the shape of `{name}`") for _ in range(dimensions))
        if min(shape) < 1 or (elements := math.prod(shape)) >= 1 << 62:
            self.refuse("shape", f"tensor `{name}` has the impossible shape {shape}", begin)
        kind = self.number("I", f"the type of `{name}`")
        if (layout := TENSOR_TYPES.get(kind)) is None:
            self.refuse("tensor-type", f"tensor `{name}` has the unknown type {kind}", self.offset - 4)
        if shape[0] % layout.block:
            self.refuse("shape", f"tensor `{name}` has rows of {shape[0]:,}; {layout.name} needs a multiple of "
                                 f"{layout.block}", begin)
        offset = self.number("Q", f"the offset of `{name}`")
        if offset % alignment:
            self.refuse("tensor-offset", f"the offset of tensor `{name}` is not a multiple of {alignment}",
                        self.offset - 8)
        return Tensor(name, shape, layout, offset, elements // layout.block * layout.bytes)

    def placed(self, tensors: list[Tensor], data_offset: int) -> dict[str, Tensor]:
        """The tensors by name, with their place in the file, which they do not share."""
        placed: dict[str, Tensor] = {}
        for tensor in tensors:
            if not tensor.name or tensor.name in placed:
                self.refuse("tensor-name", f"there are two tensors `{tensor.name}`" if tensor.name
                            else "a tensor has no name")
            placed[tensor.name] = replace(tensor, offset=data_offset + tensor.offset)
        end, before = data_offset, ""
        for tensor in sorted(placed.values(), key=lambda one: one.offset):
            if tensor.offset < end:
                self.refuse("overlap", f"tensors `{before}` and `{tensor.name}` overlap", tensor.offset)
            end, before = tensor.offset + tensor.size, tensor.name
        if end > self.size and placed:
            self.refuse("truncated", f"the file ends after {self.size:,} of {end:,} bytes", self.size)
        return placed


def _looks_like(magic: bytes, begin: bytes) -> str:
    """What a file that is not GGUF seems to be."""
    if not magic:
        return "it is empty"
    if begin.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; the file itself was not downloaded"
    if begin.lstrip()[:1] in (b"<",):
        return "it is a web page"
    if magic in (b"ggml", b"ggjt", b"ggla", b"lmgg", b"tjgg"):
        return "it is a GGML file from before GGUF"
    if magic[:2] == b"PK":
        return "it is a zip archive"
    if begin[8:9] == b"{":
        return "it looks like safetensors"
    return "it does not begin with GGUF"
