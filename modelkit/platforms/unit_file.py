"""Files in systemd's syntax (systemd.syntax(7), systemd.service(5)): sections, keys, and words quoted for a line.

Three things are special in a value. `%` begins a specifier everywhere; in command lines `$` begins a variable, and
words are split at blanks unless they are quoted. Each is written twice, or in quotes, so that every text arrives.
"""

from __future__ import annotations

from collections.abc import Iterable

from modelkit.failure import Failure

Line = tuple[str, str]


def unit(*sections: tuple[str, Iterable[Line]]) -> str:
    """The file's text."""
    return "\n".join(f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in lines) for name, lines in sections)


def text(value: str) -> str:
    """A value that is one text, blanks and all."""
    return _one_line(value).replace("%", "%%")


def word(value: str) -> str:
    """One word of a list of words: in quotes where it needs them."""
    escaped = _one_line(value).replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    plain = value and not set(value) & set(" \t\"'\\;") and not value.startswith(("#", "-@"))
    return escaped if plain else f'"{escaped}"'


def command(words: Iterable[str]) -> str:
    """A command line, or the arguments of one: nothing in it is a variable."""
    return " ".join(word(one).replace("$", "$$") for one in words)


def _one_line(value: str) -> str:
    if set(value) & set("\n\r\0"):
        raise Failure("value-of-several-lines", f"a unit's line cannot hold `{value[:40]!r}`",
                      hint="take the line break out of it")
    return value
