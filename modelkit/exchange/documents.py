"""YAML files of other programs, with the line of every value. Reads nothing but plain data, in bounded time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from modelkit.failure import Failure

_MOST_MERGED = 10_000
"""Pairs of one mapping: `<<` may name mappings that name others, and doubles with each."""

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
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if found is None:
            return {}
        if not isinstance(found, dict):
            what = f"`{'.'.join(path)}`" if path else "the file"
            raise Failure("import-shape", f"{self.name}:{self.line(*path) or 1}: {what} is not a mapping",
                          hint="a mapping has `key: value` on each of its lines")
        return {str(key): value for key, value in found.items()}


def parse(text: str, name: str) -> Parsed:
    """The one document of a YAML (or JSON) file. Raises Failure, with the place, for what is none."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                raise Failure("import-empty", f"{name} is empty", hint="is it the right file?")
            lines = dict(_places(node, (), name, ()))
            _presume_bounded(node, {}, name)
            return Parsed(name, loader.construct_document(node), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _failure(name, text, error) from None
    except RecursionError:
        raise Failure("import-yaml", f"{name} is nested too deeply", hint="is it the right file?") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Failure("import-yaml", f"{name} is not YAML: {' '.join(str(error).split())[:120]}") from None


def _places(node: yaml.Node, path: Path, name: str, above: tuple[yaml.Node, ...]) -> Iterator[tuple[Path, int]]:
    """Where everything is that is no more than eight deep; no program's settings lie deeper."""
    if any(node is one for one in above):
        raise Failure("import-yaml", f"{name}:{node.start_mark.line + 1}: a value holds itself",
                      hint="an alias (`*name`) may not stand inside of what it names")
    yield path, node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode) or len(path) > 8:
        return
    seen: set[str] = set()
    for key, value in node.value:
        text = key.value if isinstance(key, yaml.ScalarNode) else ""
        if text in seen and text != "<<":
            raise Failure("import-yaml", f"{name}:{key.start_mark.line + 1}: the key `{text[:40]}` stands twice in one "
                          "mapping", hint="drop one of them: readers do not agree which counts")
        seen.add(text)
        if value.start_mark.line < node.start_mark.line:
            yield (*path, text), key.start_mark.line + 1  # an alias: what it names is described where it stands
        else:
            yield from _places(value, (*path, text), name, (*above, node))
            yield (*path, text), key.start_mark.line + 1


def _presume_bounded(node: yaml.Node, merged: dict[int, int], name: str) -> int:
    """How many pairs a mapping has once its `<<` are followed. Raises Failure for an absurd number."""
    if id(node) in merged:
        return merged[id(node)]
    merged[id(node)] = 0
    count = 0
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            count += _presume_bounded(one, merged, name)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = _presume_bounded(value, merged, name)
            count += inside if isinstance(key, yaml.ScalarNode) and key.value == "<<" else 1
    if count > _MOST_MERGED and isinstance(node, yaml.MappingNode):
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
