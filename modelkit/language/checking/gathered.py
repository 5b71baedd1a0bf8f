"""What one block has said so far, and the Layer that comes of it."""

from __future__ import annotations

from typing import Any

from modelkit.language.checking.context import Context
from modelkit.language.fixes import without
from modelkit.language.modelfile import Layer, Said, Unset
from modelkit.language.rules.meaning import USELESS_UNSET

_ONE = {"FROM": "base", "QUANTIZE": "quantize", "ENGINE": "engine", "PLATFORM": "platform", "SYSTEM": "system",
        "TEMPLATE": "template", "DRAFT": "draft", "RENDERER": "renderer", "PARSER": "parser", "REQUIRES": "requires"}
_BY_NAME = {"PARAMETER": "parameters", "SERVE": "serve"}
_LISTS = {"MESSAGE": "messages", "ADAPTER": "adapters", "LICENSE": "licenses"}
_SUMS = {"FLAG": "flags", "POLICY": "policies", "EXPECT": "expectations", "UNSET": "unset"}


class Gathered:
    """Values by instruction and, where it has one, by name: ("SYSTEM", None), ("PARAMETER", "stop")."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._said: dict[tuple[str, str | None], list[Said[Any]]] = {}

    def put(self, instruction: str, said: Said[Any], name: str | None = None) -> None:
        """Sets what has one value; says so if it had one."""
        if before := self._said.get((instruction, name)):
            self._context.twice(f"{instruction} {name}" if name else instruction, said.span, before[-1].span)
        self._said[instruction, name] = [said]

    def add(self, instruction: str, said: Said[Any], name: str | None = None) -> None:
        """Adds to what has several values."""
        self._said.setdefault((instruction, name), []).append(said)

    def get(self, instruction: str) -> Said[Any] | None:
        """The one value of an instruction without names."""
        return next(iter(self._said.get((instruction, None), ())), None)

    def drop(self, unset: Said[Unset]) -> None:
        """Takes back what the block itself said before its UNSET, and keeps the UNSET for the blocks below."""
        instruction, key = unset.value.instruction, unset.value.key
        for place in [p for p in self._said if p[0] == instruction and key in (None, p[1])]:
            what = " ".join(filter(None, place))
            for said in self._said.pop(place):
                self._context.report.add(USELESS_UNSET, f"`{what}` is dropped again by an UNSET below", said.span,
                                         fix=without(self._context.source, said.span, f"the `{what}` without effect"))
        self.add("UNSET", unset)

    def layer(self) -> Layer:
        fields: dict[str, Any] = {name: self.get(instruction) for instruction, name in _ONE.items()}
        for instruction, name in _BY_NAME.items():
            fields[name] = {n: s[-1] for (i, n), s in self._said.items() if i == instruction and n != "stop"}
        for instruction, name in _LISTS.items():
            fields[name] = self._all(instruction) or None
        for instruction, name in _SUMS.items():
            fields[name] = self._all(instruction)
        stop = self._said.get(("PARAMETER", "stop"))
        return Layer(**fields, stop=tuple(stop) if stop else None)

    def _all(self, instruction: str) -> tuple[Said[Any], ...]:
        """Every value of an instruction, under whatever name, in file order."""
        said = (s for (i, _), values in self._said.items() if i == instruction for s in values)
        return tuple(sorted(said, key=lambda s: s.span))
