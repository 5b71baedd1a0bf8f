"""What the gates of a promotion are told: functions over the files, the supervisor and the engines of both stages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import policies, project
from modelkit.failure import Failure

if TYPE_CHECKING:
    from argparse import Namespace

    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.language.modelfile import Modelfile
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.bench.result import BenchResult
    from modelkit.release.client import Target
    from modelkit.release.gates import GateContext, Measures, Soaked
    from modelkit.release.identity import Actor
    from modelkit.release.parity import ParityReport
    from modelkit.release.record import Override
    from modelkit.release.testing import TestReport

_CLIENTS = 4  # of the load that latencies are measured under, where the stage answers so many at once
_REQUESTS = 100


def context_of(stages: Stages, source: Bundle, target: Bundle, *, sockets: Mapping[str, str], terminal: Terminal,
               overrides: tuple[Override, ...] = (), fresh: bool = False, max_age: float | None = None,
               ) -> GateContext:
    """What the gates from one stage to another are told. `sockets` has the engine's of each stage that runs; a gate
    that asks one of the others is skipped."""
    from modelkit.release import history
    from modelkit.release.gates import GateContext
    from modelkit.release.identity import actor_and_git, authors
    from modelkit.release.promotion.subject import subject
    from modelkit.release.record import Records
    from modelkit.release.signature import signers
    from modelkit.release.verification import verify

    path = Path(stages.modelfile.path)
    told = history.read(Records(path, target.plan.name, target.plan.stage))
    allowed = signers(told.records.root)
    actor, _ = actor_and_git(path.resolve().parent)
    return GateContext(
        modelfile=stages.modelfile, source=source.plan.stage, target=target.plan.stage,
        subject=subject(stages.modelfile, target), history=told, actor=actor,
        measures=_Measuring(stages, source, target, sockets, terminal).measures(),
        overrides=overrides, authors=authors(path), fresh=fresh, max_age=max_age,
        signers=frozenset(verify(told, allowed).signed) if allowed else None, on_step=terminal.note)


def overrides_of(arguments: Namespace, actor: Actor) -> tuple[Override, ...]:
    """What `--override`, `--reason` and `--until` say. Raises Failure when one of them is missing."""
    from modelkit.release.history import instant
    from modelkit.release.record import Override

    names: Sequence[str] = tuple(dict.fromkeys(arguments.override or ()))
    if not names:
        return ()
    for word in ("reason", "until"):
        if not (getattr(arguments, word) or "").strip():
            raise Failure("usage", f"`--override` needs `--{word}`", hint="an override says who, why and until when: "
                          '--override ttft.p95 --reason "…" --until 2026-12-01')
    until = instant(arguments.until, end=True)
    who = f"{actor.name} <{actor.email}>" if actor.email else actor.name
    return tuple(Override(gate=name, reason=arguments.reason.strip(), actor=who, expires=until) for name in names)


class _Measuring:
    """The measures of one promotion. A load is put on the candidate once, whatever asks for it."""

    def __init__(self, stages: Stages, source: Bundle, target: Bundle, sockets: Mapping[str, str],
                 terminal: Terminal) -> None:
        self._stages, self._terminal = stages, terminal
        self._source, self._target = source.plan, target.plan
        self._bundle = source
        self._from, self._to = sockets.get(source.plan.stage), sockets.get(target.plan.stage)

    def measures(self) -> Measures:
        from modelkit.release.gates import Measures

        ready, both = self._to is not None, self._to is not None and self._from is not None
        return Measures(
            lint=self._lint, lock=self._lock, supply=self._supply, lost=self._lost, soaked=self._soaked,
            memory=self._memory if ready else None,
            parity=self._parity if both else None, tests=self._tests if ready else None,
            bench=cache(self._bench) if ready else None,
            absent=self._absent(), asked=self._asked())

    def _absent(self) -> dict[str, str]:
        idle = [plan.stage for plan, socket in ((self._source, self._from), (self._target, self._to)) if not socket]
        why = f"stage `{self._target.stage}` does not run here"
        pair = " and ".join(f"`{one}`" for one in idle)
        return {"fit": why, "tests": why, "slo": why, "eval": why if not self._to else "evaluations are not asked yet",
                "parity": f"{'stages' if len(idle) > 1 else 'stage'} {pair} {'do' if len(idle) > 1 else 'does'} "
                          "not run here"}

    def _asked(self) -> dict[str, str]:
        """Digests of the questions: evidence for others is none. Times count on the machine that they were taken on."""
        from modelkit.models.digests import digest
        from modelkit.planning.meaning import meaning
        from modelkit.release.parity import own_conversations, shipped_conversations
        from modelkit.release.record import runner

        talks = [repr(one) for one in (*shipped_conversations(), *own_conversations(self._modelfile))]
        return {"parity": digest([meaning(self._source), talks]),
                "tests": digest([repr(one) for one in self._cases()]),
                "slo": digest([runner("")["host_fp"], self._clients(), [one.text for one in self._limits()]])}

    @property
    def _modelfile(self) -> Modelfile:
        return self._stages.modelfile

    def _lint(self) -> list[str]:
        checked = project.read(Path(self._modelfile.path), self._target.arguments)
        return [f"{one.rule.id}: {one.message}" for one in checked.diagnostics if one.severity.value == "error"]

    def _lock(self) -> str | None:
        return self._stages.stale(self._target.stage, self._stages.look(self._target.stage))

    def _supply(self) -> dict[str, str | None]:
        found = self._stages.look(self._target.stage)
        offences = policies.offences(self._modelfile, self._target, found)
        return {name: failure.message if failure else None for name, failure in offences.items()}

    def _lost(self) -> list[str]:
        from modelkit import platforms

        return [f"{item.setting}: {item.reason}" for item in platforms.lower(self._target) if item.verdict == "lost"]

    def _soaked(self) -> Soaked | None:
        """By the records of the stage before, where it was promoted itself; else by its engine here."""
        from datetime import UTC, datetime

        from modelkit.release import history
        from modelkit.release.gates import Soaked
        from modelkit.release.promotion.subject import subject
        from modelkit.release.record import Records

        here = self._running()
        live = history.read(Records(Path(self._modelfile.path), self._source.name, self._source.stage)).live
        restarts = int(here["restarts"]) if here else 0
        if live is not None:
            if live.record.subject is None or live.record.subject.ir != subject(self._modelfile, self._bundle).ir:
                return None
            since = history.moment(live.record.at)
            return Soaked((datetime.now(UTC) - since).total_seconds(), restarts, live.record.at)
        return Soaked(float(here["uptime"]), restarts) if here else None

    def _running(self) -> dict[str, Any] | None:
        """The engine of the stage before, as it is now, under this project's supervisor."""
        from modelkit.runtime.client import connect

        client = connect(project.project_of(Path(self._modelfile.path)))
        if client is None:
            return None
        with client:
            found = [one for one in client.status()["generations"]
                     if one["digest"] == self._bundle.digest and one["phase"] == "ready"]
        return max(found, key=lambda one: float(one["uptime"]), default=None)

    def _memory(self) -> float | None:
        """What the candidate's processes have now; that of a GPU is not known here."""
        from modelkit.runtime.client import connect

        client = connect(project.project_of(Path(self._modelfile.path)))
        if client is None or self._stages.gpu is not None:
            return None
        with client:
            found = [one["rss"] for one in client.status()["generations"] if one["socket"] == self._to]
        return float(found[0]) if found and found[0] else None

    def _parity(self) -> ParityReport:
        from modelkit.engines.call import call
        from modelkit.release.parity import compare, own_conversations, shipped_conversations
        from modelkit.release.parity.engine import engine_side

        def side(plan: Plan, socket: str | None) -> Any:
            assert socket is not None
            return engine_side(lambda path, body: call(socket, path, body), plan.name, plan.task)

        talks = (*shipped_conversations(), *own_conversations(self._modelfile))
        return compare(talks, side(self._source, self._from), side(self._target, self._to))

    def _cases(self) -> tuple[Any, ...]:
        from modelkit.release.testing import suite_of

        return suite_of(self._modelfile).cases

    def _tests(self) -> TestReport:
        from modelkit.release.client import Client
        from modelkit.release.testing import options_of, run_tests

        plan = self._target
        options = options_of(self._modelfile, plan.stage, profile=plan.profile, width=plan.max_concurrency)

        async def ask() -> TestReport:
            async with Client(self._engine()) as client:
                return await run_tests(self._cases(), client, options, self._progress("tests"))

        return asyncio.run(ask())

    def _bench(self) -> BenchResult:
        from modelkit.release.bench.loads import Closed
        from modelkit.release.bench.measure import Extent, measure
        from modelkit.release.bench.result import enough
        from modelkit.release.bench.workload import Synthetic
        from modelkit.release.client import Client

        limits = self._limits()
        requests = max((_REQUESTS, *(enough(one.metric) for one in limits)))

        async def ask() -> BenchResult:
            async with Client(self._engine()) as client:
                return await measure(client, Synthetic(), Closed(concurrency=self._clients()),
                                     extent=Extent(requests), limits=limits)

        return asyncio.run(ask())

    def _limits(self) -> list[Any]:
        from modelkit.language.layers import effective
        from modelkit.release.bench.limits import of_expectation

        said = effective(self._modelfile, self._target.stage).expectations
        return [limit for one in said if (limit := of_expectation(one.value)) is not None]

    def _clients(self) -> int:
        return max(1, min(_CLIENTS, self._target.max_concurrency))

    def _engine(self) -> Target:
        from modelkit.release.client import Target

        return Target("http://engine/v1", self._target.name, socket=self._to)

    def _progress(self, what: str) -> Callable[[int, int, str], None]:
        def say(done: int, total: int, name: str) -> None:
            if done == total:
                self._terminal.note(f"{what}: {total} done")

        return say
