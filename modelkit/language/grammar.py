"""The grammar file, read for the one question that is asked of it: what may stand where.

The lexer has decided already what an instruction is made of. Lark reads the same file in the tests, and takes and
refuses what the parser takes and refuses.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources
from pathlib import Path

FILE = "modelfile.lark"
BLOCKS = {"STAGE": "stage", "TEST": "test"}
"""The keywords of blocks, each with the rule for what is in it."""

_RULE = re.compile(r"^(\w+):(.*?)(?=^\w+:|^%|\Z)", re.MULTILINE | re.DOTALL)
_GROUP = re.compile(r"\((.*)\)\*", re.DOTALL)


def grammar_text() -> str:
    """The grammar, from the wheel; in an editable install, from the checkout it was installed from."""
    packaged = resources.files("modelkit.language") / FILE
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[2] / "grammar" / FILE).read_text("utf-8")


@lru_cache(maxsize=1)
def allowed() -> dict[str, frozenset[str]]:
    """What the grammar lets stand at the top of a file, in a STAGE and in a TEST: keywords, and CLOSE."""
    rules = {name: body.strip() for name, body in _RULE.findall(re.sub(r"//.*", "", grammar_text()))}
    return {"file": _first(_members(rules["file"]), rules)} | {
        place: _first(_members(rules[place]), rules) | {"CLOSE"} for place in BLOCKS.values()}


def _members(body: str) -> str:
    """What a rule repeats: the alternatives in `KEYWORD ( … | … )* CLOSE`."""
    found = _GROUP.search(body)
    assert found is not None, "a file and a block repeat what is in them"
    return found[1]


def _first(alternatives: str, rules: dict[str, str]) -> frozenset[str]:
    """The terminals that these alternatives begin with."""
    symbols = [alternative.split()[0] for alternative in _GROUP.sub("", alternatives).split("|")]
    return frozenset().union(*({s} if s.isupper() else _first(rules[s], rules) for s in symbols))
