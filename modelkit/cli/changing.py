"""What a command would change, from what runs and what the Modelfile says now; and how that is shown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.cli.terminal import Terminal
    from modelkit.cli.weights import Found
    from modelkit.planning.plan import Plan
    from modelkit.release.changes import Changes, Drifted, Mode, Resource, Side, State
    from modelkit.release.changes.types import Action, Verb
    from modelkit.runtime.client import Client


def changes_of(stages: Stages, stage: str, *, verb: Verb = "up", mode: Mode = "side-by-side",
               keep_warm: float = 0.0) -> Changes:
    """What `verb` would do to bring a stage up. Changes nothing, fetches nothing, and asks only what runs here."""
    from modelkit.planning.forms import wanted as form
    from modelkit.release.changes import bring_up

    found = stages.look(stage)
    plan = stages.plan(stage, found)
    if form(stages.modelfile, stage).platform != "process":
        return _elsewhere(stages, stage, found, plan)
    path = Path(stages.modelfile.path)
    return bring_up(next(iter(running(path)), None), wanted(stages, stage, found, plan), verb=verb, mode=mode,
                    keep_warm=keep_warm, lock=_lock(stages, stage, found))


def wanted(stages: Stages, stage: str, found: Found, plan: Plan) -> Side:
    """A stage as it would be started now."""
    from modelkit import platforms
    from modelkit.release.changes import Side

    refusal = _refusal(stages, stage, found, plan)
    bundle = None
    if refusal is None and not plan.needs:
        bundle = platforms.render(plan)
    state = _state(plan, digest=bundle.digest if bundle else None, replicas=_replicas(plan),
                   lock=_locked(stages, stage))
    return Side(state, plan, refusal=refusal)


def running(path: Path, client: Client | None = None) -> list[Side]:
    """What has the address of a Modelfile on this machine; its engine is asked what it has."""
    from modelkit.runtime.client import connect

    there = client or connect(project.project_of(path))
    if there is None:
        return []
    try:
        here = os.path.realpath(path)
        return [_running(there, one) for one in there.status()["generations"]
                if one["routed"] and one["modelfile"] in ("", here)]
    finally:
        if client is None:
            there.close()


def every(client: Client) -> list[Side]:
    """Whatever a supervisor runs, routed or not. No engine is asked anything."""
    return [_running(client, one, ask=False) for one in client.status()["generations"]]


def deployed(path: Path | None, stage: str | None) -> Iterator[Changes]:
    """What `down` would take away of other platforms; of other machines only a stage that is named."""
    from modelkit.platforms import platform_row
    from modelkit.release.changes import State, take_down_elsewhere
    from modelkit.runtime import deployments

    for one in deployments.all_of(path, stage):
        if one.begun and (stage is not None or platform_row(one.platform).where != "elsewhere"):
            yield take_down_elsewhere(State(stage=one.stage, model=one.model, engine=one.engine, ir=None,
                                            bundle=one.applied["digest"] if one.applied else None), one.platform)


def presume_kept(file: str, stages: Stages, stage: str) -> None:
    """Hold `up --plan FILE` to its file. Raises Failure `plan-stale` (exit 1) naming what moved."""
    from modelkit.release.changes import presume_fresh

    plan, kept = read(Path(file))
    if (kept.stage, kept.model) != (stage, kept.model):
        raise Failure("plan-of-another", f"{file} is a plan of stage `{kept.stage}`, not of `{stage}`",
                      f"`modelkit up -s {kept.stage} --plan {file}`")
    now = changes_of(stages, stage)
    presume_fresh(file, kept, plan, now, stages.plan(stage))


def read(path: Path) -> tuple[Plan, Changes]:
    """What `plan --out` wrote. Raises Failure for anything else."""
    import json

    from modelkit.planning.plan import Plan
    from modelkit.release.changes import Changes

    try:
        said = json.loads(path.read_bytes())
        return (Plan.model_validate({name: value for name, value in said.items() if name in Plan.model_fields}),
                Changes.model_validate(said["changes"]))
    except OSError as error:
        raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise Failure("no-plan", f"{path} is no plan of this release",
                      "`modelkit plan --out FILE` writes one") from None


def say(changes: Changes, terminal: Terminal) -> None:
    """Resources with their symbols, attributes with what they mean, drift, and one line last."""
    for one in changes.resources:
        terminal.data(f"{one.symbol:>3} {one.name}  {one.cause}")
    width = max((len(one.path) for one in changes.changes), default=0)
    for change in changes.changes:
        before, after = _parted(change.before, change.after)
        terminal.data(f"      ~ {change.path:<{width}}  {before} -> {after}  ({change.effect}: {change.reason})")
    if changes.drift:
        terminal.data("Drift (changed outside of modelkit):")
        for drift in changes.drift:
            terminal.data(f"  ! {drift.path}: {_short(drift.planned)} was planned, {_short(drift.found)} runs")
    for note in changes.notes:
        terminal.data(f"  note: {note}")
    if changes.refused:
        terminal.data(f"  `{changes.verb}` would refuse: {changes.refused}")
    terminal.data(changes.line)


def drifted(drift: Iterable[Any]) -> tuple[Drifted, ...]:
    """Drift of an engine, as changes have it."""
    from modelkit.release.changes import Drifted

    return tuple(Drifted(path=one.what.replace(" ", "_"), planned=one.planned, found=one.found)
                 for one in drift)


def _running(client: Client, generation: dict[str, Any], *, ask: bool = True) -> Side:
    from modelkit.planning.plan import Plan
    from modelkit.release.changes import Side
    from modelkit.release.drift import effective_at, engine_drift

    plan = Plan.model_validate(client.plan(generation["id"]))
    state = _state(plan, digest=generation["digest"], replicas=generation["wanted"])
    side = Side(state.model_copy(update={"generation": generation["id"]}), plan, phase=generation["phase"])
    if not ask or generation["phase"] != "ready":
        return side
    try:
        return replace(side, drift=drifted(engine_drift(plan, effective_at(generation["socket"]))))
    except Failure as failure:
        return replace(side, notes=(f"what runs does not say what it has: {failure.message}",))


def _state(plan: Plan, *, digest: str | None, replicas: int = 1, lock: str | None = None) -> State:
    from modelkit.planning.meaning import meaning
    from modelkit.release.changes import State

    return State(stage=plan.stage, model=plan.name, engine=plan.engine_name, ir=meaning(plan), bundle=digest,
                 replicas=replicas, lock=lock)


def _lock(stages: Stages, stage: str, found: Found) -> Resource | None:
    """What becomes of the lock, if it is written."""
    from modelkit.release.changes import Resource

    if stages.lock.mode_of(stage) != "auto" or (reason := stages.stale(stage, found)) is None:
        return None
    return Resource(name="lock", action="create" if stages.lock.lock is None else "update", cause=reason)


def _replicas(plan: Plan) -> int:
    said = plan.setting("serve.replicas")
    return 1 if said is None else int(said.value)


def _locked(stages: Stages, stage: str) -> str | None:
    from modelkit.cli.remote import lock_digest

    return lock_digest(stages.lock.lock, stage) or None


def _refusal(stages: Stages, stage: str, found: Found, plan: Plan) -> str | None:
    """Why the stage would not begin, if it would not."""
    from modelkit.cli.policies import presume_policies

    try:
        stages.presume_possible(found, plan)
        presume_policies(stages.modelfile, plan, found)
    except Failure as failure:
        return failure.message
    if stages.lock.mode_of(stage) == "locked" and (reason := stages.stale(stage, found)) is not None:
        return f"the lock would have to change ({stages.lock.why(stage)}): {reason}"
    return None


def _elsewhere(stages: Stages, stage: str, found: Found, plan: Plan) -> Changes:
    """The same for a stage of another platform: which files would be other than those that were applied last."""
    from modelkit import platforms
    from modelkit.cli.remote import presume_pinned
    from modelkit.platforms import platform_row
    from modelkit.release.changes import bring_up_elsewhere
    from modelkit.runtime import deployments

    refused = _refusal(stages, stage, found, plan)
    target = _state(plan, digest=None, lock=_locked(stages, stage))
    made = None
    try:
        if not plan.needs and (platform_row(plan.platform).where == "process" or (plan.image and plan.source)):
            made = platforms.manifests(plan)
            presume_pinned(plan)
    except Failure as failure:
        made, refused = None, refused or failure.message
    before = next(deployments.all_of(Path(stages.modelfile.path), stage), None)
    applied = before.applied if before is not None else None
    base = None if before is None or applied is None else target.model_copy(update={
        "bundle": applied["digest"], "lock": applied["lock"] or None, "ir": None, "engine": before.engine})
    if made is None or made.client is None:
        return bring_up_elsewhere(plan, base, target, (), applied=applied is not None, refused=refused)
    found_ = deployments.changes(deployments.planned(Path(stages.modelfile.path), made), made)
    kinds: tuple[tuple[Action, tuple[str, ...]], ...] = (
        ("create", found_.created), ("update", found_.changed), ("delete", found_.removed))
    target = target.model_copy(update={"bundle": made.digest})
    return bring_up_elsewhere(plan, base, target, [(kind, file) for kind, files in kinds for file in files],
                              applied=applied is not None, refused=refused, notes=made.notes)


_WIDTH = 32


def _parted(before: object, after: object) -> tuple[str, str]:
    """Both values, short; of long ones that begin alike the part where they differ."""
    left, right = (_line(value) for value in (before, after))
    same = next((at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), 0)
    if same > _WIDTH - 8 and max(len(left), len(right)) > _WIDTH:
        left, right = (f"...{text[same - 8:]}" for text in (left, right))
    return _cut(left), _cut(right)


def _short(value: object) -> str:
    return _cut(_line(value))


def _line(value: object) -> str:
    return "nothing" if value is None else " ".join(str(value).split())


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else text[:_WIDTH - 3] + "..."
