"""`QUANTIZE auto` answered: what the lock has, while it is for this file and this hardware, else the best that fits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.fit.weighing import Scale
    from modelkit.cli.stages import Stages
    from modelkit.cli.weights import Found
    from modelkit.models.lock import LockedRung
    from modelkit.planning.fit.report import Rung
    from modelkit.planning.plan import Origin, Plan


def chosen(stages: Stages, stage: str, found: Found, *, ask: bool = False) -> Found:
    """The same with a precision in the place of `auto`, as soon as its model is known; with `ask`, headers of one that
    is not here are read where it is.

    Where none answers it is left as it is, and `refused` says why: whoever runs the stage raises that.
    """
    if not found.wanted.open or found.artifact is None:
        return found
    known = (stage, found.artifact.resolved, found.precision)
    if (before := stages.rungs.get(known)) is not None:
        return _asking(stages, stage, found, before[0], by_lock=before[1])
    made = _chosen(stages, stage, found, ask)
    if made.wanted.rung is not None:
        stages.rungs[known] = made.wanted.rung, made.by_lock
    return made


def _chosen(stages: Stages, stage: str, found: Found, ask: bool) -> Found:
    plan = stages.resolved(stage, found)
    kept, strict = _locked(stages, stage, found, plan), stages.lock.mode_of(stage) != "auto" or stages.keep_rungs
    if kept is not None and strict:
        return _asking(stages, stage, found, kept, by_lock=True)
    if stages.keep_rungs:
        return found
    try:
        machine = machine_of(plan)
        if kept is not None and kept.hardware == machine:
            return _asking(stages, stage, found, kept, by_lock=True)
        return _asking(stages, stage, found, _weighed(stages, plan, found, ask))
    except Failure as failure:
        if kept is not None and failure.code in ("hardware-unknown", "model-unknown"):
            return _asking(stages, stage, found, kept, by_lock=True)
        if failure.code == "model-unknown":
            return found  # whoever fetches it asks again
        return replace(found, refused=failure)


def machine_of(plan: Plan) -> str:
    """The class of hardware that a stage runs on. Raises Failure `hardware-unknown`."""
    from modelkit.cli.fit.machine import class_of, hardware_of

    if (machine := hardware_of(plan)) is None:
        raise Failure("hardware-unknown", f"stage `{plan.stage}` says `QUANTIZE auto`, and nothing says what it runs "
                      "on", hint="write `SERVE accelerator L4`, or a precision")
    return class_of(machine)


def origin(found: Found) -> Origin:
    """Who chose the precision, as the plan says it."""
    from modelkit.planning.plan import Origin

    rung = found.wanted.rung
    assert rung is not None
    return Origin(kind="lock" if found.by_lock else "hardware", where=f"for {rung.hardware}")


def _locked(stages: Stages, stage: str, found: Found, plan: Plan) -> LockedRung | None:
    """What the lock has, if the Modelfile asks for the same as when it was written."""
    from modelkit.planning.locking import settings_digest

    locked, ask = stages.lock.stage(stage), found.wanted
    if locked is None or locked.rung is None:
        return None
    same = (locked.quantize, locked.requires, locked.settings, locked.artifact) == (
        ask.quantize, ask.requires, settings_digest(plan), stages.lock.name(found.asked))
    return locked.rung if same else None


def _asking(stages: Stages, stage: str, found: Found, rung: LockedRung, *, by_lock: bool = False) -> Found:
    from modelkit.cli.weights import asking

    wanted = replace(found.wanted, precision=rung.precision, rung=rung)
    return replace(asking(found, wanted, stages.lock, stage, stages.store), by_lock=by_lock, refused=None)


def _weighed(stages: Stages, plan: Plan, found: Found, ask: bool) -> LockedRung:
    """The best rung. Raises Failure where memory, floor and speed leave none."""
    from modelkit.cli.fit.fitting import choice, ladder
    from modelkit.cli.fit.machine import class_of
    from modelkit.cli.fit.weighing import scale_of
    from modelkit.models.lock import LockedRung
    from modelkit.planning.fit.ladder import taken

    scale = scale_of(plan, found, stages.store, ask=ask)
    best = taken(choice(scale))
    if best is None:
        raise refusal(scale, ladder(scale))
    word = "none" if best.own else best.precision
    return LockedRung(precision=word, hardware=class_of(scale.hardware), sum=sum_digest(best))


def sum_digest(rung: Rung) -> str:
    """Of the memory's sum, line by line."""
    from modelkit.models.digests import digest

    return digest([[line.name, line.place, line.size] for line in rung.budget.lines])


def refusal(scale: Scale, rungs: tuple[Rung, ...]) -> Failure:
    """Why none of the precisions answers `QUANTIZE auto`."""
    from modelkit.cli.fit.fitting import refusal as does_not_fit
    from modelkit.planning.fit.ladder import considered

    stage, asked = scale.plan.stage, scale.found.wanted.quantize
    said = tuple(f"{one.precision}: {one.reason}" for one in rungs)
    left = [*considered(rungs)]
    if not left:
        return Failure("no-precision", f"no precision answers `QUANTIZE {asked}` of stage `{stage}`: the base is "
                       f"{scale.found.precision}", hint="take a base of higher precision, or lower the floor",
                       detail=said, exit_code=1)
    if all(one.verdict == "too-large" for one in left):
        return does_not_fit(scale, left[-1])
    if any(one.verdict == "too-slow" for one in left):
        return Failure("too-slow", f"nothing that fits is as fast as `QUANTIZE {asked}` of stage `{stage}` asks for",
                       hint="ask for less speed, lower the floor, or take faster hardware", detail=said, exit_code=1)
    return Failure("fit-unknown", f"whether anything answers `QUANTIZE {asked}` of stage `{stage}` is not known",
                   hint="write a precision", detail=said)
