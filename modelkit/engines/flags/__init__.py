"""Which flags an engine has, by version: an author's FLAG is checked before the engine is started with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from modelkit.engines.flags.table import Flag, FlagTable, newer, table, versions
from modelkit.failure import Failure

__all__ = ["Flag", "FlagTable", "Problem", "canonical", "flags", "newer", "presume_flags", "problems", "table",
           "versions"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one FLAG. `word` is the flag as it was said, without its value."""

    code: str
    word: str
    message: str
    hint: str | None = None
    near: str | None = None  # the flag that was probably meant


def presume_flags(engine: str, version: str, words: Iterable[str], ours: Iterable[str] = ()) -> None:
    """Raise Failure for a flag that this version of the engine does not have, for a value that it does not take, or
    for a flag that is among `ours`.

    Versions that no table is shipped for are not checked against one.
    """
    for problem in problems(engine, version, words, ours):
        raise Failure(problem.code, problem.message, hint=problem.hint)


def problems(engine: str, version: str, words: Iterable[str], ours: Iterable[str] = ()) -> Iterator[Problem]:
    """Everything that is wrong with the author's flags, given as the words of a command line."""
    known, mine = table(engine, version), frozenset(ours)
    for word, values in _said(words):
        name = canonical(word)
        if name in mine or name.replace("--no-", "--") in mine:
            yield Problem("flag-not-yours", word, f"`FLAG {name}` cannot be set: modelkit says it to {engine} itself",
                          "use the instruction or the SERVE key that means it, or drop it")
        elif known is not None:
            yield from _unknown(known, word, name, values)


def _unknown(known: FlagTable, word: str, name: str, values: tuple[str, ...]) -> Iterator[Problem]:
    flag = known.by_word.get(name) or known.by_word.get(word)  # trtllm-serve's words have underscores
    if flag is None:
        near = None if name in known.gone else _nearest(name, known)
        yield Problem("unknown-flag", word, f"{known.engine} {known.version} has no flag `{name}`",
                      known.gone.get(name) or (f"did you mean `{near}`?" if near else None), near)
    elif flag.choices and "." not in word.partition("=")[0].lstrip("-"):
        allowed = {str(one) for one in flag.choices}
        for value in values[:1] if flag.nargs is None else values:
            if value not in allowed:
                yield Problem("bad-flag-value", word, f"`{name}` of {known.engine} {known.version} does not take "
                              f"`{value}`", "it takes " + ", ".join(str(one) for one in flag.choices))


def _nearest(name: str, known: FlagTable) -> str | None:
    from difflib import get_close_matches

    near = get_close_matches(name, known.by_word, 1, 0.7)
    return near[0] if near else None


def flags(engine: str, version: str) -> frozenset[str]:
    """Every word that an engine's version takes; empty where no table is shipped."""
    known = table(engine, version)
    return frozenset(known.by_word) if known else frozenset()


def _said(words: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each flag with the words up to the next one; `--flag=value` is a flag with a value."""
    word, values = "", []
    for one in words:
        if not is_flag(one):
            values.append(one)
            continue
        if word:
            yield word, tuple(values)
        word, equals, value = one.partition("=")
        values = [value] if equals else []
    if word:
        yield word, tuple(values)


def is_flag(word: str) -> bool:
    """Whether a word of a command line begins a flag: `-1` and `-` are values."""
    return word.startswith("-") and not word[1:2].isdigit() and word not in ("-", "--")


def canonical(word: str) -> str:
    """The flag of a word: no `=value`, no `.key` of a JSON option, dashes for underscores."""
    name = word.partition("=")[0]
    if name.startswith("--"):
        name = name.partition(".")[0].replace("_", "-")
    return name
