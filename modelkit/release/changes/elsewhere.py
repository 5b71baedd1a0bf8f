"""What `up` and `down` do on platforms that other programs keep running: files are written, a client applies them."""

from __future__ import annotations

from collections.abc import Iterable

from modelkit.planning.plan import Plan
from modelkit.release.changes.local import Draft, prepare
from modelkit.release.changes.types import Action, Changes, State


def bring_up_elsewhere(plan: Plan, base: State | None, target: State, files: Iterable[tuple[Action, str]], *,
                       applied: bool, refused: str | None = None, notes: tuple[str, ...] = ()) -> Changes:
    """From what was applied last to what would be; `files` are those that would be other, `applied` whether all of the
    last ones were. Without `target.bundle` nobody knows the files yet."""
    draft = Draft()
    prepared = prepare(plan, draft)
    if target.bundle is None:
        draft.resource("update" if base else "create", f"bundle:{plan.stage}", "what is in it is known when everything "
                       "is on this machine")
    for action, path in files:
        cause = {"create": "it is new", "update": "its contents change"}.get(action, "nothing needs it any more")
        draft.resource(action, f"file:{path}", cause)
    if draft.resources or not applied or target.bundle is None:
        name = f"{plan.platform}:{plan.stage}"
        cause = "it was never applied" if base is None else "its files change" if draft.resources else \
            "it was not applied in full"
        written = draft.op("write_files", f"bundle:{plan.stage}", cause, prepared)
        draft.op("wait", name, "it is up when it answers", draft.op("apply", name, cause, written))
    return Changes(verb="up", model=plan.name, stage=plan.stage, platform=plan.platform,
                   complete=target.bundle is not None, refused=refused, base=base, target=target,
                   resources=tuple(draft.resources), ops=tuple(draft.ops), notes=notes)


def take_down_elsewhere(base: State, platform: str) -> Changes:
    """The client takes everything of the stage away."""
    draft, name, cause = Draft(), f"{platform}:{base.stage}", "`down` was asked for"
    draft.op("take_away", name, cause)
    draft.resource("delete", name, cause)
    return Changes(verb="down", model=base.model, stage=base.stage, platform=platform, complete=True, base=base,
                   target=None, resources=tuple(draft.resources), ops=tuple(draft.ops))
