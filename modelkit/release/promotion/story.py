"""The records of one promotion or rollback: what served, what shall, who, from which commit, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import modelkit
from modelkit.release import record as records
from modelkit.release.history import History
from modelkit.release.identity import actor_and_git
from modelkit.release.promotion.choosing import Way
from modelkit.release.record import Gate, Kind, Override, Record, Subject

TOOL = f"modelkit {modelkit.__version__}"


@dataclass
class Teller:
    """Tells what happens to a stage. `candidate` is what shall serve, `source` the stage that it comes from;
    `overrides` are added as gates come to rest on them."""

    modelfile: Path
    history: History
    candidate: Subject
    source: str
    overrides: Sequence[Override] = ()
    reason: str | None = None
    out: str | None = None  # the version that a rollback keeps out

    def __call__(self, kind: Kind, gates: tuple[Gate, ...], reason: str | None) -> Record:
        """The record of an event now. A refused candidate leaves what serves; it is named by what it means."""
        store, live = self.history.records, self.history.live
        serving = live.record.subject if live else None
        actor, git = actor_and_git(self.modelfile.resolve().parent)
        refused, about = kind == "refuse", {"refuse": self.candidate.ir, "rollback": self.out}.get(kind)
        return Record.model_validate({
            "kind": kind, "model": store.model, "from": self.source, "to": store.stage,
            "subject": serving if refused else self.candidate, "gates": gates,
            "overrides": () if refused else self._rested_on(gates), "reason": reason or self.reason,
            "about": about, "actor": actor, "git": git, "prev": store.head(), "at": records.now(), "tool": TOOL})

    def _rested_on(self, gates: tuple[Gate, ...]) -> tuple[Override, ...]:
        bad = {one.id for one in gates if one.verdict in ("fail", "inconclusive", "skipped")}
        return tuple(one for one in self.overrides if one.gate in bad)


def back_to(modelfile: Path, history: History, way: Way) -> Teller:
    """The teller of a rollback to the subject of an earlier record."""
    subject = way.entry.record.subject
    assert subject is not None, "promotions and rollbacks have one"
    return Teller(modelfile, history, subject, history.records.stage, out=way.out)
