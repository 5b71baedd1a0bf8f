"""What `fit --verify` showed, kept on this machine: the next `fit` of the very same says it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.places import place, private_directory
from modelkit.planning.fit import verified
from modelkit.planning.fit.verified import Verification

if TYPE_CHECKING:
    from modelkit.planning.fit.report import FitReport
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle
    from modelkit.release.bench.result import BenchResult


def known(report: FitReport, plan: Plan) -> Verification | None:
    """What an earlier `--verify` of the very same on this machine showed, if there was one."""
    try:
        return Verification.from_json(json.loads(_path(report, plan).read_bytes()))
    except (OSError, ValueError):
        return None


def remembered(report: FitReport, found: Verification) -> FitReport:
    """The report with what was measured in place of what is predicted."""
    budget = verified.remembered(report.now.budget, found)
    note = f"measured on {found.at[:10]} with {found.engine}: `modelkit fit --verify` measures again"
    return replace(report, now=replace(report.now, budget=budget), notes=(*report.notes, note))


def keep(found: Verification, report: FitReport, plan: Plan) -> None:
    """For `known`. Raises OSError."""
    from modelkit.release.record import write_once

    path = _path(report, plan)
    private_directory(path.parent)
    write_once(path, (json.dumps(found.as_json(), indent=1) + "\n").encode())


def keep_speeds(runs: tuple[BenchResult, ...], bundle: Bundle, modelfile: Path) -> None:
    """Among the project's benchmarks; a model alone has no project. Raises OSError."""
    from modelkit.models.digests import file_digest
    from modelkit.release.bench import document
    from modelkit.runtime.machine import memory

    if not runs or not modelfile.is_file():
        return
    plan = bundle.plan
    quantize, engine = plan.setting("quantize"), plan.engine
    subject = document.Subject(
        model=plan.name, stage=plan.stage, engine=plan.engine_name, version=engine.version if engine else None,
        launch=bundle.digest, modelfile=file_digest(modelfile), weights=plan.weights.digest if plan.weights else None,
        quantization=str(quantize.value) if quantize else plan.shape.precision or None)
    document.keep(document.BenchDocument(subject=subject, machine=document.this_machine(memory()), runs=runs,
                                         workload={"kind": "fit --verify"}),
                  place("state") / project.project_of(modelfile) / "bench")


def _path(report: FitReport, plan: Plan) -> Path:
    """By everything that the figures depend on: weights, engine, settings, machine."""
    from modelkit.planning.plan import digest
    from modelkit.release.record import host_fingerprint

    engine = plan.engine.model_dump(mode="json", exclude={"command"}) if plan.engine else None
    said = {"weights": plan.weights.digest if plan.weights else None, "engine": engine,
            "serving": asdict(report.now.serving), "precision": report.now.precision, "machine": host_fingerprint(),
            "devices": [one.name for one in report.hardware.devices]}
    return place("state") / "fit" / f"{digest(said).removeprefix('sha256:')[:24]}.json"
