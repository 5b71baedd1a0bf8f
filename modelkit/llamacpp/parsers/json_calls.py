"""Calls as JSON objects `{"name": …, "arguments": …}`, one or a list of them, between marks or bare."""

from __future__ import annotations

import json
from dataclasses import dataclass

from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, Event, JsonEnd, Machine, Tools

_SPACE = " \t\r\n"


@dataclass(frozen=True)
class Form:
    """How a family writes them.

    `begin` are the marks in front; `bare` calls may begin the answer without one. No marks: calls are all there is.
    `end` is the mark behind, if there is one. A `list` in brackets may hold several. `after` says whether text behind
    the first call is content; `strips` are characters that content does not end with before a call. `unquotes`:
    arguments that are a string are its content.
    """

    begin: tuple[str, ...]
    end: str | None = None
    bare: bool = False
    list: bool = False
    object: bool = True
    after: bool = False
    strips: str = ""
    unquotes: bool = False


class JsonCalls(Machine):
    """What is no call after all stays content, marks and all."""

    def __init__(self, form: Form, tools: Tools) -> None:
        super().__init__(self._beginning if form.bare else self._content if form.begin else self._opening)
        self.form = form
        self._held = ""  # spaces that the next call swallows
        self._raw = ""  # what was read since the mark, while no call has come of it
        self._object = CallObject(form.unquotes)
        self._called = self._in_list = False

    def _beginning(self) -> bool:
        """Bare calls begin the answer with a bracket."""
        rest = self.text.lstrip(_SPACE)
        if not rest and not self.ended:
            return False
        if not rest.startswith("{"):
            return self.go(self._content)
        self._raw = self.take(len(self.text) - len(rest))
        return self.go(self._opening)

    def _content(self) -> bool:
        before, mark = self.take_to(*self.form.begin)
        self._say_content(before)
        if mark is None:
            if self.ended:
                self._say_content(self.text, last=True)
                self.text = ""
            return False
        self._raw = mark
        return self.go(self._opening)

    def _say_content(self, text: str, *, last: bool = False) -> None:
        if self._called and not self.form.after:
            return
        text = self._held + text
        kept = len(text) if last else len(text.rstrip(self.form.strips)) if self.form.strips else len(text)
        self._held = text[kept:]
        self.say(Content(text[:kept]))

    def _opening(self) -> bool:
        """Behind the mark: an object, or a list."""
        first = self._next()
        if not first:
            return self._broken() if self.ended else False
        self._in_list = first == "[" and self.form.list
        if self._in_list:
            self._raw += self.take(1)
            return self.go(self._between)
        return self._begin_object() if first == "{" and self.form.object else self._broken()

    def _next(self) -> str:
        """The next character that is no space; the spaces go to what was read."""
        rest = self.text.lstrip(_SPACE)
        self._raw += self.take(len(self.text) - len(rest))
        return rest[:1]

    def _between(self) -> bool:
        first = self._next()
        while first == ",":
            self._raw += self.take(1)
            first = self._next()
        if first == "]":
            self.take(1)
            return self.go(self._closing)
        if not first and not self.ended:
            return False
        return self._begin_object() if first == "{" else self._broken()

    def _begin_object(self) -> bool:
        self._object = CallObject(self.form.unquotes)
        return self.go(self._inside)

    def _inside(self) -> bool:
        length = self._object.feed(self.text)
        self._raw += self.take(length)
        events = self._object.events()
        if events:
            self._called, self._held, self._raw = True, "", ""
            self.say(*events)
        if self._object.broken or (self.ended and not self._object.done):
            return self._broken()
        if not self._object.done:
            return False
        return self.go(self._between if self._in_list else self._closing)

    def _closing(self) -> bool:
        """Behind a call: its end mark, another's beginning, or, where there is no end mark, anything."""
        if self.form.end is not None:
            _, mark = self.take_to(self.form.end, *self.form.begin)
            if mark is None:
                return False
            self._raw = "" if mark == self.form.end else mark
            return self.go(self._content if mark == self.form.end else self._opening)
        if self.form.bare:
            first = self.skip(_SPACE + ";")
            if not first:
                return False
            self._raw = ""
            return self._begin_object() if first == "{" else self.go(self._content)
        return self.go(self._content)

    def _broken(self) -> bool:
        """No call, or no more of it. What has not become one is content."""
        if self._raw:
            self._say_content(self._raw)
        self._raw = ""
        return self.go(self._rest if self.form.end is not None else self._content)

    def _rest(self) -> bool:
        """Of what is no call, up to its end mark."""
        assert self.form.end is not None
        open_call = self._object.called and not self._object.done
        before, mark = self.take_to(self.form.end)
        if not open_call:
            self._say_content(before + (mark or ""))
        if mark is None:
            return False
        return self.go(self._content)


