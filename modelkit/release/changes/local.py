"""What `up`, `down` and `promote` do to the engines of this machine's supervisor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelkit.planning.plan import Plan
from modelkit.release.changes.attributes import EDGE, attributes
from modelkit.release.changes.types import Action, Change, Changes, Drifted, Op, Operation, Resource, State, Verb

Mode = Literal["side-by-side", "swap"]
"""`side-by-side`: the new engine starts while the old one serves. `swap`: there is no room for both, so the old one
drains and stops first, and nothing answers in between."""


@dataclass(frozen=True)
class Side:
    """A version with its plan: what runs (`state.generation`, its `drift` and `phase`), or what is wanted (`refusal`:
    why it can't be started here)."""

    state: State
    plan: Plan
    drift: tuple[Drifted, ...] = ()
    phase: str = "ready"
    refusal: str | None = None
    notes: tuple[str, ...] = ()


class Draft:
    """Operations, numbered from 1, and what they are done to, as they are found."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.resources: list[Resource] = []

    def op(self, op: Operation, resource: str, cause: str, after: tuple[int, ...] = ()) -> tuple[int]:
        """Add a step and return its number, for what comes after it."""
        self.ops.append(Op(id=len(self.ops) + 1, op=op, resource=resource, cause=cause, after=after))
        return (len(self.ops),)

    def resource(self, action: Action, name: str, cause: str) -> None:
        self.resources.append(Resource(name=name, action=action, cause=cause))


def bring_up(now: Side | None, wanted: Side, *, verb: Verb = "up", mode: Mode = "side-by-side",
             keep_warm: float = 0.0, lock: Resource | None = None) -> Changes:
    """From what has the address `now` to what is `wanted`. `lock` is what becomes of the lock, if it is written."""
    plan, draft = wanted.plan, Draft()
    changes = () if now is None else _asked_for(attributes(now.plan, plan), plan)
    if verb == "promote":  # the address stays: another one is refused
        changes = tuple(one for one in changes if one.path.partition(".")[2] not in EDGE)
    refused = _refused(now, wanted, verb)
    busy = now is not None and verb == "up" and now.state.stage != wanted.state.stage
    prepared = () if busy else prepare(plan, draft)
    if lock is not None and not busy:
        draft.op("write_lock", lock.name, lock.cause)
        draft.resources.append(lock)
    if now is None:
        _start(wanted, draft, prepared)
    elif _same_engines(now, wanted):
        _scale(now, wanted, draft)
    elif not busy:
        cause = _cause(now, wanted, changes)
        if mode == "swap":
            _swap(now, wanted, draft, cause, prepared)
        else:
            _side_by_side(now, wanted, draft, cause, prepared, keep_warm=keep_warm)
        draft.resource("replace", engine_name(now.state), cause)
    return Changes(verb=verb, model=plan.name, stage=plan.stage, platform=plan.platform,
                   complete=wanted.state.bundle is not None, refused=refused, base=now.state if now else None,
                   target=wanted.state, resources=tuple(draft.resources), ops=tuple(draft.ops), changes=changes,
                   drift=now.drift if now else (), notes=tuple(_notes(now, wanted, changes, mode)))


def _asked_for(changes: Iterable[Change], wanted: Plan) -> tuple[Change, ...]:
    """Without an address that only a default says: what runs keeps the one that it has."""
    said = {setting.name for setting in wanted.settings if setting.origin.kind != "default"}
    return tuple(one for one in changes if one.resource != "address" or one.path in said)


def take_down(now: Sequence[Side], endpoint: str | None, *, model: str, stage: str = "") -> Changes:
    """Everything that runs drains and stops; the address goes."""
    draft, stopped, cause = Draft(), tuple[int, ...](), "`down` was asked for"
    for side in now:
        name = engine_name(side.state)
        stopped += draft.op("stop_engine", name, cause, draft.op("drain", name, cause))
        draft.resource("delete", name, cause)
    if endpoint is not None:
        draft.op("close_address", f"address:{endpoint}", "nothing is left behind it", stopped)
        draft.resource("delete", f"address:{endpoint}", "nothing is left behind it")
    base = now[0].state if now else None
    return Changes(verb="down", model=model, stage=base.stage if base else stage, platform="process", complete=True,
                   base=base, target=None, resources=tuple(draft.resources), ops=tuple(draft.ops),
                   drift=tuple(one for side in now for one in side.drift))


def engine_name(state: State) -> str:
    """An engine as a resource: `engine:prod:3` for one that runs, `engine:prod` for one to be."""
    return f"engine:{state.stage}" + (f":{state.generation}" if state.generation is not None else "")


def prepare(plan: Plan, draft: Draft) -> tuple[int, ...]:
    """What is fetched and made first; each step waits for the one before."""
    done: tuple[int, ...] = ()
    automatic = [need for need in plan.needs if need.automatic]
    for need in automatic:
        done = draft.op("fetch" if need.code == "download" else "make", f"weights:{plan.stage}", need.message, done)
    if automatic:
        draft.resource("create", f"weights:{plan.stage}", automatic[0].message)
    return done


def _start(wanted: Side, draft: Draft, prepared: tuple[int, ...]) -> None:
    name, cause = engine_name(wanted.state), "nothing of this project runs"
    started = draft.op("start_engine", name, cause, prepared)
    draft.op("open_address", "address", cause, draft.op("probe", name, _PROBED, started))
    draft.resource("create", name, cause)


def _same_engines(now: Side, wanted: Side) -> bool:
    """Does `up` leave what runs as it is?"""
    same = (now.state.bundle, now.state.stage) == (wanted.state.bundle, wanted.state.stage)
    return wanted.state.bundle is not None and same and now.phase in ("ready", "unloaded", "starting")


def _scale(now: Side, wanted: Side, draft: Draft) -> None:
    have, want = now.state.replicas, wanted.state.replicas
    if have == want:
        return
    name, cause = engine_name(now.state), f"SERVE replicas is {want}, and {have} run"
    draft.op("add_engines" if want > have else "remove_engines", name, cause)
    draft.resource("update", name, cause)


_SUPERVISED = ("serve.replicas", "serve.keep_alive")
"""Settings that the supervisor acts on: no engine is started again for them."""

_PROBED = "an engine is ready when it has answered"
_UNROUTED = "it has no address any more"
_NO_ROOM = "there is no room for both"


def _side_by_side(now: Side, wanted: Side, draft: Draft, cause: str, prepared: tuple[int, ...], *,
                  keep_warm: float) -> None:
    old, new = engine_name(now.state), engine_name(wanted.state)
    probed = draft.op("probe", new, _PROBED, draft.op("start_engine", new, cause, prepared))
    last = draft.op("drain", old, _UNROUTED, draft.op("switch", "address", "the new engine has answered", probed))
    if keep_warm:
        last = draft.op("keep_warm", old, f"a rollback within {keep_warm:g} s is a switch", last)
    draft.op("stop_engine", old, _UNROUTED, last)


def _swap(now: Side, wanted: Side, draft: Draft, cause: str, prepared: tuple[int, ...]) -> None:
    old, new = engine_name(now.state), engine_name(wanted.state)
    stopped = draft.op("stop_engine", old, _NO_ROOM, draft.op("drain", old, _NO_ROOM, prepared))
    probed = draft.op("probe", new, _PROBED, draft.op("start_engine", new, cause, stopped))
    draft.op("switch", "address", "the new engine has answered", probed)


def _cause(now: Side, wanted: Side, changes: Iterable[Change]) -> str:
    """Why one engine takes another's place: the attributes that it is started with."""
    named = [one.path for one in changes if one.resource == "engine" and one.path not in _SUPERVISED]
    if now.state.stage != wanted.state.stage:
        return f"stage {wanted.state.stage} takes the place of {now.state.stage}"
    if now.state.bundle == wanted.state.bundle:
        return f"what runs is {now.phase}"
    if not named:
        return "it is started with other words" if wanted.state.bundle else "what is wanted is not here yet"
    shown = ", ".join(named[:4]) + (f" and {len(named) - 4} more" if len(named) > 4 else "")
    return f"{shown} {'is' if len(named) == 1 else 'are'} read when an engine starts"


def _refused(now: Side | None, wanted: Side, verb: Verb) -> str | None:
    """Why the verb would not begin."""
    if wanted.refusal is not None:
        return wanted.refusal
    if now is not None and verb == "up" and now.state.stage != wanted.state.stage:
        left, right = now.state.stage, wanted.state.stage
        return (f"stage `{left}` has the address, not `{right}`: `modelkit promote {left} {right}` checks and "
                "switches, `modelkit down` stops it")
    return None


def _notes(now: Side | None, wanted: Side, changes: Iterable[Change], mode: Mode) -> Iterable[str]:
    address = [one.path for one in changes if one.resource == "address"]
    if address:
        yield f"the address stays as it is while something runs: {', '.join(address)} counts after `modelkit down`"
    if mode == "swap" and now is not None and not _same_engines(now, wanted):
        yield "there is no room for both: nothing answers between the old engine's stop and the new one's start"
    yield from (now.notes if now is not None else ())
    if wanted.state.bundle is None and wanted.refusal is None:
        yield "what is exactly started is known when everything is on this machine"
