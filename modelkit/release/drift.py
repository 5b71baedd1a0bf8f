"""In what a deployment differs from its Modelfile: what runs, what was planned when it was started, and what the file
and its lock say now. Pure, but for `ask`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelkit.contract.effective import PATH, Effective
from modelkit.engines.call import call
from modelkit.engines.expected import differences, expected
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan

Kind = Literal["engine", "modelfile", "lock"]


@dataclass(frozen=True)
class Drift:
    """One difference. `engine`: the engine has something else than it was started for; `modelfile`: the file says
    something else by now; `lock`: the lock does not answer the file."""

    kind: Kind
    what: str
    planned: Any
    found: Any

    def __str__(self) -> str:
        if self.kind == "lock":
            return self.what
        return f"{self.what}: {_short(self.planned)} is wanted, {_short(self.found)} runs"


def effective_at(socket: str) -> Effective:
    """What the engine at a Unix socket has. Raises Failure when it does not say."""
    return effective_of(call(socket, PATH, timeout=30))


def effective_of(document: Any) -> Effective:
    """The state in an engine's answer. Raises Failure `not-effective` for anything else."""
    try:
        return Effective.from_json(document)
    except (ValueError, TypeError, AttributeError):
        said = json.dumps(document)[:120] if document is not None else "nothing"
        raise Failure("not-effective", f"what answers there is no engine under modelkit's contract: {said}",
                      hint="was it deployed by `modelkit up` or from `modelkit build -o`, by this release?") from None


def engine_drift(plan: Plan, found: Effective) -> Iterator[Drift]:
    """Where an engine is not as the plan that it was started for."""
    for one in differences(expected(plan), found):
        yield Drift("engine", one.name.replace("_", " "), one.planned, one.found)


def modelfile_drift(running: Plan, now: Plan) -> Iterator[Drift]:
    """Where the Modelfile and its lock say something else by now than what runs."""
    before, after = _facts(running), _facts(now)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Drift("modelfile", name, after.get(name), before.get(name))


def _facts(plan: Plan) -> dict[str, Any]:
    """What of a plan decides what is served, by names that people know."""
    said = {setting.name: setting.value for setting in plan.settings if setting.name not in ("serve.host",
                                                                                             "serve.port")}
    return {**said, "model": plan.name, "engine version": plan.engine.version if plan.engine else None,
            "platform": plan.platform, "weights": plan.weights.digest if plan.weights else None,
            "source": f"{plan.source.name}@{plan.source.revision}" if plan.source and plan.source.kind != "folder"
            else None, "image": plan.image, "chat template": plan.template_digest,
            "adapters": [f"{one.name} {one.digest}".strip() for one in plan.adapters], "flags": list(plan.flags),
            "few-shots": plan.profile.get("messages"), "system": plan.profile.get("system")}


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    return text if len(text) <= 48 else text[:45] + "..."
