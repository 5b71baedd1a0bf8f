"""The files that tests name: lists of tools, and JSON Schemas. Bounded, and never from another machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.release.testing.case import Place

LARGEST = 1024 * 1024  # bytes of a file that a test names
_DEEPEST = 64


def read_tools(path: Path, place: Place) -> tuple[Mapping[str, Any], ...]:
    """A JSON file with OpenAI's list of tools. Raises Failure, with the place that names it."""
    return presume_tools(_read_json(path, place, "tools"), place, path.name)


def presume_tools(value: Any, place: Place, name: str) -> tuple[Mapping[str, Any], ...]:
    """OpenAI's list of tools, or a Failure."""
    named = isinstance(value, list) and all(
        isinstance(tool, dict) and isinstance(function := tool.get("function"), dict)
        and isinstance(function.get("name"), str) for tool in value)
    if not named or not value:
        raise Failure("test-tools", f"{place}: {name} is no list of tools", exit_code=1,
                      hint='[{"type": "function", "function": {"name": …, "parameters": {…}}}]')
    return tuple(value)


def read_schema(path: Path, place: Place) -> dict[str, Any] | bool:
    """A JSON file with a JSON Schema that refers to nothing outside of itself. Raises Failure."""
    return presume_schema(_read_json(path, place, "a JSON Schema"), place, path.name)


def presume_schema(value: Any, place: Place, name: str) -> dict[str, Any] | bool:
    """A JSON Schema that refers to nothing outside of itself, or a Failure."""
    if not isinstance(value, dict | bool):
        raise Failure("test-schema", f"{place}: {name} is no JSON Schema", "it is an object", exit_code=1)
    for reference in _references(value, 0, place, name):
        if not reference.startswith("#"):
            raise Failure("test-schema", f"{place}: {name} refers to {reference[:200]!r}, which is not in it",
                          "put the definition below `$defs` and refer to `#/$defs/…`: nothing is fetched", exit_code=1)
    return value


def _references(value: Any, depth: int, place: Place, name: str) -> Iterator[str]:
    if depth > _DEEPEST:
        raise Failure("test-schema", f"{place}: {name} nests deeper than {_DEEPEST} levels", exit_code=1)
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield from (value[key] for key in ("$ref", "$dynamicRef") if isinstance(value.get(key), str))
    for child in children:
        yield from _references(child, depth + 1, place, name)


def _read_json(path: Path, place: Place, what: str) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise Failure("test-file", f"{place}: {path} cannot be read: {(error.strerror or str(error)).lower()}",
                      f"it holds {what}, and is looked for beside the file that names it", exit_code=1) from None
    if len(data) > LARGEST:
        raise Failure("test-file", f"{place}: {path} is larger than 1 MiB", exit_code=1)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Failure("test-file", f"{place}: {path} is no JSON: {error}", f"it holds {what}", exit_code=1) from None
