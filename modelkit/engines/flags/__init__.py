"""Which flags an engine has, by version: an author's FLAG is checked before the engine is started with it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from modelkit.failure import Failure


def presume_flags(engine: str, version: str, words: Iterable[str], ours: Iterable[str] = ()) -> None:
    """Raise Failure for a flag that this version of the engine does not have, or that is among `ours`.

    Versions that no list is shipped for are not checked against one.
    """
    known = flags(engine, version)
    for word in words:
        if not _is_flag(word):
            continue
        name = _canonical(word)
        if name in ours or name.replace("--no-", "--") in ours:
            raise Failure("flag-not-yours", f"`FLAG {name}` cannot be set: modelkit says it to {engine} itself",
                          hint="use the instruction or the SERVE key that means it, or drop it")
        if known and name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, 1, 0.7)
            raise Failure("unknown-flag", f"{engine} {version} has no flag `{name}`",
                          hint=f"did you mean `{near[0]}`?" if near else None)


@cache
def flags(engine: str, version: str) -> frozenset[str]:
    """The flags of an engine's minor version; empty where no list is shipped."""
    listed = files(__package__).joinpath(f"{engine}-{'.'.join(version.split('.')[:2])}.txt")
    if not listed.is_file():
        return frozenset()
    found: set[str] = set()
    for line in listed.read_text("utf-8").splitlines():
        if line.startswith("--[no-]"):
            found |= {"--" + line[7:], "--no-" + line[7:]}
        elif line.startswith("-"):
            found.add(line)
    return frozenset(found)


def _is_flag(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit() and word not in ("-", "--")


def _canonical(word: str) -> str:
    """The flag of a word: no `=value`, no `.key` of a JSON option, dashes for underscores."""
    name = word.partition("=")[0]
    if name.startswith("--"):
        name = name.partition(".")[0].replace("_", "-")
    return name
