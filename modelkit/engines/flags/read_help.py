"""llama-server's flags as its own parser prints them: `--help`, or its table in `tools/server/README.md`.

Both come from the same entries: words, the hint of a value, a text that states the default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelkit.engines.flags.table import Flag, FlagTable

_WORD = re.compile(r"--?[A-Za-z0-9][\w.-]*")
_COMMA = re.compile(r",\s*(?=-)")
_DEFAULT = re.compile(r"\(default: ([^()]*?)\)|default: '([^']*)'")
_COLUMN = 40
"""Where an entry's text begins in `--help`, on its first line or on the next one."""

Entry = tuple[tuple[str, ...], str, str]
"""Words, the hint of the value, the text."""


def table(version: str, text: str, source: str) -> FlagTable:
    """The table of a build's `--help`, or of its README. Raises ValueError where there are no flags in it."""
    flags: list[Flag] = []
    gone: dict[str, str] = {}
    for words, hint, said in _of_readme(text) if "\n| `-" in text else _of_help(text):
        flag = _flag(words, hint, said)
        if "argument has been removed" in said:
            gone |= dict.fromkeys(flag.words, said)
        else:
            flags.append(flag)
    if not flags:
        raise ValueError("there are no flags in it")
    known = {word for flag in flags for word in flag.words}
    return FlagTable("llama-server", version, "help", source, tuple(flags),
                     gone={word: _instead(said, known) for word, said in gone.items()})


def _of_help(text: str) -> Iterator[Entry]:
    head, said = "", ""
    for line in [*text.splitlines(), "-"]:
        if line.startswith("-"):
            if head:
                yield *_head(head), said
            apart = not line[_COLUMN - 2:_COLUMN].strip()
            head, said = (line[:_COLUMN], line[_COLUMN:]) if apart else (line, "")
            head = "" if line.startswith("----") else head
        elif line.strip():
            said = f"{said} {line.strip()}"


def _of_readme(text: str) -> Iterator[Entry]:
    for head, said in re.findall(r"^\| `(-[^`]*)` \| (.*) \|$", text, re.M):
        yield *_head(head.replace("\\|", "|")), said.replace("<br/>", " ").replace("\\|", "|")


def _head(head: str) -> tuple[tuple[str, ...], str]:
    words, at = [], 0
    while (match := _WORD.match(head, at)) is not None:
        words.append(match[0])
        at = match.end()
        if (comma := _COMMA.match(head, at)) is None:
            break
        at = comma.end()
    return tuple(words), head[at:].strip()


def _flag(words: tuple[str, ...], hint: str, said: str) -> Flag:
    opposite = {begin + word.lstrip("-") for word in words for begin in ("-n", "-no-", "--no-")}
    opposite |= {"--no-" + word.removeprefix("--").removesuffix("-auto") for word in words}  # `--mmproj-auto`
    names = [word for word in words if word not in opposite]
    flag = next((word for word in names if word.startswith("--")), names[0])
    values = len(hint.split()) if re.fullmatch(r"[A-Z]+( [A-Z]+)+", hint) else None
    default = _default(said)
    kind = "bool" if not hint else _type(hint, default)
    return Flag(flag, tuple(sorted(set(names) - {flag})), tuple(sorted(opposite & set(words), reverse=True)), type=kind,
                nargs=values, choices=_choices(hint), default=_typed(default, kind),
                deprecated="DEPRECATED" in said.upper())


def _instead(said: str, known: set[str]) -> str:
    words = [word for word in re.findall(r"--[\w-]*\w", said) if word in known]
    return "use " + " or ".join(f"`{word}`" for word in words) if words else "it has been removed"


def _choices(hint: str) -> tuple[str, ...]:
    """The words that a hint such as `{none,linear,yarn}`, `[on|off|auto]` or `<0|1>` allows."""
    match = re.fullmatch(r"[\[{<]([\w+-]+(?:[|,][\w+-]+)+)[\]}>]", hint)
    return tuple(re.split(r"[|,]", match[1])) if match else ()


def _default(said: str) -> str | None:
    match = _DEFAULT.search(said)
    if match is None:
        return None
    return (match[1] or match[2] or "").partition(",")[0].strip().strip("'\"")


def _type(hint: str, default: str | None) -> str:
    if hint == "N":
        return "float" if default and "." in default else "int"
    return "str"


_TRUTH = {"true": True, "enabled": True, "false": False, "disabled": False}


def _typed(text: str | None, kind: str) -> bool | int | float | str | None:
    """A default as a value of that type; as it is written where it says more than a value."""
    if text is None or kind == "bool":
        return _TRUTH.get(text or "")
    try:
        return int(text) if kind == "int" else float(text) if kind == "float" else text
    except ValueError:
        return text
