"""What every parser is: a machine that reads an answer piece by piece and says what it has understood.

What it says depends on the whole text alone, never on how that was cut into pieces: it decides nothing that more text
could change. So an answer that is streamed and one that comes whole are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Tools = Mapping[str, Mapping[str, Any]]
"""The offered functions by name, with the JSON schemas of their parameters."""


@dataclass(frozen=True, slots=True)
class Content:
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call begins; `id` is the model's own, if it writes one."""

    name: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Arguments:
    """More of the arguments of the call that began last, as JSON text."""

    text: str


Event = Content | Reasoning | Call | Arguments


class Machine:
    """A state is a method that takes what it can from `text` and says whether the next state may go on.

    `ended` is true once no more text will come: then a state takes everything.
    """

    def __init__(self, start: Callable[[], bool]) -> None:
        self.text = ""
        self.ended = False
        self.state = start
        self._events: list[Event] = []

    def feed(self, text: str) -> list[Event]:
        """What is understood now."""
        self.text += text
        return self._run()

    def finish(self) -> list[Event]:
        """What is left to say at the answer's end."""
        self.ended = True
        return self._run()

    def _run(self) -> list[Event]:
        while self.state():
            pass
        events, self._events = self._events, []
        return merged(events)

    def say(self, *events: Event) -> None:
        self._events += events

    def go(self, state: Callable[[], bool]) -> bool:
        """On to another state; always true, to be returned."""
        self.state = state
        return True

    def take(self, length: int) -> str:
        taken, self.text = self.text[:length], self.text[length:]
        return taken

    def take_to(self, *marks: str) -> tuple[str, str | None]:
        """The text before the first of the marks, and that mark, which is taken too.

        Without a mark, the text that can't be the beginning of one. Of marks at one place the longest counts.
        """
        at, mark = _first(self.text, marks)
        if mark is not None:
            if not self.ended and any(m != mark and m.startswith(self.text[at:]) for m in marks):
                return self.take(at), None  # it may turn out to be a longer one
            before = self.take(at)
            self.take(len(mark))
            return before, mark
        return self.take(len(self.text) - (0 if self.ended else overlap(self.text, marks))), None

    def skip(self, characters: str = " \t\r\n") -> str:
        """The next character behind those; empty when it has not come."""
        self.text = self.text.lstrip(characters)
        return self.text[:1]


def merged(events: Iterable[Event]) -> list[Event]:
    """Neighbours of one kind as one, nothing empty."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, Call):
            result.append(event)
        elif event.text:
            last = result[-1] if result else None
            if type(last) is type(event) and not isinstance(last, Call):
                result[-1] = type(event)(last.text + event.text)
            else:
                result.append(event)
    return result


def _first(text: str, marks: Iterable[str]) -> tuple[int, str | None]:
    found: tuple[int, str | None] = len(text), None
    for mark in marks:
        at = text.find(mark)
        if at >= 0 and (at < found[0] or (at == found[0] and len(mark) > len(found[1] or ""))):
            found = at, mark
    return found


def overlap(text: str, marks: Iterable[str]) -> int:
    """How much of the text's end may be the beginning of a mark."""
    known = tuple(marks)
    firsts = {mark[0] for mark in known}
    for at in range(max(0, len(text) + 1 - max(map(len, known), default=0)), len(text)):
        if text[at] in firsts:
            rest = text[at:]
            if any(mark.startswith(rest) and mark != rest for mark in known):
                return len(rest)
    return 0


class JsonEnd:
    """Finds the end of a JSON value in a text that comes in pieces. The value begins with the first character."""

    def __init__(self) -> None:
        self._depth = 0
        self._string = self._escaped = False
        self._kind = ""

    def find(self, text: str) -> int | None:
        """How many of these characters belong to the value, when it ends among them."""
        for at, c in enumerate(text):
            self._kind = self._kind or c
            if self._string:
                if self._escaped:
                    self._escaped = False
                elif c == "\\":
                    self._escaped = True
                elif c == '"':
                    self._string = False
                    if self._depth == 0:
                        return at + 1
            elif c == '"':
                self._string = True
            elif c in "{[":
                self._depth += 1
            elif c in "}]":
                if self._depth == 0:
                    return at
                self._depth -= 1
                if self._depth == 0:
                    return at + 1
            elif self._depth == 0 and (c in ", \t\r\n" or self._kind == '"'):
                return at
        return None
