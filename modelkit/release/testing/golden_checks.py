"""The checks of golden files, as the cases have them: `- contains: Paris`, `- not: {regex: "[0-9]"}`, `- no_leak`."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any, cast

import yaml

from modelkit.language.kinds import Duration
from modelkit.release.testing.case import Check, Place, Severity
from modelkit.release.testing.checks import KINDS
from modelkit.release.testing.files import presume_schema, read_schema
from modelkit.release.testing.modelfile_cases import NEARLY
from modelkit.release.testing.yaml_page import Page

_REASONS = ("stop", "length", "tool_calls", "content_filter")
_BARE = ("json", "no_leak")  # kinds that need no operand
_LONGEST = 80  # characters of a check as people read it


class CheckReader:
    """Reads checks of one file; `spots` collects where exact texts stand, which `--update` may rewrite."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page, self._folder = page, folder
        self.spots: dict[Place, tuple[int, int]] = {}

    def read_all(self, node: yaml.Node) -> tuple[Check, ...]:
        """Each check of an `expect:`. Raises Failure."""
        return tuple(self._check(one) for one in self._page.sequence(node, "checks"))

    def _check(self, node: yaml.Node) -> Check:
        page = self._page
        if isinstance(node, yaml.ScalarNode):
            kind = page.one_of(node, sorted(KINDS))
            if kind not in _BARE:
                raise page.wrong(node, f"`{kind}` needs something to compare with", f"write `- {kind}: …`")
            return Check(kind, None, page.place(node), kind)
        said = page.mapping(node, (*KINDS, "not", "severity"))
        severity = page.one_of(said.pop("severity"), ("block", "warn")) if "severity" in said else "block"
        if len(said) != 1:
            raise page.wrong(node, "a check is of one kind", "write a list item for each")
        kind, value = next(iter(said.items()))
        if kind == "not":
            inner = self._check(value)
            if inner.negated or inner.severity == "warn":
                raise page.wrong(value, "`not` and `severity` stand outside, once")
            self.spots.pop(inner.place, None)
            return Check(inner.kind, inner.operand, inner.place, f"not {inner.text}", True, cast(Severity, severity))
        operand = getattr(self, f"_{kind}")(value)
        written = value.value if isinstance(value, yaml.ScalarNode) else json.dumps(page.value_of(value))
        text = f"{kind} {' '.join(str(written).split())}".strip()
        return Check(kind, operand, page.place(value), text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…", False,
                     cast(Severity, severity))

    def _texts(self, node: yaml.Node) -> dict[str, Any]:
        page = self._page
        if not isinstance(node, yaml.MappingNode):
            return {"texts": (page.text_of(node),)}
        said = page.mapping(node, ("text", "any", "all", "ignore_case"))
        fold = page.boolean(said.pop("ignore_case")) if "ignore_case" in said else False
        if len(said) != 1:
            raise page.wrong(node, "say one of `text`, `any`, `all`")
        word, value = next(iter(said.items()))
        texts = [value] if word == "text" else page.sequence(value, "texts")
        return {"texts": tuple(page.text_of(one) for one in texts), "match": "any" if word == "any" else "all",
                "ignore_case": fold}

    _contains = _starts = _texts

    def _equals(self, node: yaml.Node) -> dict[str, Any]:
        """A text; nothing at all is one that is still to be recorded."""
        empty = isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
        if isinstance(node, yaml.ScalarNode):
            self.spots[self._page.place(node)] = (node.start_mark.index, node.end_mark.index)
        return {"texts": ()} if empty else self._texts(node)

    def _regex(self, node: yaml.Node) -> str:
        pattern = self._page.text_of(node)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise self._page.wrong(node, f"this is no regular expression: {error}") from None
        return pattern

    def _json(self, node: yaml.Node) -> Any:
        page, place = self._page, self._page.place(node)
        if isinstance(node, yaml.MappingNode):
            return presume_schema(page.value_of(node), place, "this")
        value = page.value_of(node)
        if value is None or value is True:
            return None
        return read_schema(self._folder / page.text_of(node), place)

    def _tool_call(self, node: yaml.Node) -> dict[str, Any]:
        page = self._page
        if not isinstance(node, yaml.MappingNode):
            name = page.text_of(node)
            return {"name": None if name == "none" else name}
        said = page.mapping(node, ("name", "arguments", "exact", "count", "order"))
        if "order" in said:
            if len(said) > 1:
                raise page.wrong(node, "`order` stands alone: it names all calls, in order")
            return {"order": [page.text_of(one) for one in page.sequence(said["order"], "names")]}
        if "name" not in said:
            raise page.wrong(node, "which tool? `name` is missing")
        found: dict[str, Any] = {"name": page.text_of(said["name"])}
        if "arguments" in said:
            found["arguments"] = page.value_of(said["arguments"])
            if not isinstance(found["arguments"], dict):
                raise page.wrong(said["arguments"], "arguments are a mapping")
        if "exact" in said:
            found["exact"] = page.boolean(said["exact"])
        if "count" in said:
            found["count"] = page.whole(said["count"], 0, 1000)
        return found

    def _finish_reason(self, node: yaml.Node) -> str:
        return self._page.one_of(node, _REASONS)

    def _max_tokens(self, node: yaml.Node) -> int:
        return self._page.whole(node, 1, 2**31 - 1)

    def _no_leak(self, node: yaml.Node) -> None:
        if self._page.value_of(node) not in (None, True):
            raise self._page.wrong(node, "`no_leak` needs nothing: write `- no_leak`")

    def _latency(self, node: yaml.Node) -> float:
        value = Duration().read(self._page.text_of(node))
        if not isinstance(value, float):
            raise self._page.wrong(node, f"this must be {value.must_be}")
        return value

    def _similar(self, node: yaml.Node) -> dict[str, Any]:
        page = self._page
        if not isinstance(node, yaml.MappingNode):
            return {"text": page.text_of(node), "at_least": NEARLY}
        said = page.mapping(node, ("text", "at_least"), ("text",))
        least = page.value_of(said["at_least"]) if "at_least" in said else NEARLY
        if not isinstance(least, int | float) or isinstance(least, bool) or not -1 <= least <= 1:
            raise page.wrong(said["at_least"], "this must be a cosine, from -1 to 1")
        return {"text": page.text_of(said["text"]), "at_least": float(least)}

    def _judge(self, node: yaml.Node) -> str:
        return self._page.text_of(node)

    def _exec(self, node: yaml.Node) -> dict[str, Any]:
        words = [self._page.text_of(one) for one in self._page.sequence(node, "a program's words")]
        return {"argv": words, "folder": str(self._folder)}
