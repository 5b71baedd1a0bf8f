"""Tool calls that a request forces: the schema that makes the model write them.

vLLM's schemas (`tool_parsers/utils.py`, 0.32): the arguments alone for a named tool; for `required` a list of objects
with `name` and `parameters`, of which the grammar wants one at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelkit.contract.errors import invalid


@dataclass(frozen=True)
class Forced:
    """`name` is the one tool to call, None for any of them. `schema` is of the answer's text."""

    name: str | None
    schema: Mapping[str, Any]


def forced(request: Mapping[str, Any]) -> Forced | None:
    """What a request's `tool_choice` forces, if it does."""
    choice, offered = request.get("tool_choice"), request.get("tools")
    if not offered:
        return None
    functions = [one["function"] for one in offered]
    if isinstance(choice, Mapping):
        name = choice["function"]["name"]
        return Forced(name, next(_parameters(one) for one in functions if one["name"] == name))
    if choice == "required":
        return Forced(None, _any_of(functions, parallel=request.get("parallel_tool_calls") is not False))
    return None


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    return function.get("parameters") or {"type": "object", "properties": {}}


def _any_of(functions: Sequence[Mapping[str, Any]], *, parallel: bool) -> dict[str, Any]:
    """Definitions move to the root, where references to them point once the schemas are nested."""
    definitions: dict[str, Any] = {}
    calls = []
    for function in functions:
        parameters = dict(_parameters(function))
        for name, schema in (parameters.pop("$defs", None) or {}).items():
            if definitions.setdefault(name, schema) != schema:
                raise invalid("tools", f"`tools` define `{name}` in two ways; a forced call needs one")
        calls.append({"type": "object", "required": ["name", "parameters"], "additionalProperties": False,
                      "properties": {"name": {"const": function["name"]}, "parameters": parameters}})
    several: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"anyOf": calls}}
    if not parallel:
        several["maxItems"] = 1
    return several | ({"$defs": definitions} if definitions else {})
