"""YAML files of other programs, with the line of every value. Reads nothing but plain data, in bounded time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from modelkit.failure import Failure

_MOST_MERGED = 10_000
"""Pairs of one mapping: `<<` may name mappings that name others, and doubles with each."""

_DEEPEST = 500
_BRACKET = re.compile(r"[\[\]{}]")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where there is one: forty times as fast, and it bounds how deep a file is nested."""

Path = tuple[str, ...]


@dataclass(frozen=True)
class Parsed:
    """A file's value, and on which line each part of it stands."""

    name: str
    value: Any
    lines: Mapping[Path, int]

    def line(self, *path: str) -> int | None:
        """The 1-based line of a part, or of the nearest thing around it that has one."""
        return next((self.lines[path[:size]] for size in range(len(path), -1, -1) if path[:size] in self.lines), None)

    def mapping(self, *path: str) -> Mapping[str, Any]:
        """The mapping at a path, empty where nothing is. Raises Failure where something else is."""
        found = self.value
        for size in range(len(path) + 1):
            if size:
                found = found.get(path[size - 1])
            if found is None:
                return {}
            if not isinstance(found, dict):
                what = f"`{'.'.join(path[:size])}`" if size else "the file"
                raise Failure("import-shape", f"{self.name}:{self.line(*path[:size]) or 1}: {what} is not a mapping",
                              hint="a mapping has `key: value` on each of its lines")
        return {str(key): value for key, value in found.items()}


def parse(text: str, name: str) -> Parsed:
    """The one document of a YAML (or JSON) file. Raises Failure, with the place, for what is none."""
    _presume_shallow(text, name)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise Failure("import-empty", f"{name} is empty", hint="is it the right file?")
            _presume_bounded(node, {}, name)
            lines = dict(_places(node, (), name, set()))
            return Parsed(name, loader.construct_document(node), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _failure(name, text, error) from None
    except RecursionError:
        raise Failure("import-yaml", f"{name} is nested too deeply", hint="is it the right file?") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Failure("import-yaml", f"{name} is not YAML: {' '.join(str(error).split())[:120]}") from None


def _presume_shallow(text: str, name: str) -> None:
    """Readers take time with the square of how many brackets are open at once."""
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1 if depth else 0
        if depth > _DEEPEST:
            raise Failure("import-yaml", f"{name} is nested too deeply", hint="is it the right file?")


def _places(node: yaml.Node, path: Path, name: str, seen: set[int]) -> Iterator[tuple[Path, int]]:
    """Where everything is that is no more than eight deep; no program's settings lie deeper."""
    yield path, node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode) or len(path) > 8 or id(node) in seen:
        return
    seen.add(id(node))
    keys: set[str] = set()
    for key, value in node.value:
        text = key.value if isinstance(key, yaml.ScalarNode) else ""
        if text in keys and text != "<<":
            raise Failure("import-yaml", f"{name}:{key.start_mark.line + 1}: the key `{text[:40]}` stands twice in one "
                          "mapping", hint="drop one of them: readers do not agree which counts")
        keys.add(text)
        yield from _places(value, (*path, text), name, seen)
        yield (*path, text), key.start_mark.line + 1


def _presume_bounded(node: yaml.Node, merged: dict[int, int], name: str) -> int:
    """How many pairs a mapping has once its `<<` are followed.

    Raises Failure for an absurd number, and for a value that holds itself.
    """
    if (known := merged.get(id(node))) is not None:
        if known < 0:
            raise Failure("import-yaml", f"{name}:{node.start_mark.line + 1}: a value holds itself",
                          hint="an alias (`*name`) may not stand inside of what it names")
        return known
    merged[id(node)] = -1
    count = 0
    if isinstance(node, yaml.SequenceNode):
        count = sum(_presume_bounded(one, merged, name) for one in node.value)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = _presume_bounded(value, merged, name)
            count += inside if isinstance(key, yaml.ScalarNode) and key.value == "<<" else 1
        if count > _MOST_MERGED:
            raise Failure("import-yaml", f"{name}:{node.start_mark.line + 1}: a mapping of {count} pairs",
                          hint="is it the right file?")
    merged[id(node)] = count
    return count


def _failure(name: str, text: str, error: yaml.MarkedYAMLError) -> Failure:
    mark = error.problem_mark or error.context_mark
    problem = " ".join((error.problem or error.context or "it does not parse").split())[:120]
    if mark is None:
        return Failure("import-yaml", f"{name}: {problem}")
    lines = text.splitlines()
    line = lines[mark.line][:200] if mark.line < len(lines) else ""
    return Failure("import-yaml", f"{name}:{mark.line + 1}:{mark.column + 1}: {problem}",
                   detail=(line, " " * min(mark.column, 200) + "^"))
