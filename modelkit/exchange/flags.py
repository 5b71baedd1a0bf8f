"""The flags of an engine's command line, read by that engine's own tables. Knows words, not what they mean for us."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, takewhile

from modelkit.engines.flags import Flag, canonical, is_flag, table, versions
from modelkit.language.diagnostic import did_you_mean

_SECRET = ("key", "token", "password", "secret")


@dataclass(frozen=True, slots=True)
class Given:
    """One flag of a command line. `flag` is its row of the newest table that has it; None where none does.

    `name` is the canonical word: `--max-model-len` for `--max_model_len`, `--ctx-size` for `-c`. `negated` says that
    the word means the opposite of its row.
    """

    word: str
    name: str
    values: tuple[str, ...]
    flag: Flag | None = None
    negated: bool = False

    @property
    def value(self) -> str:
        return " ".join(self.values)

    @property
    def said(self) -> str:
        """As the command line has it, without what is nobody's business."""
        if self.values and is_secret(self.name):
            return f"{self.word} …"
        return " ".join((self.word, *self.values))


def is_secret(name: str) -> bool:
    """Whether what follows a flag, or what a variable holds, may be a key."""
    plain = name.lstrip("-").lower().replace("_", "-")
    return plain.endswith(_SECRET)


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line: what stands alone, and the flags in their order."""

    alone: tuple[str, ...]
    flags: tuple[Given, ...]

    def last(self, name: str) -> Given | None:
        """The one that counts of a flag that may be said several times."""
        return next((given for given in reversed(self.flags) if given.name == name), None)


def read(engine: str, words: Sequence[str]) -> Arguments:
    """The arguments of an engine, by its tables."""
    rows = _rows(engine)
    alone: list[str] = []
    flags: list[Given] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not is_flag(word):
            alone.append(word)
            continue
        word = re.sub(r"^-O(?=[0-9]$)", "--optimization-level=", word)  # vLLM's one glued flag
        bare, equals, glued = word.partition("=")
        name = canonical(bare)
        row = rows.get(name) or rows.get(bare)
        count = 0 if equals else _count(row, words, at)
        values = (glued,) if equals else tuple(words[at : at + count])
        at += count
        negated = row is not None and (name in row.negations or bare in row.negations)
        flags.append(Given(bare, row.flag if row else name, values, row, negated))
    return Arguments(tuple(alone), tuple(flags))


def _count(row: Flag | None, words: Sequence[str], at: int) -> int:
    """How many of the words from `at` on are the value of a flag; an unknown one takes at most one."""
    if row is not None and row.type == "bool":
        return 0
    nargs = row.nargs if row is not None else None
    most = nargs if isinstance(nargs, int) else 1 if nargs in (None, "?") else len(words)
    following = islice(words, at, at + most)
    return sum(1 for _ in takewhile(lambda word: not is_flag(word), following))


@cache
def _rows(engine: str) -> dict[str, Flag]:
    """Every word of every version that a table is shipped for, by the newest that has it."""
    found: dict[str, Flag] = {}
    for version in versions(engine):
        known = table(engine, version)
        found.update(known.by_word if known is not None else {})
    return found


def nearest(engine: str, name: str) -> str | None:
    """The flag that a word is fairly surely a slip of."""
    return did_you_mean(name, _rows(engine))


def as_json(given: Given) -> dict[str, object] | None:
    """The object that a flag's value is; None if it is none."""
    try:
        read = json.loads(given.value)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None
