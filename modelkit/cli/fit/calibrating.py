"""What this machine's own benchmarks say of its speed: kept with the formula's figures, read by the next prediction."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.places import place, private_directory

if TYPE_CHECKING:
    from modelkit.models.anatomy import Anatomy
    from modelkit.planning.fit.calibration import Calibration, Point
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.serving import Serving
    from modelkit.planning.plan import Plan
    from modelkit.release.bench.result import BenchResult, Sample

_KEPT = 32
"""Benchmarks of one engine that are believed, the newest ones: drivers and builds change."""

_BUSY = 1.5
"""Runnable threads for each core, the engine's own among them."""

_LEAST = 3
"""Answers without which a load says nothing."""

_SINGLE = 0.9
"""Chunks for each token of an answer from which on a chunk is one token."""


def learn(plan: Plan, runs: Iterable[BenchResult]) -> Path | None:
    """Keep what loads of a stage that runs on this machine say of it; None where they say nothing. Never fails: what
    cannot be kept is lost."""
    from modelkit.engines.fitting import serving
    from modelkit.failure import Failure
    from modelkit.models.anatomy import anatomy_of
    from modelkit.runtime.hardware import here

    if plan.weights is None or plan.task != "chat" or plan.image is not None or busy():
        return None
    try:
        machine = _computing(plan, here())
        points = list(points_of(anatomy_of(plan.weights), serving(plan), machine, runs))
        return _keep(points, plan, machine) if points else None
    except (Failure, OSError, ValueError):
        return None


def busy() -> bool:
    """Whether other programs had so much of the processors in the last minute that a speed says nothing: an engine's
    own threads are no more than there are cores."""
    try:
        return os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)
    except OSError:
        return False


def known(plan: Plan, serving: Serving, hardware: Hardware) -> Calibration | None:
    """What is believed of this machine with the plan's engine; None where nothing was measured, and for hardware that
    is only named: its owner's measurements are not here."""
    from modelkit.planning.fit.speed import uncalibrated

    if hardware.source == "table":
        return None
    points = _best(_kept(_folder(plan, hardware)))
    return uncalibrated(hardware, serving).learned(points) if points else None


def points_of(anatomy: Anatomy, serving: Serving, hardware: Hardware, runs: Iterable[BenchResult]) -> Iterator[Point]:
    """Measurements of single steps: the time between tokens under each closed load, and until the first one of a user
    who is alone. Loads that failed, or that the engine did not keep up with, say nothing."""
    from modelkit.planning.fit.calibration import Point
    from modelkit.planning.fit.speed import knows
    from modelkit.planning.fit.steps import prompt_terms, step_terms
    from modelkit.planning.fit.work import Step

    if not knows(hardware, serving):
        return
    for run in runs:
        answered = [one for one in run.samples if one.error is None]
        users = run.load.concurrency if run.load.kind == "closed" else 0
        if not users or users > serving.concurrency or run.saturated or len(answered) < _LEAST:
            continue
        if (steps := steps_of(run)) is not None:
            yield Point(step_terms(anatomy, serving, hardware, Step(users, 1, steps.context)), steps.seconds,
                        _noise(steps.gaps))
        firsts = [one.ttft for one in answered if one.ttft is not None]
        prompts = [one.prompt_tokens for one in answered if one.prompt_tokens]
        if users == 1 and len(firsts) >= _LEAST and prompts and min(prompts) * 2 > max(prompts) >= 16:
            terms = prompt_terms(anatomy, serving, hardware, round(statistics.fmean(prompts)))
            yield Point(terms, statistics.median(firsts), _noise(firsts))


@dataclass(frozen=True)
class Steps:
    """Seconds from token to token, one figure an answer, behind `context` tokens on average."""

    gaps: tuple[float, ...]
    context: float

    @property
    def seconds(self) -> float:
        return statistics.median(self.gaps)


