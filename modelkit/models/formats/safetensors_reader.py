"""Reads safetensors headers without trusting them.

The format: eight bytes with the length of a JSON object, the object, then the tensors without gaps
(https://github.com/huggingface/safetensors#format). The object's few possible shapes are matched directly: nothing is
built that the format does not have, so memory is bounded by the header and nesting by the grammar. Anything wrong is
`Failure("safetensors-invalid")` with the check that failed and the byte it failed at.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from modelkit.failure import Failure
from modelkit.models.formats.access import Access, LocalFile

BITS = {"BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
        "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
"""Bits of one element of every type that the format knows."""

_LONGEST_HEADER = 100_000_000  # the reference implementation's limit
_FIRST_READ = 256 << 10  # more than nearly every header has; one request of what is far away
_MOST_TENSORS = 1 << 20
_LONGEST_NAME = 1 << 10
_MOST_DIMENSIONS = 16

_STRING = rb'"((?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+)"'
_OPEN, _CLOSE = re.compile(rb"\{[ \t\r\n]*+(\})?"), re.compile(rb"[ \t\r\n]*+\Z")
_KEY = re.compile(_STRING + rb"[ \t\r\n]*+:[ \t\r\n]*+")
_TEXT = re.compile(_STRING)
_NEXT = re.compile(rb"[ \t\r\n]*+([,}])[ \t\r\n]*+")
_LIST = rb"\[[ \t\r\n]*+((?:(?:0|[1-9][0-9]{0,18})[ \t\r\n]*+(?:,[ \t\r\n]*+(?=[0-9])|(?=\])))*+)\]"
_NUMBERS = re.compile(_LIST)
_USUAL = re.compile(  # a tensor as every writer spells it; any other spelling is read member by member
    rb'"((?!__metadata__")[^"\\\x00-\x1f]++)": ?\{"dtype": ?"([A-Z0-9_]++)", ?"shape": ?'
    + _LIST + rb', ?"data_offsets": ?' + _LIST + rb"\}")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: `shape` rows first, and its bytes in the file from `begin` up to `end`."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class SafetensorsHeader:
    """What a file says about itself, checked: its tensors fill it without holes.

    `header_bytes` is all that comes before the tensors, the length included.
    """

    path: Path
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    header_bytes: int
    size: int


def read_header(path: Path | str) -> SafetensorsHeader:
    """The checked header of a safetensors file. Raises Failure, and nothing else, whatever the file holds."""
    return read_header_from(LocalFile(path))


def read_header_from(access: Access) -> SafetensorsHeader:
    """The checked header of a safetensors file that is anywhere, in one read or two."""
    path, size = Path(access.name), access.size
    begin = access.read_at(0, min(size, _FIRST_READ))
    if len(begin) < 8:
        _refuse(path, "truncated", 0, "it is empty" if not begin else f"it ends after {len(begin)} bytes")
    length = int.from_bytes(begin[:8], "little")
    if begin[8:9] != b"{":
        _refuse(path, "first-byte", 8, _looks_like(begin))
    if length > _LONGEST_HEADER:
        _refuse(path, "header-length", 0, f"its header claims {length:,} bytes; the most is {_LONGEST_HEADER:,}")
    if length > size - 8:
        _refuse(path, "header-length", 0, f"its header claims {length:,} bytes and {size - 8:,} are left")
    text = begin[8:8 + length] if 8 + length <= len(begin) else access.read_at(8, length)
    if len(text) < length:
        _refuse(path, "changed", 8, "the file became shorter while it was read")
    parser = _Parser(path, text, size)
    parser.all()
    _presume_filled(path, parser.tensors, 8 + length, size)
    return SafetensorsHeader(path, parser.tensors, parser.metadata, 8 + length, size)


class _Parser:
    """A cursor over the header's text."""

    def __init__(self, path: Path, text: bytes, size: int) -> None:
        self.path, self.text, self.at = path, text, 0
        self.begin, self.size = 8 + len(text), size
        self.tensors: dict[str, TensorInfo] = {}
        self.metadata: dict[str, str] = {}

    def refuse(self, check: str, what: str, at: int | None = None) -> NoReturn:
        _refuse(self.path, check, 8 + (self.at if at is None else at), what)

    def match(self, pattern: re.Pattern[bytes], wanted: str) -> re.Match[bytes]:
        if (found := pattern.match(self.text, self.at)) is None:
            self.refuse("json", f"its header should go on with {wanted}")
        self.at = found.end()
        return found

    def decoded(self, raw: bytes, at: int) -> str:
        try:
            text = raw.decode()
            if b"\\" in raw:
                text = str(json.loads(f'"{text}"'))
                text.encode()  # a lone half of a surrogate pair is no text
            return text
        except UnicodeDecodeError as error:
            self.refuse("utf-8", "its header is not UTF-8", at + error.start)
        except ValueError:
            self.refuse("json", "a string in its header has a wrong escape", at)

    def key(self) -> tuple[str, int]:
        found = self.match(_KEY, "a name in quotes and a colon")
        return self.decoded(found[1], found.start(1)), found.start()

    def more(self) -> bool:
        """Does another member of this object follow?"""
        return self.match(_NEXT, "a comma or a closing brace")[1] == b","

    def all(self) -> None:
        more, metadata = self.match(_OPEN, "an opening brace")[1] is None, False
        while more:
            if (usual := _USUAL.match(self.text, self.at)) is not None:
                self.usual(usual)
                more = self.more()
                continue
            name, at = self.key()
            if name == "__metadata__":
                if metadata:
                    self.refuse("duplicate", "`__metadata__` occurs twice", at)
                self.strings()
                metadata = True
            else:
                self.name(name, at)
                self.tensors[name] = self.tensor(name, at)
            more = self.more()
        self.match(_CLOSE, "nothing but spaces")

    def usual(self, found: re.Match[bytes]) -> None:
        raw, dtype, shape, offsets = found.groups()
        name = self.decoded(raw, self.at + 1)
        self.name(name, self.at)
        self.tensors[name] = self.checked(name, self.at, dtype.decode(), _numbers(shape), _numbers(offsets))
        self.at = found.end()

    def name(self, name: str, at: int) -> None:
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            self.refuse("name", "a tensor has no name" if not name else
                        f"a tensor's name has {len(name):,} characters or some that can't be printed", at)
        if name in self.tensors:
            self.refuse("duplicate", f"there are two tensors `{name}`", at)
        if len(self.tensors) >= _MOST_TENSORS:
            self.refuse("tensor-count", f"it has more than {_MOST_TENSORS:,} tensors", at)

    def strings(self) -> None:
        more = self.match(_OPEN, "an object of strings")[1] is None
        while more:
            name, at = self.key()
            if name in self.metadata:
                self.refuse("duplicate", f"`{name[:80]}` occurs twice in its metadata", at)
            found = self.match(_TEXT, "a string in quotes")
            self.metadata[name] = self.decoded(found[1], found.start(1))
            more = self.more()

    def tensor(self, name: str, at: int) -> TensorInfo:
        dtype, said = "", dict[str, tuple[int, ...]]()
        more = self.match(_OPEN, f"what tensor `{name}` is")[1] is None
        while more:
            field, place = self.key()
            if field in said or (field == "dtype" and dtype):
                self.refuse("duplicate", f"tensor `{name}` says its `{field}` twice", place)
            if field == "dtype":
                dtype = self.decoded(self.match(_TEXT, "a type in quotes")[1], place)
            elif field in ("shape", "data_offsets"):
                said[field] = _numbers(self.match(_NUMBERS, "whole numbers in brackets")[1])
            else:
                self.refuse("field", f"tensor `{name}` has the unknown field `{field[:80]}`", place)
            more = self.more()
        if not dtype or len(said) != 2:
            self.refuse("field", f"tensor `{name}` lacks its type, shape or offsets", at)
        return self.checked(name, at, dtype, said["shape"], said["data_offsets"])

    def checked(self, name: str, at: int, dtype: str, shape: tuple[int, ...], offsets: tuple[int, ...]) -> TensorInfo:
        if (bits := BITS.get(dtype)) is None:
            self.refuse("dtype", f"tensor `{name}` has the unknown type `{dtype[:40]}`", at)
        if len(shape) > _MOST_DIMENSIONS or (elements := math.prod(shape)) >= 1 << 62:
            self.refuse("shape", f"tensor `{name}` has the impossible shape {list(shape[:8])}", at)
        if len(offsets) != 2 or offsets[0] > offsets[1]:
            self.refuse("offsets", f"tensor `{name}` has the impossible offsets {list(offsets[:4])}", at)
        if elements * bits % 8 or elements * bits // 8 != offsets[1] - offsets[0]:
            self.refuse("span", f"tensor `{name}` is {list(shape)} of {dtype}, which is not "
                                f"{offsets[1] - offsets[0]:,} bytes", at)
        return TensorInfo(dtype, shape, self.begin + offsets[0], self.begin + offsets[1])


