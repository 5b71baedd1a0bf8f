"""Imports in one line, for tests."""

from __future__ import annotations

from pathlib import Path

from modelkit.exchange import read
from modelkit.exchange.losses import Loss
from modelkit.exchange.sources import Imported, Source
from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Severity
from modelkit.language.modelfile import Modelfile
from modelkit.language.source import Source as Text


def take(format: str, text: str, folder: Path = Path("/nowhere"), *, called: str = "") -> Imported:
    """The only model of a text."""
    (one,) = read(Source(format, "file", text, folder, (), called))
    return one


def body(imported: Imported) -> list[str]:
    """The instructions of a Modelfile, without comments and blank lines."""
    assert imported.modelfile is not None
    lines = (line.strip() for line in imported.modelfile.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def losses(imported: Imported, verdict: str = "lost") -> list[str]:
    return [loss.said for loss in imported.losses if loss.verdict == verdict]


def reason(imported: Imported, said: str) -> Loss:
    (found,) = [loss for loss in imported.losses if loss.said.startswith(said)]
    return found


def checked(imported: Imported) -> Modelfile:
    """The Modelfile's meaning: what is imported has no errors, and no warnings about its shape."""
    assert imported.modelfile is not None
    modelfile, found = compile_source(Text("Modelfile", imported.modelfile))
    assert modelfile is not None, [one.message for one in found]
    assert not [one for one in found if one.severity is Severity.ERROR]
    return modelfile
