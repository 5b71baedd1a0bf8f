"""The files of a layer that is a tar archive, taken out so that nothing leaves the model or fills the machine.

Stricter than `tarfile`'s own data filter: regular files and folders only, no links at all, each name once, everything
checked before the first byte is taken out.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from modelkit.failure import Failure
from modelkit.models.artifact import Piece, presume_inside
from modelkit.models.sources.layouts import Archive, left_out, presume_distinct, role_of
from modelkit.models.sources.manifests import broken
from modelkit.models.store import Progress, Store

_MOST_FILES = 4096
_LONGEST_READ = 4 << 20  # bytes: what tarfile reads at once of a header is in memory at once
_MOST_GROWTH = 200  # times its size that a compressed layer may have: weights and vocabularies compress far less
_BLOCK = 1 << 20


def unpack(archive: Archive, where: str, store: Store, on_progress: Progress) -> tuple[list[Piece], list[str]]:
    """Have the files of a layer that is in the store there as well: they, and the digests that are new there.

    Raises Failure, with none of them kept.
    """
    layer, blob = archive.layer, store.blob(archive.layer.digest)
    with store.workspace(f"unpack {layer.digest}", lambda: on_progress(0, None, "waiting for another unpack")) as work:
        plain = blob
        if archive.packed == "tar+gzip":
            plain = work / "layer.tar"
            _decompress(blob, plain, where, store)
        with plain.open("rb") as file, _archive_trouble(where), tarfile.open(fileobj=_bounded(file), mode="r:") as tar:
            members = _checked(tar, where)
            total = sum(member.size for member in members)
            store.need_space(total, f"unpacking {where}")
            pieces = []
            for member in members:
                content = tar.extractfile(member)
                assert content is not None
                pieces.append(_take_out(content, member, work, on_progress))
        new = [digest for digest in dict.fromkeys(piece.digest for piece in pieces)
               if not store.intact(store.blob(digest), digest)]
        for digest in new:
            store.add(work / digest, digest)
    return pieces, new


def _take_out(content: IO[bytes], member: tarfile.TarInfo, work: Path, on_progress: Progress) -> Piece:
    path = _path(member)
    sha256, done, target = hashlib.sha256(), 0, work / "member"
    with target.open("wb") as file:
        while block := content.read(_BLOCK):
            sha256.update(block)
            file.write(block)
            done += len(block)
            on_progress(done, member.size, f"unpacking {path.rpartition('/')[2]}")
    if done != member.size:
        raise tarfile.ReadError("it ends in the middle of a file")
    digest = f"sha256:{sha256.hexdigest()}"
    target.rename(work / digest)
    return Piece(path, digest, done, role_of(path))


def _checked(tar: tarfile.TarFile, where: str) -> list[tarfile.TarInfo]:
    """The files that are wanted. Raises Failure when there is anything that a model does not need."""
    files: list[tarfile.TarInfo] = []
    for count, member in enumerate(tar, 1):
        if count > _MOST_FILES:
            broken(where, f"a layer of it holds more than {_MOST_FILES} files")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            kind = "a link" if member.issym() or member.islnk() else "neither a file nor a folder"
            raise Failure("path-escapes", f"`{_shown(member.name)}` in a layer of {where} is {kind}",
                          "the place it came from is broken or hostile; don't use it")
        presume_inside(_path(member))
        files.append(member)
    presume_distinct((Piece(_path(one), "sha256:" + "0" * 64, one.size) for one in files), where)
    return [member for member in files if not left_out(_path(member))]


def _path(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def _decompress(blob: Path, target: Path, where: str, store: Store) -> None:
    most = blob.stat().st_size * _MOST_GROWTH + _BLOCK
    with _archive_trouble(where), gzip.open(blob) as packed, target.open("wb") as file:
        while block := packed.read(_BLOCK):
            if file.tell() + len(block) > most:
                broken(where, f"a layer of it grows to more than {_MOST_GROWTH} times its size")
            if file.tell() % (64 * _BLOCK) < len(block):
                store.need_space(64 * _BLOCK, f"unpacking {where}")
            file.write(block)


class _Bounded:
    """A file of which no more is read at once than fits in memory with ease."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise tarfile.ReadError("a header in it is larger than any name needs")
        return self._file.read(size)


def _bounded(file: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, _Bounded(file))  # what tarfile uses of it


@contextmanager
def _archive_trouble(where: str) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ArithmeticError, ValueError,
            RecursionError) as error:
        reason = str(error) if isinstance(error, tarfile.TarError) else "it is damaged"
        broken(where, f"a layer of it can't be unpacked: {_shown(reason)}")


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:80])

