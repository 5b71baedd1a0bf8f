"""The promotion itself: check, start beside, ask, try among real requests, switch, record.

The order is the promise. Until the address changes hands everything can be taken back, and is: by us, or, when we are
killed, by the supervisor and by the next command (`settle`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from modelkit.failure import Failure
from modelkit.platforms.bundle import Bundle
from modelkit.release.promotion.endpoint import Endpoint, Running
from modelkit.release.promotion.journal import Intent, Journal
from modelkit.release.promotion.judgement import Judgement, Limits
from modelkit.release.promotion.refusal import Refused
from modelkit.release.promotion.settling import settle
from modelkit.release.promotion.trial import Canary, Clock, Trial
from modelkit.release.record import Gate, Kind, Record, Records, Written
from modelkit.release.record import now as moment
from modelkit.release.verdict import Verdict

Mode = Literal["side-by-side", "swap"]


class Report(Protocol):
    """What gates found, and what follows for the promotion."""

    @property
    def gates(self) -> tuple[Gate, ...]: ...
    @property
    def verdict(self) -> Verdict: ...


class Checks(Protocol):
    """How a candidate is judged."""

    def files(self) -> Report:
        """The gates that need no engine."""

    def engines(self, source: Running | None, target: Running) -> Report:
        """Those that ask engines; `source` is None where there was no room for it."""

    def smoke(self, target: Running) -> Gate:
        """One real answer through the candidate."""


Story = Callable[[Kind, tuple[Gate, ...], str | None], Record]
"""The record of an event of this promotion: its kind, its gates, and why."""


@dataclass(frozen=True)
class Wanted:
    """What shall be done. Seconds: `keep_warm` for what served before, `shadow` of copied requests first, `drain` for
    requests in flight on a candidate that is given up."""

    source: Bundle
    target: Bundle
    mode: Mode = "side-by-side"
    keep_warm: float = 0.0
    shadow: float = 0.0
    canary: Canary | None = None
    limits: Limits = field(default_factory=Limits)
    drain: float = 30.0


@dataclass(frozen=True)
class Done:
    """It serves. `warm` says for how many seconds what served before can take over at once."""

    generation: int
    record: Written
    gates: tuple[Gate, ...]
    before: Running | None = None
    warm: float = 0.0


@dataclass
class Promotion:
    """One promotion, from the first check to the record."""

    wanted: Wanted
    endpoint: Endpoint
    checks: Checks
    story: Story
    journal: Journal
    records: Records
    overrides: tuple[str, ...] = ()  # gates whose failure somebody takes on themselves
    on_step: Callable[[str], None] = lambda _: None
    clock: Clock = field(default_factory=Clock)

    def run(self) -> Done:
        """Raises Refused when the candidate does not pass, Failure when an engine does not start; in both cases, and
        when this is interrupted, what served before serves."""
        self._started: list[int] = []
        self._gates: list[Gate] = []
        self._passed(self.checks.files())
        before = self.endpoint.routed()
        old = self.endpoint.bundle(before.generation) if before else None
        self.journal.intend(Intent(None, self.wanted.target, old))
        try:
            left, right = self._engines(before)
            self._passed(self.checks.engines(left, right), asked=True)
            self.on_step("smoke: one answer through the candidate")
            self._one(self.checks.smoke(right))
            if before is not None and before.generation != right.generation:
                self._try(before, right)
            return self._switch(before, right, old)
        finally:
            self._undo()

    def _engines(self, before: Running | None) -> tuple[Running | None, Running]:
        source, target = self.wanted.source, self.wanted.target
        if self.wanted.mode == "side-by-side" or before is None:
            return self._running(source), self._running(target)
        self.on_step(f"{before.stage}: drains and stops, to make room")
        self.endpoint.cool()
        self.endpoint.stop(before.generation, self.wanted.drain)
        return None, self._running(target)

    def _running(self, bundle: Bundle) -> Running:
        self.on_step(f"{bundle.plan.stage}: {bundle.plan.engine_name}")
        if (engine := self.endpoint.running(bundle)) is not None:
            return engine
        engine = self.endpoint.start(bundle)
        self._started.append(engine.generation)
        return engine

    def _try(self, before: Running, right: Running) -> None:
        wanted, began = self.wanted, moment()
        trial = Trial(self.endpoint, before, right, on_step=self.on_step, clock=self.clock)
        if wanted.shadow:
            self._one(_gate("shadow", trial.shadow(wanted.shadow, wanted.limits), began))
        if wanted.canary is not None:
            began = moment()
            self._one(_gate("canary", trial.canary(wanted.canary), began))

    def _passed(self, report: Report, *, asked: bool = False) -> None:
        self._gates += report.gates
        if report.verdict != "pass":
            self._refuse(report.verdict, asked)

    def _one(self, gate: Gate) -> None:
        self._gates.append(gate)
        if gate.verdict != "pass" and not (gate.id in self.overrides and gate.verdict in ("fail", "inconclusive")):
            self._refuse(gate.verdict, asked=True)

    def _refuse(self, verdict: Verdict, asked: bool) -> None:
        """Say no. What engines were asked for belongs to the story, so it is recorded; a broken check does not."""
        record = None
        if asked and verdict != "error":
            record = self.records.append(self.story("refuse", tuple(self._gates), None))
        raise Refused(self.wanted.target.plan.stage, verdict, self._gates, self.overrides, record)

    def _switch(self, before: Running | None, right: Running, old: Bundle | None) -> Done:
        self.on_step("switch")
        gates = tuple(self._gates)
        self.journal.intend(Intent(self.story("promote", gates, None), self.wanted.target, old))
        self.endpoint.switch(right.generation, self.wanted.keep_warm)
        written = settle(self.journal, self.records, self.endpoint)
        if written is None:
            raise Failure("switch-lost", "the candidate has the address no more", hint="`modelkit ps` says what serves")
        if before is None or before.generation == right.generation:
            return Done(right.generation, written, gates)
        warm = self.wanted.keep_warm if self.wanted.mode == "side-by-side" else 0.0
        return Done(right.generation, written, gates, before, warm)

    def _undo(self) -> None:
        """Whatever happened: what was started and does not serve is stopped, something serves, the story is whole."""
        try:
            routed = self.endpoint.routed()
            for generation in self._started:
                if (routed is None or generation != routed.generation) and self.endpoint.look(generation) is not None:
                    self.endpoint.stop(generation, self.wanted.drain)
            settle(self.journal, self.records, self.endpoint)
        except Failure as failure:
            if failure.code not in ("supervisor-died", "going-down"):
                raise  # else the next command finds the journal as it is, and brings back what served


def _gate(name: str, judged: Judgement, began: str) -> Gate:
    return Gate(id=name, kind=name, verdict=judged.verdict, observed={"why": judged.reason, **judged.observed},
                started=began, ended=moment())
