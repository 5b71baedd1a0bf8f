"""`modelkit promote`."""

from __future__ import annotations

import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.signing import key_of, signed
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.address import Address
    from modelkit.language.modelfile import Modelfile
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.gates import GateReport
    from modelkit.release.promotion.endpoint import Running
    from modelkit.release.promotion.flow import Done
    from modelkit.release.promotion.room import Room
    from modelkit.release.record import Gate, Override

_OURS = ("canary", "shadow")
"""Gates that only a promotion has: they are not among those of the stage."""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Judge the candidate, then give it the address; 1 when a gate refuses it, 2 when one broke, 8 when one could not
    decide."""
    if arguments.source == arguments.target:
        raise Failure("usage", f"stage `{arguments.source}` cannot be promoted to itself")
    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    key_of(arguments)
    overrides = _overrides(arguments, path)
    stages = Stages(modelfile, arguments)
    if arguments.render or arguments.output:
        from modelkit.cli import gitops

        return gitops.render(stages, arguments, overrides, terminal)
    if arguments.dry_run:
        return _dry_run(stages, arguments, terminal)
    with terminal.progress() as progress:
        source, target = stages.prepare((arguments.source, arguments.target), progress, terminal)
    project.say_losses(target.plan, terminal)
    with project.supervisor(path, target, terminal) as client:
        from modelkit.cli.address import Address

        return _Promoting(arguments, terminal, stages, source, target, overrides, Address(client, path, terminal)).run()


@dataclass
class _Promoting:
    """One promotion under this machine's supervisor."""

    arguments: Namespace
    terminal: Terminal
    stages: Stages
    source: Bundle
    target: Bundle
    overrides: tuple[Override, ...]
    address: Address

    def run(self) -> int:
        from modelkit.cli.promoting import journal_of, settled
        from modelkit.release.hold import presume_free
        from modelkit.release.promotion.refusal import Refused
        from modelkit.release.promotion.subject import subject
        from modelkit.release.record import now

        self.journal = journal_of(self.path)
        with self.journal.alone("promote"):
            self.history, others = settled(self.path, self.target.plan, self.journal, self.address)
            self.subject = subject(self.modelfile, self.target)
            presume_free(self.history, self.subject, now(), others)
            before = self.address.routed()
            live = self.history.live
            if before is not None and before.bundle_digest == self.target.digest and live is not None \
                    and live.record.subject is not None and live.record.subject.ir == self.subject.ir:
                return self._unchanged(live.id, live.path)
            found = self._room(before)
            self._ask(found)
            key = key_of(self.arguments)
            try:
                done = self._promotion(found).run()
            except Refused as refused:
                if refused.record is not None:
                    signed(refused.record.path, key)
                raise
            signed(done.record.path, key)
            self._say(done, found)
        return 0

    @property
    def modelfile(self) -> Modelfile:
        return self.stages.modelfile

    @property
    def path(self) -> Path:
        return Path(self.modelfile.path)

    def _promotion(self, found: Room) -> Any:
        from modelkit.release.promotion.flow import Promotion, Wanted
        from modelkit.release.promotion.judgement import Limits
        from modelkit.release.promotion.story import Teller
        from modelkit.release.promotion.trial import Canary

        said = self.arguments
        limits = Limits(said.min_requests, said.max_ratio)
        canary = Canary(said.canary, said.each, limits) if said.canary else None
        wanted = Wanted(self.source, self.target, found.mode, said.keep_warm, said.shadow, canary, limits)
        teller = Teller(self.path, self.history, self.subject, said.source, self.overrides, said.reason)
        ours = tuple(one.gate for one in self.overrides if one.gate in _OURS)
        return Promotion(wanted, self.address, self, teller, self.journal, self.history.records, ours,
                         self.terminal.note)

    def files(self) -> GateReport:
        return self._judged("files", {})

    def engines(self, source: Running | None, target: Running) -> GateReport:
        sockets = {self.arguments.source: source.socket} if source else {}
        return self._judged("engines", sockets | {self.arguments.target: target.socket})

    def smoke(self, target: Running) -> Gate:
        from modelkit.release.promotion.smoke import smoke

        return smoke(self.target.plan, target.socket)

    def _judged(self, phase: Any, sockets: dict[str, str]) -> GateReport:
        from modelkit.cli.gating import context_of
        from modelkit.release.gates import run_gates

        theirs = tuple(one for one in self.overrides if one.gate not in _OURS)
        context = context_of(self.stages, self.source, self.target, sockets=sockets, overrides=theirs,
                             fresh=self.arguments.fresh, terminal=self.terminal)
        return run_gates(context, phases=(phase,))

    def _room(self, before: Running | None) -> Room:
        from modelkit.cli.fit.fitting import needed
        from modelkit.cli.promoting import room_for

        return room_for(self.arguments.mode, self.target, before, self.address,
                        needed(self.stages, self.arguments.target))

    def _ask(self, found: Room) -> None:
        """On a terminal, show what will happen and ask. Elsewhere who calls it has decided."""
        asked = not self.arguments.yes and sys.stdin.isatty() and self.terminal.stderr.isatty()
        if asked and not self.terminal.as_json:
            from modelkit.cli import changing

            changing.say(changing.changes_of(self.stages, self.arguments.target, verb="promote", mode=found.mode,
                                             keep_warm=self.arguments.keep_warm), self.terminal)
        self.terminal.note(said_of(found))
        if asked:
            print("Begin? [y/N] ", end="", file=self.terminal.stderr, flush=True)
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                raise Failure("not-confirmed", "nothing was changed", exit_code=1)

    def _unchanged(self, record: str, path: Path) -> int:
        plan = self.target.plan
        self.terminal.document(self._document("unchanged", record, path) | {"gates": []})
        self.terminal.data(f"{plan.name} is served by stage {plan.stage} already, as promoted in {record[7:15]}")
        return 0

    def _document(self, outcome: str, record: str, path: Path) -> dict[str, Any]:
        plan = self.target.plan
        return {"schema": "modelkit.promoted/1", "outcome": outcome, "stage": plan.stage, "model": plan.name,
                "engine": plan.engine_name, "base_url": self.address.base_url,
                "record": {"id": record, "path": str(path)}}

    def _say(self, done: Done, found: Room) -> None:
        from modelkit.cli.promoting import say_gates

        plan = self.target.plan
        self.terminal.document(self._document("promoted", done.record.id, done.record.path) | {
            "mode": found.mode, "keep_warm": done.warm, "gates": [one.model_dump(mode="json") for one in done.gates]})
        self.terminal.data(f"{plan.name} is served by stage {plan.stage} ({plan.engine_name}) at "
                           f"{self.address.base_url}")
        say_gates(done.gates, self.terminal)
        self.terminal.data(f"  record   {done.record.path}")
        if back := self._back(done):
            self.terminal.data(f"  back     {back}")

    def _back(self, done: Done) -> str | None:
        """The command that undoes it, if there is one."""
        stage, live = self.target.plan.stage, self.history.live
        before = done.before.stage if done.before is not None else None
        soon = f"at once for {done.warm:g} s" if done.warm else "it starts anew"
        if live is not None and live.record.subject is not None and live.record.subject.ir != self.subject.ir:
            return f"modelkit rollback {stage} --reason …   ({soon if before == stage else 'it starts anew'})"
        return f"modelkit promote {stage} {before}   ({soon})" if before not in (None, stage) else None


