"""How much work a JSON schema or a grammar is for the engine's compiler, before one gets to see it.

Compilers are recursive and spell alternatives out: what is bounded here took one of them seconds, or ended the engine.
Measured with llguidance 1.9.1, whose stack overflows after about 1,000 references or 4,000 nested rules.
"""

from __future__ import annotations

from typing import Any

COMBINATIONS = 1024
"""Alternatives that `allOf` may multiply to: 2**20 take seconds, 2**30 for ever."""

LEVELS = 128
"""How deep a schema may nest where references are followed."""

RULES = 1500
"""Rules and brackets of a grammar: as deep as it could nest."""

_LISTS = ("anyOf", "oneOf")
_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_PLAIN = ("enum", "const", "default", "examples", "required")


def problem(schema: dict[str, Any]) -> str | None:
    """What is too much about a schema, to follow its name in a sentence."""
    try:
        measured = _Measured(schema)
    except _TooDeep:
        return f"nests deeper than {LEVELS} levels where its references are followed"
    if measured.combinations > COMBINATIONS:
        return f"combines more than {COMBINATIONS} alternatives by `allOf`"
    return None


def rules(grammar: str) -> int:
    """A bound for how deep a grammar nests: its definitions and opening brackets."""
    return sum(map(grammar.count, ":([{")) - grammar.count("::=")


class _TooDeep(Exception):
    pass


class _Measured:
    """The largest number of `combinations` that something in a schema demands at once. Raises _TooDeep."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.combinations = 1
        self._schema = schema
        self._known: dict[int, tuple[int, int]] = {}
        self._node(schema, 0)

    def _node(self, node: Any, above: int) -> tuple[int, int]:
        """In how many ways a part of the schema may be met, and how deep it nests."""
        if not isinstance(node, dict):
            return 1, 0
        if id(node) not in self._known:
            if above > LEVELS:
                raise _TooDeep
            self._known[id(node)] = 1, 1  # for what refers to itself
            self._known[id(node)] = self._measure(node, above)
        if above + self._known[id(node)][1] > LEVELS:
            raise _TooDeep
        return self._known[id(node)]

    def _measure(self, node: dict[str, Any], above: int) -> tuple[int, int]:
        factors, inner, levels = [], 1, 0
        for name, part in node.items():
            if name in _PLAIN:
                continue
            parts = [self._target(part)] if name == "$ref" else list(part.values()) \
                if name in _NAMES and isinstance(part, dict) else part if isinstance(part, list) else [part]
            found = [self._node(one, above + 1) for one in parts]
            ways = [many for many, _ in found]
            levels = max([levels, *(deep for _, deep in found)])
            if name in _LISTS:
                factors.append(sum(ways))
            elif name in ("allOf", "$ref"):
                factors += ways
            else:
                inner = max([inner, *ways])
        product = 1
        for factor in factors:
            product = min(product * factor, COMBINATIONS + 1)
        if sum(factor > 1 for factor in factors) > 1:
            self.combinations = max(self.combinations, product)
        return max(product, inner), levels + 1

    def _target(self, reference: Any) -> Any:
        """What `#/$defs/name` stands for; other references are the engine's to refuse."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        found: Any = self._schema
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found
