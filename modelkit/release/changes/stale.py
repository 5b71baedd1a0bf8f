"""Whether a plan that was kept still is what would be done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.release.changes.attributes import attributes
from modelkit.release.changes.types import Changes, State

_SAID = {"stage": "the stage", "model": "the model's name", "engine": "the engine", "replicas": "the number of engines",
         "bundle": "what exactly is started", "lock": "the lock", "generation": "the supervisor's number of it",
         "ir": "what it means"}


def presume_fresh(name: str, kept: Changes, kept_plan: Plan, now: Changes, plan: Plan) -> None:
    """Raise Failure `plan-stale` (exit 1) when what runs, or what is wanted, is no longer as the kept plan has it.

    Comments, layout and where a value is written do not count: plans are compared by what they mean.
    """
    settings = [_field("wanted", one.path, one.before, one.after)
                for one in attributes(kept_plan, plan)]
    moved = [*settings, *_states("wanted", kept.target, now.target, named=bool(settings)),
             *_states("running", kept.base, now.base, named=False)]
    if moved:
        raise Failure("plan-stale", f"{name} is stale: {moved[0]}", "run `modelkit plan` again and look at what "
                      "changed", detail=tuple(moved[1:]), exit_code=1)


def _states(side: str, kept: State | None, now: State | None, *, named: bool) -> Iterator[str]:
    """Fields that moved; of digests only where no setting is `named` that they follow from."""
    if kept is None or now is None:
        if kept is not now:
            yield f"{side}: {_name(kept)} when it was planned, and {_name(now)} now"
        return
    for field, before in kept.model_dump().items():
        after = getattr(now, field)
        # What was not known when the plan was made is no reason to refuse it.
        if before == after or (field == "bundle" and before is None) or (named and field in ("ir", "bundle")):
            continue
        yield _field(side, _SAID[field], before, after)


def _name(state: State | None) -> str:
    return "nothing" if state is None else f"{state.model} ({state.stage})"


def _field(side: str, name: str, before: Any, after: Any) -> str:
    return f"{side}: {name} was {_short(before)}, and is {_short(after)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else " ".join(str(value).split())
    return text if len(text) <= 48 else text[:45] + "..."
