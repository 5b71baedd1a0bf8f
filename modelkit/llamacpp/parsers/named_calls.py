"""Calls that are a name, a mark, and the arguments as JSON: Mistral, DeepSeek V3 and V3.1, Kimi K2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelkit.llamacpp.parsers.json_calls import Form, JsonCalls
from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, JsonEnd, Machine, Tools

Header = Callable[[str], Call | None]


@dataclass(frozen=True)
class NamedForm:
    """`section` begins a list of calls (content ends there), `begin` each of them; its header goes to one of `divide`
    and is read by `header`; the arguments end at `end`."""

    section: str
    begin: str
    divide: tuple[str, ...]
    end: tuple[str, ...]
    header: Header


class NamedCalls(Machine):
    """What follows the section is not content: a model has said what it wants."""

    def __init__(self, form: NamedForm, tools: Tools) -> None:
        super().__init__(self._content)
        self.form = form
        self._spaces = ""
        self._begun = False

    def _content(self) -> bool:
        before, mark = self.take_to(self.form.section, self.form.begin)
        self.say(Content(before))
        if mark is None:
            return False
        return self.go(self._between if mark == self.form.section != self.form.begin else self._header)

    def _between(self) -> bool:
        _, mark = self.take_to(self.form.begin)
        return mark is not None and self.go(self._header)

    def _header(self) -> bool:
        ends = [mark for mark in self.form.end if not any(one.startswith(mark) for one in self.form.divide)]
        found = [(at, mark) for mark in (*self.form.divide, *ends) if (at := self.text.find(mark)) >= 0]
        if not found:
            if self.ended:
                self.text = ""
            return False
        at, mark = min(found)
        header = self.take(at)
        self.take(len(mark))
        call = self.form.header(header) if mark in self.form.divide else None
        if call is None:
            return self.go(self._between)
        self.say(call)
        self._spaces, self._begun = "", False
        return self.go(self._arguments)

    def _arguments(self) -> bool:
        text, mark = self.take_to(*self.form.end)
        if not self._begun:
            text = text.lstrip()
        kept = text.rstrip()
        if kept:
            self.say(Arguments(self._spaces + kept))
            self._begun, self._spaces = True, ""
        self._spaces += text[len(kept):]
        if mark is None:
            return False
        if not self._begun:
            self.say(Arguments("{}"))
        return self.go(self._between)


def _deepseek_v3(header: str) -> Call | None:
    _, mark, name = header.partition("<｜tool▁sep｜>")
    return Call(name.strip()) if mark and name.strip() else None


def _plain(header: str) -> Call | None:
    return Call(header.strip()) if header.strip() else None


def _kimi(header: str) -> Call | None:
    """`functions.get_weather:0` is the call's id, too."""
    one = header.strip()
    name, mark, number = one.rpartition(":")
    return Call(name.split(":")[0].removeprefix("functions."), one) if mark and number.isdigit() and name else None


DEEPSEEK_V3 = NamedForm("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", ("\n```json\n",),
                        ("\n```", "<｜tool▁call▁end｜>"), _deepseek_v3)
DEEPSEEK_V31 = NamedForm("<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", ("<｜tool▁sep｜>",),
                         ("<｜tool▁call▁end｜>",), _plain)
KIMI_K2 = NamedForm("<|tool_calls_section_begin|>", "<|tool_call_begin|>", ("<|tool_call_argument_begin|>",),
                    ("<|tool_call_end|>", "<|tool_calls_section_end|>"), _kimi)

_CALLS, _ARGS, _ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"


class MistralCalls(Machine):
    """`[TOOL_CALLS]name{…}` or `[TOOL_CALLS]name[ARGS]{…}` again and again; before tokenizer v11 one mark and a list.
    """

    def __init__(self, tools: Tools) -> None:
        super().__init__(self._content)
        self._tools = tools
        self._end = JsonEnd()
        self._list: JsonCalls | None = None

    def _content(self) -> bool:
        before, mark = self.take_to(_CALLS)
        self.say(Content(before))
        return mark is not None and self.go(self._opening)

    def _opening(self) -> bool:
        first = self.skip()
        if not first:
            return False
        if self.text.startswith(_CALLS):
            self.take(len(_CALLS))
            return True
        if not self.ended and _CALLS.startswith(self.text):
            return False
        if first in "[{":
            self._list = JsonCalls(Form((_CALLS,), list=True, after=True, unquotes=True), self._tools)
            self._list.feed(_CALLS)
            return self.go(self._listed)
        return self.go(self._name)

    def _listed(self) -> bool:
        assert self._list is not None
        self.say(*self._list.feed(self.take(len(self.text))))
        if self.ended and not self._list.ended:
            self.say(*self._list.finish())
        return False

    def _name(self) -> bool:
        found = [at for mark in ("{", _ARGS) if (at := self.text.find(mark)) >= 0]
        if not found:
            if self.ended:
                self.text = ""  # a name alone is no call
            return False
        name, mark, own = self.take(min(found)).partition(_ID)
        self.text = self.text.removeprefix(_ARGS)
        self.say(Call(name.strip(), own.strip() or None if mark else None))
        self._end = JsonEnd()
        return self.go(self._arguments)

    def _arguments(self) -> bool:
        if not self.skip():
            if self.ended:
                self.say(Arguments("{}"))
                return self.go(self._behind)
            return False
        return self.go(self._value)

    def _value(self) -> bool:
        end = self._end.find(self.text)
        self.say(Arguments(self.take(len(self.text) if end is None else end)))
        return end is not None and self.go(self._behind)

    def _behind(self) -> bool:
        _, mark = self.take_to(_CALLS)
        return mark is not None and self.go(self._opening)

