"""What gates ask of the files, the supervisor and the engines of both stages, as functions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import policies, project
from modelkit.cli.measured import runners
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.examiners import Examining
    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.language.modelfile import Modelfile
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.bench.result import BenchResult
    from modelkit.release.client import Target
    from modelkit.release.evaluation import Score
    from modelkit.release.gates import Measures, Soaked
    from modelkit.release.parity import Conversation, ParityReport
    from modelkit.release.testing import TestReport

_CLIENTS = 4  # of the load that latencies are measured under, where the stage answers so many at once


def _digest_of(question: Callable[[], list[Any]]) -> str:
    """The digest of a question; one that cannot be read has none, and its gate says why."""
    from modelkit.models.digests import digest

    try:
        return digest(question())
    except (Failure, OSError):
        return "unknown"


def _family(pid: int | None) -> list[int]:
    """A process and all that it started: of some engines the one that computes is a child."""
    import psutil

    try:
        leader = psutil.Process(pid) if pid else None
        return [leader.pid, *(one.pid for one in leader.children(recursive=True))] if leader else []
    except psutil.Error:
        return []


class Measuring:
    """The measures of one promotion. A load is put on the candidate once, whatever asks for it."""

    def __init__(self, stages: Stages, source: Bundle, target: Bundle, sockets: Mapping[str, str], *,
                 live: str | None, terminal: Terminal) -> None:
        self._stages, self._live, self._terminal = stages, live, terminal
        self._source, self._target = source.plan, target.plan
        self._bundle = source
        self._from, self._to = sockets.get(source.plan.stage), sockets.get(target.plan.stage)

    def measures(self) -> Measures:
        from modelkit.release.gates import Measures

        ready = self._to is not None
        return Measures(
            lint=self._lint, lock=self._lock, supply=self._supply, lost=self._lost, soaked=self._soaked,
            memory=self._memory if ready else None, predicted=self._predicted,
            parity=self._parity if ready else None, tests=self._tests if ready else None,
            bench=cache(self._bench) if ready else None, evaluate=self._evaluate if ready else None,
            baseline=self._baseline if ready else None,
            absent=self._absent(), asked=self._asked())

    def _absent(self) -> dict[str, str]:
        why = f"stage `{self._target.stage}` does not run here"
        return {"fit": why, "tests": why, "slo": why, "eval": why, "parity": why}

    def _asked(self) -> dict[str, str]:
        """Digests of the questions: evidence for others is none. Times count on the machine that they were taken on."""
        from modelkit.planning.meaning import meaning
        from modelkit.release.record import host_fingerprint

        return {"parity": _digest_of(lambda: [meaning(self._source), *map(repr, self._talks())]),
                "tests": _digest_of(lambda: [*map(repr, self._cases()), self._examining.conditions]),
                "eval": _digest_of(lambda: [self._live, *self._questions()]),
                "slo": _digest_of(lambda: [host_fingerprint(), self._clients(), *map(repr, self._limits())])}

    def _talks(self) -> tuple[Conversation, ...]:
        from modelkit.release.parity import own_conversations, shipped_conversations

        return (*shipped_conversations(), *own_conversations(self._modelfile))

    def _questions(self) -> Iterator[str]:
        """What the stage's evaluations ask: a digest of one's own files, else the runner's name of the task."""
        from modelkit.language.layers import effective
        from modelkit.release.evaluation import find_task
        from modelkit.release.evaluation.own import read

        for one in effective(self._modelfile, self._target.stage).expectations:
            if one.value.metric.startswith("eval."):
                task = find_task(one.value.metric.split(".")[1], Path(self._modelfile.path).resolve().parent)
                yield read(Path(task.source), task.name).digest if task.runner == "modelkit" else task.source

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
        running = Soaked(float(here["uptime"]), int(here["restarts"])) if here else None
        if live is None or live.record.subject is None:
            return running
        if live.record.subject.ir != subject(self._modelfile, self._bundle).ir:
            return None
        passed = (datetime.now(UTC) - history.moment(live.record.at)).total_seconds()
        if running is not None:
            return Soaked(min(passed, running.seconds), running.restarts, live.record.at)
        return Soaked(passed, since=live.record.at)

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
        """What the candidate's processes have now: of a GPU, where its engine computes on one; None where no driver
        says it."""
        from modelkit.runtime.client import connect

        client = connect(project.project_of(Path(self._modelfile.path)))
        if client is None:
            return None
        with client:
            found = next((one for one in client.status()["generations"] if one["socket"] == self._to), None)
        if found is None:
            return None
        if self._stages.gpu is None or self._target.engine is None or self._target.engine.variant in ("", "cpu"):
            return float(found["rss"]) if found["rss"] else None
        from modelkit.runtime.hardware import used_by

        return used_by(_family(found["pid"]))

    def _predicted(self) -> float | None:
        from modelkit.cli.fit.fitting import needed

        return needed(self._stages, self._target.stage)

    def _parity(self) -> ParityReport:
        """What the engines read; of a stage before that does not run, what its files say that it would."""
        from modelkit.cli.rendered import files_of
        from modelkit.engines.call import call
        from modelkit.release.parity import compare
        from modelkit.release.parity.engine import engine_side
        from modelkit.release.parity.files import files_side

        talks = self._talks()

        def side(plan: Plan, socket: str | None) -> Any:
            if socket is None:
                return files_side(files_of(self._stages, plan.stage), talks)
            return engine_side(lambda path, body: call(socket, path, body), plan.name, plan.task)

        return compare(talks, side(self._source, self._from), side(self._target, self._to))

    def _cases(self) -> tuple[Any, ...]:
        from modelkit.release.testing import suite_of

        return suite_of(self._modelfile).cases

    @cached_property
    def _examining(self) -> Examining:
        """Who makes the checks that take more than an answer, as the command line says."""
        from modelkit.cli.examiners import Examining
        from modelkit.cli.targets import Asked

        asked = Asked(self._engine(), self._target.stage, self._target) if self._to is not None else None
        return Examining(self._stages.arguments, asked, self._terminal)

    def _tests(self) -> TestReport:
        from modelkit.release.client import Client
        from modelkit.release.testing import options_of, run_tests

        plan = self._target
        options = options_of(self._modelfile, plan.stage, profile=plan.profile, width=plan.max_concurrency)

        with self._terminal.progress("test") as progress:

            async def ask() -> TestReport:
                async with Client(self._engine()) as client, self._examining.open(None, False, set()) as examiners:
                    return await run_tests(self._cases(), client, replace(options, examiners=examiners),
                                           lambda done, total, name: progress(done, total, "testing"))

            return asyncio.run(ask())

    def _bench(self) -> BenchResult:
        from modelkit.release.bench.loads import Closed
        from modelkit.release.bench.measure import Extent, measure
        from modelkit.release.bench.result import enough
        from modelkit.release.bench.workload import Synthetic
        from modelkit.release.client import Client

        limits = self._limits()
        extent = Extent(max(enough(one.metric) for one in limits))
        with self._terminal.progress("request") as progress:

            async def ask() -> BenchResult:
                async with Client(self._engine()) as client:
                    return await measure(client, Synthetic(), Closed(concurrency=self._clients()), extent=extent,
                                         limits=limits, on_progress=progress)

            return asyncio.run(ask())

    def _evaluate(self, name: str) -> Score:
        return self._score(name, self._engine())

    def _baseline(self, name: str) -> Score | None:
        """The score of what has the address now, if that is another engine."""
        from modelkit.release.client import Target
        from modelkit.runtime.client import connect

        path = Path(self._modelfile.path)
        client = connect(project.project_of(path))
        if client is None:
            return None
        with client:
            routed = [one for one in client.status()["generations"] if one["routed"] and one["phase"] == "ready"
                      and one["modelfile"] in ("", os.path.realpath(path)) and one["socket"] != self._to]
        if not routed:
            return None
        return self._score(name, Target("http://engine/v1", str(routed[0]["name"]), socket=str(routed[0]["socket"])))

    def _score(self, name: str, target: Target) -> Score:
        from modelkit.release.evaluation import find_task, run

        task = find_task(name.partition(".")[0], Path(self._modelfile.path).resolve().parent)
        with runners() as outside, self._terminal.progress("questions") as progress:
            scores = run([task], target, outside=outside, concurrency=self._clients(), on_progress=progress)
        if (score := scores.get(name)) is None:
            raise Failure("no-score", f"the evaluation has no score `{name}`", hint="it has " + ", ".join(scores))
        if score.unscored:
            raise Failure("no-answer", f"{score.unscored} questions of `{name}` were not answered",
                          hint="`modelkit logs` says how the engine is")
        return score

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
