"""`modelkit rollback`."""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.signing import key_of, signed
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.address import Address
    from modelkit.language.modelfile import Modelfile
    from modelkit.release.history import History
    from modelkit.release.promotion.choosing import Way
    from modelkit.release.promotion.flow import Done
    from modelkit.release.promotion.journal import Journal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Give the address back to what served before, and keep what served out; reads no network."""
    began = time.monotonic()
    if not arguments.reason.strip():
        raise Failure("usage", "`--reason` is empty", hint="say in some words why: it is what others will read")
    path, stage = _words(arguments)
    modelfile = project.load(path, Terminal(quiet=True, stderr=terminal.stderr), project.remembered(path))
    back = _Back(arguments, terminal, modelfile, path, stage or _serving(path) or "prod")
    return back.dry_run() if arguments.dry_run else back.run(began)


@dataclass
class _Back:
    """One rollback under this machine's supervisor."""

    arguments: Namespace
    terminal: Terminal
    modelfile: Modelfile
    path: Path
    stage: str

    def run(self, began: float) -> int:
        from modelkit.cli.address import Address
        from modelkit.cli.promoting import journal_of, room_for, settled
        from modelkit.release.promotion.rollback import Rollback
        from modelkit.release.promotion.smoke import smoke
        from modelkit.release.promotion.story import back_to

        key, journal = key_of(self.arguments), journal_of(self.path)
        with journal.alone("rollback"):
            bundle = self._way(journal).bundle
            with project.supervisor(self.path, bundle, self.terminal) as client:
                address = Address(client, self.path, self.terminal)
                history, _ = settled(self.path, bundle.plan, journal, address)
                before = address.routed()
                way = self._way(journal, history, address)
                warm = address.running(way.bundle) is not None
                found = room_for(self.arguments.mode, way.bundle, before, address)
                done = Rollback(way, self.arguments.reason.strip(), address,
                                lambda engine: smoke(way.bundle.plan, engine.socket, tokens=1),
                                back_to(self.path, history, way), journal, history.records, found.mode,
                                on_step=self.terminal.note).run()
                signed(done.record.path, key)
                self._say(done, way, address, warm=warm, seconds=time.monotonic() - began)
        return 0

    def dry_run(self) -> int:
        from modelkit.cli.promoting import journal_of

        way = self._way(journal_of(self.path))
        self.terminal.document(self._document("planned", way))
        self.terminal.data(f"stage {self.stage} would go back from {_short(way.live.id)} to {_short(way.entry.id)} "
                           f"of {way.entry.record.at}")
        return 0

    def _way(self, journal: Journal, history: History | None = None, address: Address | None = None) -> Way:
        """Where it goes; with an `address`, what really serves there counts."""
        from modelkit.models.store import Store
        from modelkit.planning.meaning import meaning
        from modelkit.release.history import all_of, read
        from modelkit.release.hold import standing
        from modelkit.release.promotion.choosing import way_back
        from modelkit.release.record import Records, now

        name = str(self.modelfile.name.value)
        found = history or read(Records(self.path, name, self.stage))
        kept_out = standing(found, now(), all_of(self.path, name)).kept_out
        serving = address.routed() if address else None
        ir = meaning(address.plan(serving.generation)) if address and serving and serving.stage == self.stage else None
        return way_back(found, self.arguments.to, journal, Store(),
                        kept_out=lambda one: one in kept_out, serving=ir)

    def _document(self, outcome: str, way: Way) -> dict[str, Any]:
        plan = way.bundle.plan
        return {"schema": "modelkit.rollback/1", "outcome": outcome, "stage": plan.stage, "model": plan.name,
                "engine": plan.engine_name, "from": way.live.id, "to": way.entry.id, "kept_out": way.out,
                "reason": self.arguments.reason.strip()}

    def _say(self, done: Done, way: Way, address: Address, *, warm: bool, seconds: float) -> None:
        plan = way.bundle.plan
        self.terminal.document(self._document("rolled back", way) | {
            "base_url": address.base_url, "warm": warm, "seconds": round(seconds, 3),
            "record": {"id": done.record.id, "path": str(done.record.path)}})
        how = "it was still warm" if warm else "started as it was"
        self.terminal.data(f"{plan.name} is served by stage {plan.stage} ({plan.engine_name}) as of "
                           f"{way.entry.record.at} again, after {seconds:.1f} s: {how}")
        self.terminal.data(f"  record   {done.record.path}")
        if way.out:
            self.terminal.data(f"  kept out version {way.out[7:19]}: `modelkit release {plan.stage} "
                               f"--version {way.out[7:19]} --reason …` lets it in again")


def _words(arguments: Namespace) -> tuple[Path, str | None]:
    """The Modelfile and the stage; a lone word that is a path and no name is a Modelfile."""
    word = arguments.stage
    if word and arguments.file is None and ("/" in word or word == "." or Path(word).is_file()):
        return project.find(word), None
    return project.find(arguments.file), word


def _serving(path: Path) -> str | None:
    """The stage that has the address now."""
    from modelkit.cli.address import Address
    from modelkit.runtime.client import connect

    if (client := connect(project.project_of(path))) is None:
        return None
    with client:
        found = Address(client, path, Terminal(quiet=True)).routed()
        return found.stage if found else None


def _short(record: str) -> str:
    return record.removeprefix("sha256:")[:8]
