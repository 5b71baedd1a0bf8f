"""What a file is, by its content: only what modelkit has to tell apart, and never by its name."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Literal

from modelkit.models.formats.access import Access
from modelkit.models.formats.pickles import is_pickle

Danger = Literal["pickle", "archive", "code"]

_HEAD = 4096
_MAGICS: tuple[tuple[bytes, Danger, str], ...] = (
    (b"PK\x03\x04", "pickle", "a zip archive, as `torch.save` writes it"), (b"PK\x05\x06", "archive", "a zip archive"),
    (b"PK\x07\x08", "archive", "a zip archive"), (b"7z\xbc\xaf\x27\x1c", "archive", "a 7z archive"),
    (b"Rar!\x1a\x07", "archive", "a RAR archive"), (b"\xfd7zXZ\x00", "archive", "xz-compressed"),
    (b"\x1f\x8b\x08", "archive", "gzip-compressed"), (b"\x28\xb5\x2f\xfd", "archive", "zstd-compressed"),
    (b"\x04\x22\x4d\x18", "archive", "lz4-compressed"), (b"\x89LZO\x00\r\n\x1a\n", "archive", "lzo-compressed"),
    (b"\x7fELF", "code", "a program (ELF)"), (b"\x00asm", "code", "a program (WebAssembly)"),
    (b"dex\n", "code", "a program (Dalvik)"), (b"!<arch>\n", "code", "a library of programs"),
    *((magic, "code", "a program (Mach-O)") for magic in (
        b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")),
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_SCRIPT = re.compile(rb"(?:\xef\xbb\xbf)?#![ \t]*/")
_BYTECODE = re.compile(rb"[\x00-\xff][\x0a-\x0f]\r\n[\x00-\x03]\0\0\0", re.DOTALL)  # Python 3.7 and later
_BZIP2 = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that has no place in a model. `what` completes "it is …"."""

    danger: Danger
    what: str


def danger_in(access: Access) -> Finding | None:
    """What makes this file one that must not come with a model, None if nothing does."""
    head = access.read_at(0, _HEAD)
    for magic, danger, what in _MAGICS:
        if head.startswith(magic):
            return Finding(danger, what)
    return _container(head, access) or _program(head, access) or _numpy(head) or (
        Finding("pickle", "a pickle") if is_pickle(access) else None)


def _container(head: bytes, access: Access) -> Finding | None:
    if any(access.read_at(offset, 8) == _HDF5 for offset in (0, 512, 1024, 2048)):  # a user's block may come first
        return Finding("pickle", "HDF5, as Keras writes it with code inside")
    if head[257:265] in (b"ustar\x0000", b"ustar  \0") or _is_old_tar(head):
        return Finding("archive", "a tar archive")
    if _BZIP2.match(head):
        return Finding("archive", "bzip2-compressed")
    if head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda") and _inflates(head):
        return Finding("archive", "zlib-compressed, as joblib writes it")
    return None


def _program(head: bytes, access: Access) -> Finding | None:
    if _SCRIPT.match(head):
        return Finding("code", "a script")
    if head[:2] == b"MZ" and len(head) >= 64:
        place = int.from_bytes(head[60:64], "little")
        if access.read_at(place, 4) == b"PE\0\0" or b"\0" in head[2:64]:
            return Finding("code", "a program (Windows)")
    if _BYTECODE.match(head):
        return Finding("code", "a program (Python bytecode)")
    return None


def _numpy(head: bytes) -> Finding | None:
    """Arrays of numbers are data; arrays of objects are pickles. The header says which."""
    if not head.startswith(b"\x93NUMPY"):
        return None
    width = 2 if head[6:7] == b"\x01" else 4
    begin = 8 + width
    text = head[begin:begin + int.from_bytes(head[8:begin], "little")]
    descr = re.search(rb"""['"]descr['"]\s*:\s*['"][<>|=]?[biufcSUVmM][0-9]""", text)
    return None if descr else Finding("pickle", "a numpy array of objects")


def _inflates(head: bytes) -> bool:
    try:
        return bool(zlib.decompressobj().decompress(head, 1 << 16))
    except zlib.error:
        return False


def _is_old_tar(head: bytes) -> bool:
    """A tar header from before `ustar`: its sum is that of its own bytes, the sum itself read as spaces."""
    if len(head) < 512 or not re.fullmatch(rb"[ 0]*[0-7]{1,6}[\0 ]{1,2}", head[148:156]):
        return False
    said = int(head[148:156].strip(b" \0") or b"0", 8)
    return said == sum(head[:148]) + 8 * 32 + sum(head[156:512])