def steps_of(run: BenchResult) -> Steps | None:
    """How long the steps of a load took that gave each user a token; None where too few answers say so."""
    answered = [one for one in run.samples if one.error is None]
    gaps = tuple(gap for one in answered if (gap := _gap(one)) is not None)
    if len(gaps) < _LEAST:
        return None
    return Steps(gaps, statistics.fmean((one.prompt_tokens or 0) + (one.tokens or 0) / 2 for one in answered))


def _gap(sample: Sample) -> float | None:
    """Seconds from token to token. The middle one of an answer, as others' prompts interrupt some steps; where a chunk
    holds several tokens, that of the whole answer."""
    if not sample.tokens or sample.tokens < 2 or sample.ttft is None or sample.e2e <= sample.ttft:
        return None
    if len(sample.itl) >= _SINGLE * (sample.tokens - 1):
        return statistics.median(sample.itl)
    return (sample.e2e - sample.ttft) / (sample.tokens - 1)


def _noise(values: Sequence[float]) -> float:
    """Standard deviation of a median's logarithm, by half the width of the middle half of all values."""
    low, _, high = statistics.quantiles(values, n=4)
    return math.log(high / low) / 1.35 * 1.25 / math.sqrt(len(values)) if low > 0 else 0.0


def _computing(plan: Plan, machine: Hardware) -> Hardware:
    from dataclasses import replace

    on_cpu = plan.engine is not None and plan.engine.variant in ("", "cpu")
    return replace(machine, devices=()) if on_cpu else machine


def _folder(plan: Plan, hardware: Hardware) -> Path:
    """Of one engine on what it computes with."""
    from modelkit.planning.plan import digest
    from modelkit.release.record import host_fingerprint

    device = [one.name for one in hardware.devices]
    said = {"engine": plan.engine_name, "provider": plan.engine.provider if plan.engine else None,
            "machine": host_fingerprint(), "devices": device}
    return place("state") / "fit" / "speeds" / digest(said).removeprefix("sha256:")[:24]


def _keep(points: list[Point], plan: Plan, machine: Hardware) -> Path:
    from hashlib import sha256

    from modelkit.planning.fit.calibration import FORMULA
    from modelkit.release.record import now, write_once

    at = now()
    said = {"schema": "modelkit.speeds/1", "formula": FORMULA, "at": at, "engine": plan.engine_name,
            "version": plan.engine.version if plan.engine else None, "model": plan.name,
            "points": [asdict(one) for one in points]}
    data = (json.dumps(said) + "\n").encode()
    folder = _folder(plan, machine)
    private_directory(folder)
    path = folder / f"{at.replace('-', '').replace(':', '')}-{sha256(data).hexdigest()[:8]}.json"
    write_once(path, data)
    return path


def _kept(folder: Path) -> Iterator[Point]:
    """What was kept there, the newest of it; files that are no such thing are passed over."""
    from modelkit.planning.fit.calibration import FORMULA

    for path in sorted(folder.glob("*.json"))[-_KEPT:]:
        with suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(path.read_bytes())
            if said["formula"] == FORMULA:
                yield from [_point(one) for one in said["points"]]


def _point(said: dict[str, Any]) -> Point:
    """Raises TypeError, KeyError or ValueError for what is none."""
    from modelkit.planning.fit.calibration import Point, Terms

    causes = {name: float(value) for name, value in said["terms"].items() if name != "overlap"}
    if any(not 0 <= value < math.inf for value in causes.values()):
        raise ValueError("no time")
    return Point(Terms(**causes, overlap=bool(said["terms"]["overlap"])), float(said["seconds"]),
                 float(said.get("noise", 0.0)))


def _best(points: Iterable[Point]) -> list[Point]:
    """One of each step, the fastest: other programs only ever make it slower."""
    found: dict[tuple[float, ...], Point] = {}
    for one in points:
        key = tuple(float(f"{value:.2g}") for name, value in asdict(one.terms).items() if name != "overlap")
        if key not in found or one.seconds < found[key].seconds:
            found[key] = one
    return list(found.values())
