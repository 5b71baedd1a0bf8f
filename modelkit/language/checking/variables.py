"""`ARG` and the `${NAME}`s that it declares."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelkit.language.checking.context import Context
from modelkit.language.checking.parts import place
from modelkit.language.document import Document, Instruction

_USE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def check_variables(document: Document, declared: Mapping[str, Instruction], context: Context) -> None:
    """Reports what this release does not do with variables: a use is an error, since the text would stay as it is."""
    used: set[str] = set()
    for instruction in document.all_instructions() if declared else ():
        for match in _USE.finditer(instruction.value.text):
            if match[1] in declared:
                used.add(match[1])
                context.later(match[0], place(instruction.value, *match.span()), essential=True,
                              hint="write the value itself")
    for name, instruction in declared.items():
        if name not in used:
            context.later("ARG", instruction.keyword.span)
