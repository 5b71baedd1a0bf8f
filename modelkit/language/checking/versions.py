"""Version ranges of engines, as Python packages write them (PEP 440)."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import NamedTuple

from modelkit.language.checking.context import shown

_PLAIN = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,5})\s*")


class Problem(NamedTuple):
    """What is wrong with a range, as a diagnostic says it."""

    message: str
    hint: str | None = None


def version_problem(text: str) -> Problem | None:
    """What is wrong with a range; None if it is good.

    >>> version_problem(">=0.32,<0.34") is None
    True
    >>> version_problem("0.32").hint
    'write `==0.32.*` for that version, or `>=0.32` for it and later ones'
    """
    if len(text) > 200 or not all(clause.strip() for clause in text.split(",")):
        return _unreadable(text)
    clauses = [_PLAIN.fullmatch(clause) for clause in text.split(",")]
    plain = [(match[1], match[2]) for match in clauses if match]
    if len(plain) < len(clauses):
        # Importing `packaging` takes longer than checking a whole file: only what is out of the ordinary pays for it.
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            return _unreadable(text)
    return _contradiction(plain)


def _unreadable(text: str) -> Problem:
    return Problem(f"`{shown(text)}` is not a version range", _hint(text))


def _hint(text: str) -> str:
    bare = re.fullmatch(r"[v^=~]?\s*([0-9]+(?:\.[0-9]+)*)(?:\.[x*])?", text.strip())
    if bare is None:
        return "it is made of comparisons and commas: `>=0.32,<0.34`"
    if text.strip()[0] in "^~":
        return f"write `~={bare[1]}.0` for that version and its fixes, or `>={bare[1]}` for it and later ones"
    return f"write `=={bare[1]}.*` for that version, or `>={bare[1]}` for it and later ones"


def _contradiction(clauses: list[tuple[str, str]]) -> Problem | None:
    """A lower bound above an upper one."""
    for low_op, low in clauses:
        for high_op, high in clauses:
            if low_op in (">", ">=", "==") and high_op in ("<", "<=", "=="):
                order = _compare(low, high)
                if order > 0 or (order == 0 and (low_op == ">" or high_op == "<")):
                    return Problem(f"no version is both {low_op}{low} and {high_op}{high}")
    return None


def _compare(a: str, b: str) -> int:
    pairs = zip_longest(a.split("."), b.split("."), fillvalue="0")
    return next(((int(x) > int(y)) - (int(x) < int(y)) for x, y in pairs if int(x) != int(y)), 0)