def _numbers(raw: bytes) -> tuple[int, ...]:
    return tuple(map(int, raw.split(b","))) if raw else ()


def _presume_filled(path: Path, tensors: dict[str, TensorInfo], begin: int, size: int) -> None:
    """Raise Failure unless the tensors follow each other from `begin` to the file's end."""
    end, before = begin, "the header"
    for name, tensor in sorted(tensors.items(), key=lambda one: (one[1].begin, one[1].end)):
        if tensor.begin < end:
            _refuse(path, "overlap", tensor.begin, f"`{before}` and `{name}` overlap")
        if tensor.begin > end:
            _refuse(path, "hole", end, f"there are {tensor.begin - end:,} bytes between `{before}` and `{name}` that "
                                       f"belong to no tensor")
        end, before = tensor.end, name
    if end > size:
        _refuse(path, "truncated", size, f"the file ends after {size:,} of {end:,} bytes")
    if end < size:
        _refuse(path, "trailing", end, f"{size - end:,} bytes after the last tensor belong to none")


def _looks_like(begin: bytes) -> str:
    """What a file that is not safetensors seems to be."""
    if begin.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; the file itself was not downloaded"
    if begin.lstrip()[:1] == b"<":
        return "it is a web page"
    if begin[:4] == b"GGUF":
        return "it is a GGUF file"
    if begin[:2] == b"PK":
        return "it is a zip archive"
    if begin[:1] == b"\x80":
        return "it looks like a pickle"
    return "its header does not begin with a brace"


def _refuse(path: Path, check: str, offset: int, what: str) -> NoReturn:
    raise Failure("safetensors-invalid", f"{path.name} is not a usable safetensors file: {what} (at byte {offset})",
                  "download the file again; if that does not help, its maker has to repair it",
                  data={"path": str(path), "check": check, "offset": offset})