def said_of(found: Room) -> str:
    """How the candidate comes, for people."""
    if found.mode == "side-by-side":
        return f"side by side: {found.why}"
    known = f"about {found.downtime:.0f} s" if found.downtime else "as long as it takes to start"
    return f"swap: {found.why}; requests wait meanwhile, {known} and the gates"


def _dry_run(stages: Stages, arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.cli import changing
    from modelkit.cli.promoting import dry_room
    from modelkit.release.gates import asked

    found = dry_room(arguments, stages)
    changes = changing.changes_of(stages, arguments.target, verb="promote", mode=found.mode,
                                  keep_warm=arguments.keep_warm)
    wanted = asked(stages.modelfile, arguments.target)
    extra = [name for name, said in (("shadow", arguments.shadow), ("canary", arguments.canary)) if said]
    terminal.document({**changes.model_dump(mode="json", by_alias=True), "promotion": {
        "from": arguments.source, "to": arguments.target, "mode": found.mode, "why": found.why,
        "downtime": found.downtime, "keep_warm": arguments.keep_warm,
        "gates": [*({"id": one.id, "kind": one.kind, "required": one.required, "threshold": one.threshold}
                    for one in wanted), *({"id": one, "kind": one, "required": True, "threshold": None}
                                          for one in ("smoke", *extra))]}})
    changing.say(changes, terminal)
    terminal.data(said_of(found))
    terminal.data("gates: " + ", ".join([*(one.id if one.required else f"{one.id} (advisory)" for one in wanted),
                                         "smoke", *extra]))
    return 0


def _overrides(arguments: Namespace, path: Path) -> tuple[Override, ...]:
    """What `--override` says. Raises Failure where why or until when is missing, or is over."""
    from modelkit.cli.gating import overrides_of
    from modelkit.release.identity import actor_and_git
    from modelkit.release.record import now

    if arguments.until and not arguments.override:
        raise Failure("usage", "`--until` goes with `--override`")
    if not arguments.override:
        return ()
    found = overrides_of(arguments, actor_and_git(path.resolve().parent)[0])
    if found[0].expires <= now():
        raise Failure("usage", f"`--until {arguments.until}` is over", hint="name a day that is to come")
    return found