class CallObject:
    """One object, read as it comes: the arguments can be told before it ends, once the name is known."""

    def __init__(self, unquotes: bool = False) -> None:
        self.done = self.broken = self.called = False
        self._unquotes = unquotes
        self._events: list[Event] = []
        self._place = "{"  # what is expected: { key : value ,
        self._value = JsonEnd()
        self._key = self._text = ""
        self._name: str | None = None
        self._arguments: str | None = None  # before the name is known
        self._told = False

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def feed(self, text: str) -> int:
        """Reads on; how many of the characters it took."""
        at = 0
        while at < len(text) and not self.done and not self.broken:
            if self._place in ("key", "value"):
                at += self._read(text[at:])
            elif text[at] in _SPACE:
                at += 1
            else:
                at += self._expected(text[at])
        return at

    def _expected(self, c: str) -> int:
        """A character between keys and values; 0 for the first one of a value, which is read then."""
        place = self._place
        if c == "}" and place in (",", "{,"):
            self._end()
            return 1
        if c == place and c in "{,":
            self._place = "{,"
        elif place == ":" and c == ":":
            self._place = ":v"
        elif (place == "{," and c == '"') or place == ":v":
            self._place = "key" if place == "{," else "value"
            self._value, self._text = JsonEnd(), ""
            return 0
        else:
            self.broken = True
            return 0
        return 1

    def _read(self, text: str) -> int:
        end = self._value.find(text)
        piece = text if end is None else text[:end]
        streams = self._place == "value" and self._is_arguments and self._name is not None
        streams = streams and not self._is_string(piece)
        if streams:
            self._events.append(Arguments(piece))
            self._told = True
        else:
            self._text += piece
        if end is not None:
            self._ended_value(streams)
        return len(piece)

    @property
    def _is_arguments(self) -> bool:
        return self._key in ("arguments", "parameters")

    def _is_string(self, piece: str) -> bool:
        return self._unquotes and not self._told and (self._text or piece).startswith('"')

    def _ended_value(self, streamed: bool) -> None:
        if self._place == "key":
            self._key, self._place = _string(self._text) or "", ":"
            return
        self._place = ","
        if self._key == "name" and self._name is None:
            self._name = _string(self._text)
            if not self._name:
                self.broken = True
                return
            self.called = True
            self._events.append(Call(self._name))
            if self._arguments is not None:
                self._tell(self._arguments)
        elif self._is_arguments and not streamed:
            if self._name is None:
                self._arguments = self._text
            elif not self._told:
                self._tell(self._text)

    def _tell(self, arguments: str) -> None:
        inner = _string(arguments) if self._unquotes else None
        self._events.append(Arguments(arguments if inner is None else inner))
        self._told = True

    def _end(self) -> None:
        if self._name is None:
            self.broken = True
            return
        self.done = True
        if not self._told:
            self._events.append(Arguments("{}"))


def _string(text: str) -> str | None:
    """The content of a JSON string, None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, str) else None
