"""Stages that repeat, or drop, what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelkit.language.checking.views import Checked, View
from modelkit.language.diagnostic import Note
from modelkit.language.fixes import without
from modelkit.language.layers import Effective, Layered, below
from modelkit.language.modelfile import KNOWN_STAGES, Layer, Said
from modelkit.language.rules.meaning import USELESS_UNSET
from modelkit.language.rules.style import EMPTY_STAGE, REDUNDANT_OVERRIDE

_SCALARS = {"base": "FROM", "quantize": "QUANTIZE", "engine": "ENGINE", "platform": "PLATFORM", "system": "SYSTEM",
            "template": "TEMPLATE", "draft": "DRAFT"}
_NAMED = {"parameters": "PARAMETER", "serve": "SERVE"}
_OURS = {"QUANTIZE": "quantize", "ENGINE": "engine", "PLATFORM": "platform", "SERVE": "serve", "FLAG": "flags",
         "POLICY": "policies", "EXPECT": "expectations"}
"""What no base model brings with it, so that only this file can have said it, and where a layer keeps it."""


def judge_overrides(checked: Checked) -> None:
    """Reports lines of stages that change nothing."""
    _drops(checked.modelfile.layer, None, checked)
    for view in checked.declared:
        assert view.block is not None  # it is declared
        beneath = below(checked.modelfile, view.said.stage)
        _repeats(view, beneath, checked)
        _drops(view.block.layer, beneath, checked)
        if view.block.layer == Layer() and view.block.extends is None and view.said.stage in KNOWN_STAGES \
                and _is_empty(view, checked):
            checked.say(EMPTY_STAGE, f"this block says nothing: stage `{view.said.stage}` is there without it",
                        checked.header(view.block))


def _is_empty(view: View, checked: Checked) -> bool:
    """No line at all: a TRY is in no layer, and a comment may be the reason."""
    return any(not block.body for block in checked.document.blocks("STAGE")
               if view.block is not None and block.span == view.block.span)


def _repeats(view: View, beneath: Effective, checked: Checked) -> None:
    assert view.block is not None  # it is declared
    layer, dropped = view.block.layer, {(said.value.instruction, said.value.key) for said in view.block.layer.unset}
    for what, key, said, before in _pairs(layer, beneath):
        if before is None or before.value != said.value or {(what, None), (what, key)} & dropped:
            continue
        shown = f"{what} {key}" if key else what
        notes = [Note("it is said here already", before.span)]
        checked.say(REDUNDANT_OVERRIDE, f"stage `{view.said.stage}` has this `{shown}` anyway", said.span, notes=notes,
                    fix=without(checked.document.source, said.span, f"the second `{shown}`"))


def _pairs(layer: Layer, beneath: Effective) -> Iterator[tuple[str, str | None, Said[Any], Layered[Any] | None]]:
    """Each value of a block, and what the blocks below it say."""
    for field, what in _SCALARS.items():
        if (said := getattr(layer, field)) is not None and not (field == "base" and layer.projector is not None):
            yield what, None, said, getattr(beneath, field)
    for field, what in _NAMED.items():
        below_it: Mapping[str, Layered[Any]] = getattr(beneath, field)
        for key, said in getattr(layer, field).items():
            yield what, key, said, below_it.get(key)


def _drops(layer: Layer, beneath: Effective | None, checked: Checked) -> None:
    for said in layer.unset:
        field = _OURS.get(said.value.instruction)
        if field is None:
            continue
        there = getattr(beneath, field) if beneath is not None else None
        key = said.value.key
        if key is not None and isinstance(there, Mapping):
            there = there.get(key)
        elif key is not None and there:
            continue  # a flag, a policy or a gate among others
        if not there:
            what = f"{said.value.instruction} {key}" if key else said.value.instruction
            checked.say(USELESS_UNSET, f"nothing has said `{what}`, so there is nothing to drop", said.span,
                        fix=without(checked.document.source, said.span, "the `UNSET`"))
