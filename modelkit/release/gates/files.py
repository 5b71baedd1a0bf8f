"""The gates that are judged before anything is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from modelkit.release.gates.asking import Asked
from modelkit.release.gates.context import GateContext
from modelkit.release.history import History
from modelkit.release.verdict import Verdict

_SHOWN = 8  # lines of a longer list that a record keeps


@dataclass(frozen=True)
class Found:
    """What a gate found: its verdict, what a record keeps of it, and the whole result for the evidence."""

    verdict: Verdict
    observed: dict[str, Any] = field(default_factory=dict)
    result: Any = None


Judge = Callable[[Asked, GateContext], Found]


def absent(gate: Asked, context: GateContext) -> Found:
    """Nothing here can measure it."""
    return Found("skipped", {"why": context.measures.absent.get(gate.kind, "nothing here measures it")})


def lint(gate: Asked, context: GateContext) -> Found:
    if context.measures.lint is None:
        return absent(gate, context)
    return _none_of("errors", tuple(context.measures.lint()))


def lock(gate: Asked, context: GateContext) -> Found:
    if context.measures.lock is None:
        return absent(gate, context)
    stale = context.measures.lock()
    return Found("fail", {"stale": stale}) if stale else Found("pass", {"lock": context.subject.lock or "none"})


def supply(gate: Asked, context: GateContext) -> Found:
    """Each policy obeyed; one that nobody looked at is inconclusive, never passed."""
    if context.measures.supply is None:
        return absent(gate, context)
    found = context.measures.supply()
    offended = {name: why for name in gate.policies if (why := found.get(name))}
    unknown = [name for name in gate.policies if name not in found]
    if offended:
        return Found("fail", offended)
    if unknown:
        return Found("inconclusive", {"why": f"this release does not check {', '.join(unknown)}"})
    return Found("pass", {"policies": list(gate.policies)})


def params(gate: Asked, context: GateContext) -> Found:
    if context.measures.lost is None:
        return absent(gate, context)
    return _none_of("lost", tuple(context.measures.lost()))


def soak(gate: Asked, context: GateContext) -> Found:
    if context.measures.soaked is None:
        return absent(gate, context)
    soaked = context.measures.soaked()
    if soaked is None:
        return Found("inconclusive", {"why": f"stage `{context.source}` does not run here as its file says"})
    seen = {"ran": str(timedelta(seconds=int(soaked.seconds))), "restarts": str(soaked.restarts),
            **({"since": soaked.since} if soaked.since else {})}
    return Found("pass" if gate.met(soaked.seconds) else "fail", seen)


def approval(gate: Asked, context: GateContext) -> Found:
    """People count once, and neither who promotes nor who wrote it. A later `reject` takes all approvals back."""
    people = approvers(context.history, context.subject.ir, context.signers)
    own = {context.actor.identity, context.actor.name.lower(), *context.authors}
    counted = sorted(person for person, names in people.items() if not names & own)
    seen: dict[str, Any] = {"approvals": str(len(counted)), **({"by": counted} if counted else {}),
                            "signatures": "not asked for" if context.signers is None else "required"}
    if len(counted) != len(people):
        seen["not_counted"] = sorted(people.keys() - set(counted))
    return Found("pass" if gate.met(len(counted)) else "fail", seen)


def approvers(history: History, ir: str, signers: frozenset[str] | None = None) -> dict[str, frozenset[str]]:
    """Who approved of a subject, by identity, with all names that the person goes by. Of several approvals of a
    person one counts; with `signers` only records whose signature is good."""
    found: dict[str, frozenset[str]] = {}
    for entry in history.chain:
        record = entry.record
        if (record.about or (record.subject.ir if record.subject else None)) != ir:
            continue
        if record.kind == "reject":
            found = {}
        elif record.kind == "approve" and (signers is None or entry.id in signers):
            actor = record.actor
            found[actor.identity] = frozenset({actor.identity, actor.name.lower()})
    return found


def fit(gate: Asked, context: GateContext) -> Found:
    """What it takes, measured; what was planned stands beside it, and judges nothing."""
    if context.measures.memory is None:
        return absent(gate, context)
    used = context.measures.memory()
    said = context.measures.predicted() if context.measures.predicted is not None else None
    planned = {} if said is None else {"predicted": str(int(said))}
    if used is None:
        return Found("inconclusive", {"why": "the engine's memory is not known here", **planned})
    off = {"off": f"{(used - said) / said:+.1%}"} if said else {}
    return Found("pass" if gate.met(used) else "fail", {"bytes": str(int(used)), **planned, **off})


def _none_of(what: str, lines: tuple[str, ...]) -> Found:
    more = {"first": list(lines[:_SHOWN])} if lines else {}
    return Found("fail" if lines else "pass", {what: str(len(lines)), **more})
