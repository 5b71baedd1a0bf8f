"""A Modelfile's relative paths, for another folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modelkit.language.checking.layer import meant
from modelkit.language.parser import parse
from modelkit.language.source import Source

_RELATIVE = re.compile(r"\.{1,2}/")


def moved(text: str, start: Path, target: Path) -> str:
    """`text`, whose paths start from `start`, as it must be in `target`."""
    if start.resolve() == target.resolve():
        return text
    document, _ = parse(Source("Modelfile", text))
    parts, at = list[str](), 0
    for instruction in document.all_instructions():
        value = instruction.value
        if meant(instruction) in ("FROM", "ADAPTER", "DRAFT") and _RELATIVE.match(value.text):
            path = os.path.relpath(start.resolve() / value.text, target.resolve())
            kept = path if path.startswith("../") else f"./{path}"
            parts += [text[at : value.inner.start], kept]
            at = value.inner.end
    return "".join((*parts, text[at:]))
