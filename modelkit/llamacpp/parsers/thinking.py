"""Reasoning between marks, split from what follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelkit.llamacpp.parsers.machine import Content, Machine, Reasoning


@dataclass(frozen=True)
class ThinkForm:
    """How a family reasons.

    `begins`: an answer begins within the reasoning, whether or not it writes the mark `start` (prompts often end with
    it). `passes` are marks that end it, too, and belong to what follows. `strips`: spaces at its end are no part of it.
    `drops` are marks that are left out of the content. `switches` are variables of the chat template that turn it on
    and off; `thinks` says what holds when none is set.
    """

    start: str
    end: str
    begins: bool = True
    passes: tuple[str, ...] = ()
    strips: bool = False
    drops: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    thinks: bool = True
    prefix: str = ""  # what Gemma writes in front of each thought

    @property
    def marks(self) -> tuple[str, ...]:
        """The texts that the answer must show."""
        return (self.start, self.end, *self.passes, *self.drops)

    def on(self, variables: Mapping[str, Any]) -> bool:
        """Whether a request with those variables lets the model think."""
        said = [variables[name] for name in self.switches if variables.get(name) is not None]
        return any(map(bool, said)) if said else self.thinks


class Thinking(Machine):
    """`within`: whether the answer begins within the reasoning."""

    def __init__(self, form: ThinkForm, *, within: bool) -> None:
        super().__init__(self._within if within else self._content)
        self.form = form
        self._spaces = ""
        self._prefix = form.prefix

    def _within(self) -> bool:
        form = self.form
        if self._prefix and not self._drop_prefix():
            return False
        text, mark = self.take_to(form.start, form.end, *form.passes)
        text = self._spaces + text
        kept = len(text.rstrip()) if form.strips else len(text)
        self._spaces = text[kept:] if mark in (None, form.start) else ""
        self.say(Reasoning(text[:kept]))
        if mark is None:
            return False
        if mark == form.start:
            return True
        if mark != form.end:
            self.text = mark + self.text
        return self.go(self._content)

    def _drop_prefix(self) -> bool:
        """Whether it is known if the prefix is there."""
        form = self.form
        self.text = self.text.removeprefix(form.start)
        for expected in (self._prefix, form.start):
            if expected.startswith(self.text) and self.text != expected and not self.ended:
                return False
        self.text = self.text.removeprefix(self._prefix)
        self._prefix = ""
        return True

    def _content(self) -> bool:
        form = self.form
        opens = () if form.begins else (form.start,)
        stray = (form.end,) if form.passes else ()  # vLLM's newer parsers pass over a second end
        text, mark = self.take_to(*stray, *opens, *form.drops)
        self.say(Content(text))
        if mark is None:
            return False
        if mark in opens:
            self._prefix = form.prefix
            return self.go(self._within)
        return True


class GraniteThinking(Machine):
    """Granite 3 says in words where its thoughts and its response begin."""

    _THOUGHTS = ("Here is my thought process:", "Here's my thought process:")
    _RESPONSE = ("Here is my response:", "Here's my response:")

    def __init__(self) -> None:
        super().__init__(self._beginning)

    def _beginning(self) -> bool:
        for words in self._THOUGHTS:
            if self.text.startswith(words):
                self.take(len(words))
                return self.go(self._within)
        if not self.ended and any(words.startswith(self.text) for words in self._THOUGHTS):
            return False
        return self.go(self._content)

    def _within(self) -> bool:
        text, mark = self.take_to(*self._RESPONSE)
        self.say(Reasoning(text))
        return mark is not None and self.go(self._content)

    def _content(self) -> bool:
        self.say(Content(self.take(len(self.text))))
        return False
