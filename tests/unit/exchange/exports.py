"""Exports in one line, for tests."""

from __future__ import annotations

from modelkit.exchange import write
from modelkit.exchange.subjects import Exported, Subject
from modelkit.language.check import compile_source
from modelkit.language.source import Source


def subject(text: str, stage: str, path: str = "/srv/project/Modelfile") -> Subject:
    modelfile, found = compile_source(Source(path, text))
    assert modelfile is not None, [one.message for one in found]
    return Subject(modelfile, stage)


def give(format: str, text: str, stage: str = "dev") -> Exported:
    """A stage of a Modelfile in another program's file."""
    return write(format, [subject(text, stage)])


def lost(exported: Exported, verdict: str = "lost") -> list[str]:
    return [loss.said for loss in exported.losses if loss.verdict == verdict]
