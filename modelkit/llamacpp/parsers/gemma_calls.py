"""Calls of Gemma: `call:name{key:value}` between marks, strings in marks of their own. Told when they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, Machine, Tools
from modelkit.llamacpp.parsers.values import properties, retyped

_NESTING = 64
"""Levels of objects and lists that are read; what is deeper stays text."""


@dataclass(frozen=True)
class GemmaForm:
    """`quote` goes around strings; `read` makes a value of a string, or of a bare word."""

    begin: str
    end: str
    quote: str
    read: Callable[[str], Any]


def _or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


GEMMA4 = GemmaForm("<|tool_call>", "<tool_call|>", '<|"|>', str)
FUNCTIONGEMMA = GemmaForm("<start_function_call>", "<end_function_call>", "<escape>", _or_text)


class GemmaCalls(Machine):
    """Spaces before a call are no content."""

    def __init__(self, form: GemmaForm, tools: Tools) -> None:
        super().__init__(self._content)
        self.form, self.tools = form, tools
        self._held = ""
        self._name = ""

    def _content(self) -> bool:
        before, mark = self.take_to(self.form.begin, self.form.end)
        text = self._held + before
        kept = len(text) if self.ended and mark is None else len(text.rstrip())
        self.say(Content(text[:kept]))
        self._held = text[kept:]
        return mark is not None and (mark == self.form.end or self.go(self._header))

    def _header(self) -> bool:
        found = [(at, one) for one in ("{", "(", self.form.end) if (at := self.text.find(one)) >= 0]
        if not found:
            if self.ended:
                self.text = ""
            return False
        at, mark = min(found)
        name = self.take(at)
        self._name = name.strip().removeprefix("call").removeprefix(":").strip()
        self._held = ""
        if mark == self.form.end or not self._name:
            return self.go(self._content)
        self.take(1)
        self.say(Call(self._name))
        return self.go(self._arguments)

    def _arguments(self) -> bool:
        at = self.text.find(self.form.end)
        if at < 0 and not self.ended:
            return False
        whole = at >= 0
        text = self.take(at if whole else len(self.text))
        self.take(len(self.form.end) if whole else 0)
        arguments, _ = _Reader(text, self.form).object()
        schema = self.tools.get(self._name) or {}
        typed = {name: retyped(value, known) if (known := properties(schema).get(name)) is not None else value
                 for name, value in arguments.items()}
        self.say(Arguments(json.dumps(typed, ensure_ascii=False)))
        return self.go(self._content)


class _Reader:
    """The arguments' text, from behind their first bracket. What is cut off is read as far as it goes."""

    def __init__(self, text: str, form: GemmaForm) -> None:
        self.text, self.form, self.at = text, form, 0

    def object(self, depth: int = 0) -> tuple[dict[str, Any], bool]:
        """Keys and values up to the closing bracket, and whether that was there."""
        found: dict[str, Any] = {}
        while self._skip():
            if self.text[self.at] in "})":
                self.at += 1
                return found, True
            colon = self.text.find(":", self.at)
            if colon < 0:
                break
            key = self.text[self.at: colon].strip()
            self.at = colon + 1
            if not self._skip(""):
                break
            found[key.removeprefix(self.form.quote).removesuffix(self.form.quote)] = self._value("}),", depth)
        self.at = len(self.text)
        return found, False

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while self._skip():
            if self.text[self.at] == "]":
                self.at += 1
                break
            found.append(self._value("],", depth))
        return found

    def _value(self, stops: str, depth: int) -> Any:
        text, quote = self.text, self.form.quote
        if depth > _NESTING:
            start, self.at = self.at, len(text)
            return text[start:]
        if text.startswith(quote, self.at):
            start = self.at + len(quote)
            end = text.find(quote, start)
            self.at = len(text) if end < 0 else end + len(quote)
            return self.form.read(text[start:] if end < 0 else text[start:end])
        if text[self.at] == "{":
            self.at += 1
            return self.object(depth + 1)[0]
        if text[self.at] == "[":
            self.at += 1
            return self._list(depth + 1)
        start = self.at
        while self.at < len(text) and text[self.at] not in stops:
            self.at += 1
        if self.at == start:
            self.at += 1  # a stray bracket
        return self.form.read(text[start: self.at].strip())

    def _skip(self, more: str = ",") -> bool:
        """On to what is no space; False at the end."""
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n" + more:
            self.at += 1
        return self.at < len(self.text)
