"""What another version of an engine adds, takes away and changes among its flags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from modelkit.engines.flags.table import Flag, FlagTable

Kind = Literal["removed", "renamed", "added", "deprecated", "hidden", "default", "choices", "type"]

BREAKING: frozenset[Kind] = frozenset(("removed", "renamed"))
"""A command line with such a word is refused by the other version."""


@dataclass(frozen=True)
class Change:
    """One difference. `word` is the older version's, but for what was added; `to` is the newer word or value."""

    kind: Kind
    word: str
    message: str
    before: Any = None
    to: Any = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def compare(old: FlagTable, new: FlagTable) -> tuple[Change, ...]:
    """Everything that changes from `old` to `new`, what breaks first, then by flag."""
    order = ("removed", "renamed", "type", "choices", "default", "deprecated", "hidden", "added")
    return tuple(sorted(_changes(old, new), key=lambda one: (order.index(one.kind), one.word)))


def changes_of(word: str, old: FlagTable, new: FlagTable) -> tuple[Change, ...]:
    """What changes about one word of `old`."""
    flag = old.by_word.get(word)
    return () if flag is None else tuple(one for one in _changes_of_flag(flag, old, new)
                                         if one.word in (word, flag.flag))


def _changes(old: FlagTable, new: FlagTable) -> Iterator[Change]:
    for flag in old.flags:
        yield from _changes_of_flag(flag, old, new)
    for flag in new.flags:
        if not any(word in old.by_word for word in flag.words):
            yield Change("added", flag.flag, f"`{flag.flag}` is new")


def _changes_of_flag(flag: Flag, old: FlagTable, new: FlagTable) -> Iterator[Change]:
    for word in flag.words:
        now = new.by_word.get(word)
        if now is None:
            to = _successor(flag, word, new)
            said = new.gone.get(word, "")
            if to is not None:
                yield Change("renamed", word, f"`{word}` is `{to}`", word, to)
            else:
                yield Change("removed", word, f"`{word}` is gone" + (f": {said}" if said else ""))
        elif word in now.hidden and word not in flag.hidden:
            opposite = word in now.negations
            to = next((one for one in (now.negations if opposite else now.words) if one not in now.hidden), now.flag)
            yield Change("hidden", word, f"`{word}` is an old spelling of `{to}`", word, to)
    now = next((new.by_word[word] for word in flag.words if word in new.by_word), None)
    if now is not None:
        yield from _values(flag, now, old, new)


def _values(flag: Flag, now: Flag, old: FlagTable, new: FlagTable) -> Iterator[Change]:
    name = flag.flag
    if flag.type != now.type and "bool" in (flag.type, now.type):
        yield Change("type", name, f"`{name}` takes {_value(now)} instead of {_value(flag)}", flag.type, now.type)
    lost = [one for one in flag.choices if one not in now.choices and not _spelled(one, now)] if now.choices else []
    if lost:
        yield Change("choices", name, f"`{name}` has no {', '.join(map(str, lost))} any more",
                     list(flag.choices), list(now.choices))
    comparable = "static" not in (old.read, new.read) or None not in (flag.default, now.default)
    if comparable and flag.default != now.default:
        yield Change("default", name, f"`{name}` is {_shown(now.default)} by default, not {_shown(flag.default)}",
                     flag.default, now.default)
    if now.deprecated and not flag.deprecated:
        yield Change("deprecated", name, f"`{name}` is deprecated")


def _spelled(choice: str | int | float, now: Flag) -> bool:
    """Whether a choice that is not listed any more is none of its own: "None", or several choices in one."""
    return choice == "None" or all(part in now.choices for part in str(choice).split(","))


def _successor(flag: Flag, word: str, new: FlagTable) -> str | None:
    """The word of the newer version for one that it lacks, where its own tables tell."""
    said = new.gone.get(word, "")
    for other in said.replace(",", " ").replace("`", " ").split():
        if other in new.by_word:
            return other
    kin = flag.negations if word in flag.negations else (flag.flag, *flag.aliases)
    now = next((new.by_word[one] for one in kin if one in new.by_word), None)
    if now is None:
        return None
    return now.negations[0] if word in flag.negations and now.negations else now.flag


def _value(flag: Flag) -> str:
    return "no value" if flag.type == "bool" else "a value"


def _shown(value: Any) -> str:
    return "unset" if value is None else f"`{value}`" if value != "" else "empty"
