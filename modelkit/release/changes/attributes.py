"""What is other between two versions of one model, attribute by attribute, with what it means for clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from modelkit.planning.difference import KINDS, Kind, differences
from modelkit.planning.plan import Plan
from modelkit.release.changes.types import Change

EDGE = ("serve.port", "serve.host", "serve.api_key")
"""Settings of the address, which no engine sees."""

Read = Callable[[Plan], Any]

_BESIDE_SETTINGS: Mapping[str, tuple[Read, Kind, str]] = {
    "name": (lambda plan: plan.name, "breaking", "clients send another model name"),
    "engine.version": (lambda plan: plan.engine.version if plan.engine else None, "quality",
                       "another build computes: other numbers, and so other tokens"),
    "engine.provider": (lambda plan: plan.engine.provider if plan.engine else None, "quality",
                        "another program computes: other numbers, and so other tokens"),
    "weights.digest": (lambda plan: plan.weights.digest if plan.weights else None, "quality", "other weights answer"),
    "image": (lambda plan: plan.image, "quality", "another build computes: other numbers, and so other tokens"),
    "source.revision": (lambda plan: plan.source.revision or None if plan.source else None, "quality",
                        "another revision of the model answers"),
    "template.digest": (lambda plan: plan.template_digest, "quality", "the same conversation is another prompt"),
    "adapters.digest": (lambda plan: [one.digest for one in plan.adapters if one.digest] or None, "quality",
                        "other weights of an adapter answer"),
    "flags": (lambda plan: list(plan.flags) or None, "quality", "the engine's own flags"),
}
"""What decides what is served and is no setting of the language."""

_SAID_BY = {"weights.digest": ("model", "weights", "quantize"), "source.revision": ("model", "weights"),
            "template.digest": ("template", "model"), "adapters.digest": ("adapters",),
            "engine.version": ("engine",), "engine.provider": ("engine",), "image": ("engine", "serve.image")}
"""Attributes that follow from others: not said a second time where one of those is."""


def attributes(before: Plan, after: Plan) -> tuple[Change, ...]:
    """What differs, the gravest first. Both plans must have been lowered."""
    found = {one.setting: Change(resource="address" if one.setting in EDGE else "engine", path=one.setting,
                                 before=one.left, after=one.right, effect=one.kind, reason=one.why)
             for one in differences(before, after) if one.left != one.right}
    said = set(found)
    changes = [*found.values(), *_beside(before, after, said), *_resolved(before, after, said)]
    return tuple(sorted(changes, key=lambda one: (-KINDS.index(one.effect), one.path)))


def _beside(before: Plan, after: Plan, said: set[str]) -> Iterator[Change]:
    for name, (read, effect, reason) in _BESIDE_SETTINGS.items():
        left, right = read(before), read(after)
        unknown = name == "weights.digest" and None in (left, right)  # not on this machine yet
        if left != right and not unknown and said.isdisjoint(_SAID_BY.get(name, ())):
            yield Change(resource="engine", path=name, before=left, after=right, effect=effect, reason=reason)


def _resolved(before: Plan, after: Plan, said: set[str]) -> Iterator[Change]:
    """What the machine or the model's files decided where the Modelfile left it open."""
    for name, setting in (("context_length", "num_ctx"), ("max_concurrency", "serve.max_concurrency")):
        left, right = getattr(before, name), getattr(after, name)
        if left != right and setting not in said:
            shrinks = name == "context_length" and right < left
            yield Change(resource="engine", path=name, before=left, after=right,
                         effect="breaking" if shrinks else "capacity",
                         reason="follows from the model and the machine: the Modelfile says nothing about it")
