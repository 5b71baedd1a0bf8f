"""Putting another text in place of a user's file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from modelkit.failure import Failure


def rewrite(path: Path, data: bytes) -> None:
    """Has the file hold these bytes: all of them, or what it held before. Its mode stays, and a link stays a link.

    Raises Failure when it cannot be written.
    """
    target = Path(os.path.realpath(path))
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.chmod(target.stat().st_mode & 0o7777)
            draft.replace(target)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise Failure("unwritable", f"{path} cannot be written: {(error.strerror or str(error)).lower()}",
                      "check the permissions of the file and its folder") from None
