"""What a Modelfile's meaning depends on beside its own text: values for its ARGs, and the files that it names.

Compiling is pure: whoever compiles a file hands these in.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modelkit.language.source import Source

LARGEST = 1 << 20
"""Bytes of a SYSTEMFILE or TEMPLATEFILE at most."""

Reader = Callable[[str], str]


class UnreadableFile(Exception):
    """A file that the Modelfile names has no text to give. The message says why, after the file's name."""


@dataclass(frozen=True)
class Outside:
    """`read` gives the text of a path as the Modelfile writes it, or raises UnreadableFile; None reads nothing."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    read: Reader | None = None


NOTHING = Outside()


def outside_of(path: Path, arguments: Mapping[str, str] | None = None) -> Outside:
    """That of the Modelfile at a path: the files it names are relative to its folder."""
    return Outside(dict(arguments or {}), partial(read_text, path.parent))


def read_text(folder: Path, name: str) -> str:
    """The text of an ordinary file, decoded as Ollama decodes a Modelfile, its one last line end left out.

    Raises UnreadableFile when there is none, or it is larger than `LARGEST`.
    """
    try:
        # Not blocking: a pipe would keep us waiting for a writer.
        descriptor = os.open(folder / Path(name).expanduser(), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFile("is not an ordinary file")
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise UnreadableFile("is not an ordinary file") from None
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableFile(f"cannot be read: {why.lower()}") from None
    if len(data) > LARGEST:
        raise UnreadableFile("is larger than 1 MiB")
    text = Source.decode(name, data).text
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
