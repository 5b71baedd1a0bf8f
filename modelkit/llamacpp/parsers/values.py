"""Text to the JSON values that a tool's schema wants, for families that write arguments without types.

vLLM's order of trials (`tool_parsers/utils.py`, 0.32): null, integer, number, boolean, object or list, then a string,
which everything can be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

_ALIASES = {
    **dict.fromkeys(("str", "text", "varchar", "char", "enum"), "string"),
    **dict.fromkeys(("int", "int32", "int64", "uint", "uint32", "uint64", "long", "short", "unsigned"), "integer"),
    **dict.fromkeys(("float", "float32", "float64", "double"), "number"),
    "bool": "boolean", "dict": "object", **dict.fromkeys(("arr", "list", "sequence"), "array"),
}
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def properties(schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The schemas of a tool's arguments by name."""
    found = (schema or {}).get("properties")
    return found if isinstance(found, Mapping) else {}


def is_text(schema: Any) -> bool:
    """Whether a value can be nothing but a string, so that its text may be told before it has ended."""
    return not isinstance(schema, Mapping) or kinds(schema) == {"string"}


def kinds(schema: Any) -> set[str]:
    """The types that a schema allows, by their JSON names; a schema without types allows strings."""
    if not isinstance(schema, Mapping):
        return {"string"}
    said = schema.get("type")
    found = {one for one in (said if isinstance(said, list) else [said]) if isinstance(one, str)}
    for value in schema.get("enum") or () if isinstance(schema.get("enum"), list) else ():
        found.add("null" if value is None else _KINDS[type(value)])
    for name in ("anyOf", "oneOf", "allOf"):
        for choice in schema[name] if isinstance(schema.get(name), list) else ():
            found |= kinds(choice)
    return {_ALIASES.get(one.strip().lower(), one.strip().lower()) for one in found} or {"string"}


def typed(text: str, schema: Any) -> Any:
    """The value of a text. One that no allowed type can be is the JSON that it spells, or itself."""
    wanted = kinds(schema)
    for kind, read in _READERS.items():
        if kind in wanted:
            try:
                return read(text)
            except (ValueError, RecursionError):
                continue
    if "string" in wanted:
        return text
    try:
        return _finite(json.loads(text))
    except (ValueError, RecursionError):
        return text


def retyped(value: Any, schema: Any) -> Any:
    """A value of which every string, and every element, has become what its schema wants."""
    if isinstance(value, str):
        return typed(value, schema)
    if isinstance(value, dict):
        known = properties(schema if isinstance(schema, Mapping) else None)
        return {name: retyped(one, known[name]) if isinstance(known.get(name), Mapping) else one
                for name, one in value.items()}
    if isinstance(value, list):
        items = schema.get("items") if isinstance(schema, Mapping) else None
        return [retyped(one, items) if isinstance(items, Mapping) else one for one in value]
    return typed(json.dumps(value, ensure_ascii=False), schema)


def _null(text: str) -> None:
    if text.lower() != "null":
        raise ValueError


def _number(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(value) if value == int(value) else value


def _boolean(text: str) -> bool:
    word = text.lower().strip()
    if word not in ("true", "1", "false", "0"):
        raise ValueError
    return word in ("true", "1")


def _structure(text: str) -> Any:
    return _finite(json.loads(text))


def _finite(value: Any) -> Any:
    json.dumps(value, allow_nan=False)  # raises ValueError
    return value


_READERS: Mapping[str, Callable[[str], Any]] = {"null": _null, "integer": int, "number": _number,
                                                  "boolean": _boolean, "object": _structure, "array": _structure}
