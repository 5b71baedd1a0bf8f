"""What `fit --verify` showed, kept on this machine: the next `fit` of the very same says it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.places import place, private_directory
from modelkit.planning.fit import verified
from modelkit.planning.fit.verified import Verification

if TYPE_CHECKING:
    from modelkit.planning.fit.report import FitReport
    from modelkit.planning.plan import Plan


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


def _path(report: FitReport, plan: Plan) -> Path:
    """By everything that the figures depend on: weights, engine, settings, machine."""
    from modelkit.planning.plan import digest
    from modelkit.release.record import host_fingerprint

    engine = plan.engine.model_dump(mode="json", exclude={"command"}) if plan.engine else None
    said = {"weights": plan.weights.digest if plan.weights else None, "engine": engine,
            "serving": asdict(report.now.serving), "precision": report.now.precision, "machine": host_fingerprint(),
            "devices": [one.name for one in report.hardware.devices]}
    return place("state") / "fit" / f"{digest(said).removeprefix('sha256:')[:24]}.json"
