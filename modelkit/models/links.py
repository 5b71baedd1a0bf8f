"""A file under a second name: a hard link, else a reflink, else a copy or a symbolic link."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file


def link(source: Path, target: Path, *, copy: bool = True) -> None:
    """Make `target`, which must not exist, with the content of `source`, without a second copy where that is possible.

    Where it is not, `copy` says whether to make one or to point at the first. Raises OSError when even that fails;
    `target` is then gone.
    """
    with suppress(OSError):  # another disk, a file of somebody else's, a file system without links
        target.hardlink_to(source.resolve())
        return
    try:
        if not _reflink(source, target):
            if not copy:
                target.unlink(missing_ok=True)
                target.symlink_to(source.resolve())
                return
            shutil.copyfile(source, target)
        target.chmod(0o444)
        sync(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _reflink(source: Path, target: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    with source.open("rb") as reading, target.open("xb") as writing:
        try:
            fcntl.ioctl(writing, _FICLONE, reading.fileno())
        except OSError:
            return False
    return True


def sync(path: Path) -> None:
    """Have a file's or a folder's content on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
