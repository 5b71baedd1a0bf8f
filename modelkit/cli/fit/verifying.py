"""`modelkit fit --verify`: start a stage's engine beside whatever runs, look at it, and remember what was seen."""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelkit.planning.fit import verified
from modelkit.planning.fit.verified import Check, Verification
from modelkit.planning.forms import OWN

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.planning.fit.calibration import Calibration
    from modelkit.planning.fit.report import FitReport
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.bench.result import BenchResult
    from modelkit.release.client import Client
    from modelkit.runtime.trial import Trial

_REQUESTS, _SECONDS, _WARMUP = 8, 20.0, 1
_PROMPT, _ANSWER = 128, 64  # tokens, less where the context is short
_OTHERS = 0.1
"""Part of the processors that other programs may take before a speed says nothing."""


def verify(stages: Stages, report: FitReport, arguments: Namespace, terminal: Terminal) -> Verification:
    """Start it, compare, and keep what was found for the next `fit`. Raises Failure when it cannot be started here."""
    from modelkit import platforms
    from modelkit.cli.fit import calibrating, verified_files

    platforms.presume_process(stages.look(report.stage).wanted.platform, report.stage)
    with terminal.progress() as progress:
        _, plan = stages.ready(report.stage, progress)
    plan = _as_asked(plan, arguments)
    bundle = _talkative(platforms.render(plan))
    terminal.note(f"starting {plan.engine_name} for stage {plan.stage}, beside what runs")
    try:
        found, runs = asyncio.run(_run(bundle, report, terminal))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None  # SIGTERM: the engine is gone already
    calibrating.learn(plan, runs)
    try:
        verified_files.keep(found, report, stages.plan(report.stage))
    except OSError as error:
        terminal.note(f"what was measured is not kept: {(error.strerror or str(error)).lower()}")
    return found


def say(found: Verification, terminal: Terminal) -> None:
    """The table, and what it comes to."""
    terminal.table(("WHAT", "WHERE", "PREDICTED", "MEASURED", "ERROR", "PROMISED", ""), verified.rows(found.checks))
    terminal.data("")
    missed = [one.name for one in found.checks if one.held == "missed"]
    terminal.data("as predicted" if not missed else f"not as predicted: {', '.join(missed)}")
    for note in found.notes:
        terminal.note(note)


async def _run(bundle: Bundle, report: FitReport, terminal: Terminal
               ) -> tuple[Verification, tuple[BenchResult, ...]]:
    """What it showed, and the loads that say how fast this machine is."""
    from modelkit.cli.fit import calibrating
    from modelkit.release.record import now
    from modelkit.runtime.trial import trial

    plan = bundle.plan
    async with trial(bundle, os.environ, terminal.note) as engine:
        terminal.note(f"ready after {engine.seconds:.1f} s")
        measured = await _measured(engine, plan, report, terminal)
        known = calibrating.known(plan, report.now.serving, report.hardware)
        checks = tuple(_checks(engine, plan, report, measured, known))
    version = f"{plan.engine_name} {plan.engine.version}" if plan.engine else plan.engine_name
    notes = () if checks else (f"{plan.engine_name} says nothing that could be compared",)
    return Verification(now(), version, checks, notes), tuple(one.result for one in measured if not one.disturbed)


@dataclass(frozen=True)
class Measured:
    """One load, and the part of the processors that other programs took meanwhile."""

    users: int
    result: BenchResult
    others: float
    on_cpu: bool

    @property
    def disturbed(self) -> bool:
        """Did others take so much of what the engine computes on that its speed says nothing?"""
        return self.on_cpu and self.others > _OTHERS


