"""Ollama's parser as the plain state machine it is, one character at a time: slow, simple, a second opinion.

The lexer under test reads whole lines; this reads characters. Where the two differ on any text, one of them is wrong.
"""

from __future__ import annotations

import unicodedata

COMMANDS = (
    "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", "parameter", "message",
    "requires",
)  # fmt: skip
ASCII = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Refused(Exception):
    """Ollama's error text."""


def _prints(c: str) -> bool:
    return c == " " or unicodedata.category(c)[0] in "LMNPS"


def _unquoted(text: str) -> str | None:
    for quote in ('"""', '"'):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote)
            return text[len(quote) : len(text) - len(quote)] if closed else None
    return text


class Machine:
    def __init__(self) -> None:
        self.state = "nil"
        self.seen = ""
        self.line = 1
        self.name = self.role = ""
        self.commands: list[tuple[str, str]] = []

    def bad(self, what: str) -> Refused:
        return Refused(f"(line {self.line}): {what}")

    def bad_command(self) -> Refused:
        *most, last = (f'"{c}"' for c in COMMANDS)
        return self.bad(f"command must be one of {', '.join(most)}, or {last}")

    def nil(self, c: str) -> None:
        if c == "#":
            self.state = "comment"
        elif c not in " \t\r\n":
            self.state, self.seen = "name", c if _prints(c) else ""

    def comment(self, c: str) -> None:
        if c in "\r\n":
            self.state = "nil"

    def command(self, c: str) -> None:
        if c in ASCII:
            self.seen += c
            return
        self.name = self.seen.lower()
        if c not in " \t" or self.name not in COMMANDS:
            raise self.bad_command()
        self.state = {"parameter": "parameter", "message": "message"}.get(self.name, "value")
        self.name = "model" if self.name == "from" else self.name
        self.seen = ""

    def parameter(self, c: str) -> None:
        if c in ASCII + "0123456789_":
            self.seen += c
        elif c in " \t":
            self.name, self.seen, self.state = self.seen, "", "value"
        else:
            raise Refused(f"unexpected EOF: {self.seen}")

    def message(self, c: str) -> None:
        if c in ASCII:
            self.seen += c
        elif c in " \t":
            if self.seen not in ("system", "user", "assistant"):
                raise self.bad('message role must be one of "system", "user", or "assistant"')
            self.role, self.seen, self.state = self.seen + ": ", "", "value"
        else:
            raise Refused(f"unexpected EOF: {self.seen}")

    def value(self, c: str) -> None:
        if c in "\r\n" and self.close():
            return
        if c in " \t\r\n" or _prints(c):
            self.seen += c

    def close(self) -> bool:
        said = _unquoted(self.seen.strip(" \t\r\n"))
        if said is None:
            return False
        self.commands.append((self.name, self.role + said))
        self.role, self.seen, self.state = "", "", "nil"
        return True

    def end(self) -> None:
        if self.state in ("nil", "comment"):
            return
        if self.state != "value" or not self.close():
            raise Refused("unexpected EOF")


def run(text: str) -> list[tuple[str, str]]:
    """The commands as (name, argument); raises Refused with Ollama's words."""
    machine = Machine()
    steps = {
        "nil": machine.nil,
        "comment": machine.comment,
        "name": machine.command,
        "parameter": machine.parameter,
        "message": machine.message,
        "value": machine.value,
    }
    for c in text:
        machine.line += c in "\r\n"
        steps[machine.state](c)
    machine.end()
    if not any(name == "model" for name, _ in machine.commands):
        raise Refused("no FROM line")
    return machine.commands
