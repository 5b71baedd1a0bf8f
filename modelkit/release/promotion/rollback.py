"""Back to what ran before: a switch where it is still warm, else a start from what is on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelkit.failure import Failure
from modelkit.platforms.bundle import Bundle
from modelkit.release.promotion.choosing import Way
from modelkit.release.promotion.endpoint import Endpoint, Running
from modelkit.release.promotion.flow import Done, Mode, Story
from modelkit.release.promotion.journal import Intent, Journal
from modelkit.release.promotion.refusal import Refused
from modelkit.release.promotion.settling import settle
from modelkit.release.record import Gate, Records

_BEHIND = 1.0  # seconds after which what served drains, so that nobody waits for that


@dataclass
class Rollback:
    """One rollback. No gate is asked but `smoke`: that it answers is enough to go back to it."""

    way: Way
    reason: str
    endpoint: Endpoint
    smoke: Callable[[Running], Gate]
    story: Story
    journal: Journal
    records: Records
    mode: Mode = "side-by-side"
    drain: float = 30.0
    on_step: Callable[[str], None] = lambda _: None

    def run(self) -> Done:
        """Raises Failure when it does not start, Refused when it does not answer; what serves then stays, and what
        had to make room comes back."""
        bundle, before = self.way.bundle, self.endpoint.routed()
        old = self.endpoint.bundle(before.generation) if before else None
        self.journal.intend(Intent(None, bundle, old))
        started: int | None = None
        try:
            engine = self.endpoint.running(bundle)
            if engine is None:
                self.on_step(f"{bundle.plan.stage}: {bundle.plan.engine_name} starts as it was")
                self._make_room(before)
                engine = self.endpoint.start(bundle)
                started = engine.generation
            gate = self.smoke(engine)
            if gate.verdict != "pass":
                raise Refused(bundle.plan.stage, gate.verdict, (gate,))
            return self._switch(before, engine, gate, old)
        finally:
            self._undo(started)

    def _make_room(self, before: Running | None) -> None:
        if self.mode == "swap" and before is not None:
            self.endpoint.cool()
            self.endpoint.stop(before.generation, self.drain)

    def _switch(self, before: Running | None, engine: Running, gate: Gate, old: Bundle | None) -> Done:
        self.journal.intend(Intent(self.story("rollback", (gate,), self.reason), self.way.bundle, old))
        self.endpoint.switch(engine.generation, _BEHIND)
        written = settle(self.journal, self.records, self.endpoint)
        if written is None:
            raise Failure("switch-lost", "it has the address no more", hint="`modelkit ps` says what serves")
        return Done(engine.generation, written, (gate,), before)

    def _undo(self, started: int | None) -> None:
        try:
            routed = self.endpoint.routed()
            if started is not None and (routed is None or routed.generation != started) \
                    and self.endpoint.look(started) is not None:
                self.endpoint.stop(started, self.drain)
            settle(self.journal, self.records, self.endpoint)
        except Failure as failure:
            if failure.code not in ("supervisor-died", "going-down"):
                raise
