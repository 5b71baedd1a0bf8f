"""Records for tests: a stage's story, one second an event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelkit.release.record import Record, Records, Subject, Written


def subject(ir: str = "1") -> Subject:
    """A version whose digest is made of one character."""
    return Subject.model_validate({
        "modelfile": "sha256:" + "a" * 64, "ir": "sha256:" + ir * 64, "lock": None,
        "artifacts": [{"id": "weights", "uri": "hf.co/a/b", "tree": "sha256:" + "b" * 64, "bytes": 1}],
        "engine": {"name": "vllm", "version": "0.32.0", "argv": "sha256:" + "c" * 64}})


class Story:
    """Writes events, each after the one before."""

    def __init__(self, folder: Path, stage: str = "prod", model: str = "bot") -> None:
        self.store = Records(folder / "Modelfile", model, stage)
        self.second = 0

    def tell(self, kind: str, ir: str | None = "1", **more: Any) -> Written:
        self.second += 1
        return self.store.append(Record.model_validate({
            "kind": kind, "model": self.store.model, "from": "dev", "to": self.store.stage,
            "subject": subject(ir) if ir else None, "gates": (), "git": None, "prev": self.store.head(),
            "actor": {"name": "Ada", "email": "ada@example.org", "source": "git"},
            "at": f"2026-01-01T00:00:{self.second:02d}Z", "tool": "modelkit test", **more}))