async def _measured(engine: Trial, plan: Plan, report: FitReport, terminal: Terminal) -> list[Measured]:
    """A short load of one user, and one of as many as the stage takes; nothing where the model does not chat."""
    from modelkit.release.bench import Closed, Synthetic, measure
    from modelkit.release.bench.measure import Extent
    from modelkit.release.client import Client, Target

    if plan.task != "chat" or report.now.speed is None:
        return []
    prompt, answer = min(_PROMPT, plan.context_length // 2), min(_ANSWER, max(2, plan.context_length // 4))
    found, most = list[Measured](), min(plan.max_concurrency, 16)
    async with Client(Target("http://engine/v1", plan.name, socket=str(engine.socket)), connections=64) as client:
        with terminal.progress("requests") as progress:
            await _fill(client, report, plan)
            for users in dict.fromkeys((1, most)):
                before = _Load.now(engine)
                result = await measure(client, Synthetic((prompt, prompt), (answer, answer)), Closed(concurrency=users),
                                       extent=Extent(max(_REQUESTS, 3 * users), _SECONDS, _WARMUP),
                                       on_progress=progress)
                found.append(Measured(users, result, _Load.now(engine).others_since(before),
                                      on_cpu=not report.hardware.devices))
    return found


async def _fill(client: Client, report: FitReport, plan: Plan) -> None:
    """One prompt that is as long as a step can be: what computing takes is touched then, not before."""
    from modelkit.release.bench import Synthetic

    longest = min(report.now.serving.batch + 16, plan.context_length - 8)
    workload = await Synthetic((longest, longest), (2, 2)).ready(client)
    await client.chat(workload.body(0))


def _checks(engine: Trial, plan: Plan, report: FitReport, measured: list[Measured],
            known: Calibration | None) -> Iterator[Check]:
    from modelkit.runtime.hardware import used_by

    budget, hardware = report.now.budget, report.hardware
    on_cpu = not hardware.devices
    if plan.engine_name == "vllm":
        yield from _vllm(engine, report, cpu=on_cpu)
    else:
        yield from verified.llama_checks(budget, engine.log)
    own = report.now.serving.provider == OWN and on_cpu
    yield verified.process_check(_resident(report) if on_cpu and plan.engine_name != "vllm" else verified.taken(budget),
                                 engine.resident(), promised=own)
    if not on_cpu and (taken := used_by(engine.pids)) is not None:
        gpus = [one for one in budget.capacity if one != "ram"]
        yield Check("the whole process", "gpu", "bytes", sum(budget.total(one) for one in gpus), taken)
    yield from _speeds(report, measured, known)


def _resident(report: FitReport) -> int:
    """What a process of llama.cpp has in RAM once it has answered: not all that it may touch."""
    from modelkit.planning.fit.llama_cpp import resident

    now = report.now
    assert now.anatomy is not None, "a rung that is served is made of something"
    beside = [line for line in now.budget.lines if line.name.startswith(("projector", "draft", "adapter"))]
    return resident(now.anatomy, now.serving, beside=beside)


def _vllm(engine: Trial, report: FitReport, *, cpu: bool) -> Iterator[Check]:
    from modelkit.planning.fit.vllm import pool
    from modelkit.planning.fit.vllm_weights import weight_bytes

    now = report.now
    assert now.anatomy is not None, "a rung that is served is made of something"
    there = pool(now.anatomy, now.serving, report.hardware)
    yield from verified.vllm_checks(engine.log, tokens=there.tokens, concurrency=there.concurrency,
                                    weights=weight_bytes(now.anatomy, now.serving, 0), cpu=cpu)


def _speeds(report: FitReport, measured: list[Measured], known: Calibration | None) -> Iterator[Check]:
    """Tokens a second of all users of each load between their prompts, behind as much as they had; nothing where
    engines do not count tokens."""
    from modelkit.cli.fit.calibrating import steps_of
    from modelkit.planning.fit.speed import pace

    now = report.now
    for one in measured:
        steps = steps_of(one.result)
        if steps is None or now.anatomy is None:
            continue
        expected = pace(now.anatomy, now.serving, report.hardware, one.users, steps.context, calibration=known)
        if expected is not None:
            yield verified.speed_check("one user" if one.users == 1 else f"{one.users} users", expected,
                                       one.users / steps.seconds, why=(
                f"other programs took {100 * one.others:.0f} % of the processors" if one.disturbed else ""))


@dataclass(frozen=True)
class _Load:
    """Processor seconds since some moment: of everything on this machine, and of the engine and us."""

    everything: float
    ours: float
    clock: float

    @classmethod
    def now(cls, engine: Trial) -> _Load:
        import time

        import psutil

        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
        return cls(busy, engine.processor_seconds() + time.process_time(), time.monotonic())

    def others_since(self, before: _Load) -> float:
        """The part of all processors that went to others."""
        others = (self.everything - before.everything) - (self.ours - before.ours)
        return max(0.0, others / max(self.clock - before.clock, 1e-3) / (os.cpu_count() or 1))


def _as_asked(plan: Plan, arguments: Namespace) -> Plan:
    """With the command line's context, concurrency and cache instead of the Modelfile's."""
    from modelkit import platforms
    from modelkit.planning.fit.ways_out import with_setting

    for name, value in (("num_ctx", arguments.context), ("serve.max_concurrency", arguments.concurrency),
                        ("serve.kv_cache", arguments.kv_cache)):
        plan = plan if value is None else with_setting(plan, name, value)
    return plan.model_copy(update={"lowered": platforms.lower(plan)})


def _talkative(bundle: Bundle) -> Bundle:
    """An engine that says what it allocates; ours does it only where it is asked to."""
    launch = bundle.launch
    return replace(bundle, launch=replace(launch, env=launch.env | {"MODELKIT_LLAMA_LOG": "info"}))
