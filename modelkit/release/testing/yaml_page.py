"""A YAML file whose every value knows its place, so that a mistake in it is shown where it is.

Bounded: no aliases (a few lines of them can stand for gigabytes), no tags, limited size and depth.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelkit.failure import Failure
from modelkit.language.diagnostic import did_you_mean
from modelkit.release.testing.case import Place

LARGEST = 4 * 1024 * 1024  # bytes
_WIDEST = 200  # characters of a line that is shown


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not read here", problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem="tags are not read here", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


@dataclass(frozen=True)
class Page:
    """One file's text, `name` as the user knows it."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path) -> Page:
        """Raises Failure for what cannot be read, or is no UTF-8."""
        try:
            with path.open("rb") as file:
                data = file.read(LARGEST + 1)
        except OSError as error:
            raise Failure("golden-file", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        if len(data) > LARGEST:
            raise Failure("golden-file", f"{path} is larger than 4 MiB", "split it into several", exit_code=1)
        try:
            return cls(str(path), data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise Failure("golden-file", f"{path} is no UTF-8 (byte {error.start})", exit_code=1) from None

    def root(self) -> yaml.Node:
        """The one document's tree. Raises Failure (exit 1) with the place of the mistake."""
        try:
            node = yaml.compose(self.text, _Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = " ".join(part for part in (error.context, error.problem) if part)
            raise self._failure(mark, message or "this is no YAML", None) from None
        except (yaml.YAMLError, RecursionError) as error:
            why = "it nests too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0]
            raise Failure("golden-file", f"{self.name} is no YAML: {why}", exit_code=1) from None
        if node is None:
            raise Failure("golden-file", f"{self.name} is empty", exit_code=1)
        return node

    def place(self, node: yaml.Node) -> Place:
        return Place(self.name, node.start_mark.line + 1, node.start_mark.column + 1)

    def wrong(self, node: yaml.Node, message: str, hint: str | None = None) -> Failure:
        """What is wrong with a value, to be raised."""
        return self._failure(node.start_mark, message, hint)

    def mapping(self, node: yaml.Node, known: Collection[str], needed: Collection[str] = ()) -> dict[str, yaml.Node]:
        """Its members by name, each of them known, each once."""
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"this must be a mapping with {', '.join(f'`{one}`' for one in sorted(known))}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text_of(key)
            if name not in known:
                near = did_you_mean(name, known)
                raise self.wrong(key, f"there is no `{name}` here", f"did you mean `{near}`?" if near else
                                 "known are " + ", ".join(sorted(known)))
            if name in found:
                raise self.wrong(key, f"`{name}` stands here twice")
            found[name] = value
        for name in needed:
            if name not in found:
                raise self.wrong(node, f"`{name}` is missing")
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node, f"this must be a list of {what}")
        return list(node.value)

    def text_of(self, node: yaml.Node) -> str:
        """A text. What YAML takes for something else (`no`, `1.0`, nothing) must be put in quotes."""
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            return str(node.value)
        if isinstance(node, yaml.ScalarNode):
            what = {"bool": "true or false", "null": "nothing"}.get(node.tag.rpartition(":")[2], "a number or a date")
            raise self.wrong(node, f"this must be a text, and YAML reads it as {what}", "put it in quotes")
        raise self.wrong(node, "this must be a text")

    def value_of(self, node: yaml.Node) -> Any:
        """Plain data, as JSON could hold it."""
        if isinstance(node, yaml.MappingNode):
            return {self.text_of(key): self.value_of(value) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [self.value_of(one) for one in node.value]
        kind = node.tag.rpartition(":")[2]
        try:
            if kind in ("int", "float", "bool", "null"):
                value = None if kind == "null" else yaml.safe_load(str(node.value))
                if isinstance(value, float) and not math.isfinite(value):
                    raise ValueError
                return value
        except (yaml.YAMLError, ValueError):
            raise self.wrong(node, "this is no number that JSON has") from None
        if kind == "str":
            return str(node.value)
        raise self.wrong(node, "this must be a text, a number, true or false", "put a date in quotes")

    def whole(self, node: yaml.Node, low: int, high: int) -> int:
        value = self.value_of(node)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(node, f"this must be a whole number from {low} to {high}")
        return value

    def boolean(self, node: yaml.Node) -> bool:
        if not isinstance(value := self.value_of(node), bool):
            raise self.wrong(node, "this must be true or false")
        return value

    def one_of(self, node: yaml.Node, words: Mapping[str, Any] | Collection[str]) -> str:
        if (text := self.text_of(node)) not in words:
            near = did_you_mean(text, words)
            raise self.wrong(node, f"`{text}` is none of {', '.join(words)}",
                             f"did you mean `{near}`?" if near else None)
        return text

    def _failure(self, mark: Any, message: str, hint: str | None) -> Failure:
        line, column = (mark.line, mark.column) if mark is not None else (0, 0)
        lines = self.text.splitlines()
        shown = lines[line][:_WIDEST] if line < len(lines) else ""
        lead = "".join("\t" if one == "\t" else " " for one in shown[:column])
        number = str(line + 1)
        detail = (f"{number} | {shown}", f"{' ' * len(number)} | {lead}^")
        return Failure("golden-file", f"{self.name}:{line + 1}:{column + 1}: {message}", hint, detail, exit_code=1,
                       data={"place": {"file": self.name, "line": line + 1, "column": column + 1}})
