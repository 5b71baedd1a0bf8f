"""What is imported from, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelkit.exchange.losses import Loss
from modelkit.failure import Failure


@dataclass(frozen=True)
class Source:
    """A file's text, or the words of a command line. `folder` is where paths in it start from.

    `format` is what the user says that it is; `called` the model name that they want, "" for the source's own.
    """

    format: str
    name: str
    text: str
    folder: Path
    words: tuple[str, ...] = ()
    called: str = ""


@dataclass(frozen=True)
class Imported:
    """One model: its Modelfile, and what did not fit.

    `key` is what the source calls it, "" where it has no names. `problem` says why there is no Modelfile.
    """

    key: str
    modelfile: str | None
    losses: tuple[Loss, ...]
    problem: Failure | None = None
