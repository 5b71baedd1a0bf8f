"""The files that a command reads as they are: their bytes, standard input among them."""

from __future__ import annotations

import sys
from pathlib import Path

from modelkit.cli import project
from modelkit.failure import Failure

STDIN = "-"
LARGEST = 4 * 1024 * 1024


def inputs(words: list[str], command: str) -> list[Path | None]:
    """The Modelfiles that the words name, each once; None is standard input. Raises Failure for `-` beside others."""
    if words == [STDIN]:
        return [None]
    if STDIN in words:
        raise Failure("usage", "`-` stands alone: there is one standard input", f"modelkit {command} - < Modelfile")
    return [*project.all_of(words)]


def name_of(path: Path | None) -> str:
    """What a file is called in messages."""
    return str(path) if path is not None else "<stdin>"


def read(path: Path | None) -> bytes:
    """The bytes of a file, or of standard input. Raises Failure when it cannot be read, or is no Modelfile by size."""
    try:
        if path is None:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
    except OSError as error:
        raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > LARGEST:
        raise Failure("too-large", f"{name_of(path)} is larger than 4 MiB", hint="is it a Modelfile?")
    return data
