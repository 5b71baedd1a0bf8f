"""YAML that every reader reads alike: same value, same bytes; a string stays a string for YAML 1.1 and 1.2.

    dump({"data": {"a": "yes", "b": "two\\nlines\\n"}, "args": ["--port", "80"]})

Mappings keep their order, blocks are in block style, texts of several lines stand as literal blocks where YAML can
hold them so. Plain are only strings that no reader could take for a number, a date or a truth; others are quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./@+=-]*(:[A-Za-z0-9_./@+=-]+)*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "inf", "nan", "infinity"])
"""What some reader takes for a truth, nothing, or a number (`y` and `on` are truths of YAML 1.1)."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    tag = "tag:yaml.org,2002:str"
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return dumper.represent_scalar(tag, text)
    # A block that begins with a blank needs an indentation indicator, which not every writer counts alike.
    return dumper.represent_scalar(tag, text, style="|" if "\n" in text and not text[0].isspace() else '"')


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """One document of dicts, lists, strings, numbers, truths and None."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31, default_flow_style=False)


def dump_all(values: Iterable[Any]) -> str:
    """Several documents in one file, with `---` between them."""
    return "---\n".join(dump(value) for value in values)
