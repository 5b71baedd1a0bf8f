"""Calls in tags, an argument a tag: Qwen3-Coder, Seed-OSS, MiniMax M2, DeepSeek V3.2, GLM 4.5.

Values have no types there: the tool's schema says them. A value that can only be a string is told while it is written
(models write whole files that way), any other at its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, Machine, Tools
from modelkit.llamacpp.parsers.values import is_text, properties, typed

Parameter = Callable[[str], tuple[str, bool | None]]


def _bare(header: str) -> tuple[str, bool | None]:
    """A parameter's name, in quotes or without."""
    return header.strip().strip("\"'"), None


def _typed(header: str) -> tuple[str, bool | None]:
    """`city" string="true`: the name, and whether the value is text."""
    name, _, kind = header.partition('"')
    return name.strip(), 'string="true"' in kind if "string=" in kind else None


@dataclass(frozen=True)
class TagForm:
    """The tags. `begin` and `end` go around calls; `call` is followed by the name, which ends at `named`.

    `parameter` begins an argument, its header ends at `divide` (one of them), its value at `done`. `trims`: a line
    break on either side of a value belongs to the tags.
    """

    begin: str
    end: str
    call: str
    named: tuple[str, ...]
    close: str
    parameter: str
    divide: str
    done: str
    read: Parameter = _bare
    trims: bool = False
    after: bool = True  # text behind the calls is content
    strips: bool = True  # spaces in front of a call are no content


def _xml(prefix: str = "") -> TagForm:
    return TagForm(f"<{prefix}tool_call>", f"</{prefix}tool_call>", "<function=", (">",), "</function>", "<parameter=",
                   ">", "</parameter>", trims=True)


def _dsml(wrapper: str) -> TagForm:
    return TagForm(f"<｜DSML｜{wrapper}>", f"</｜DSML｜{wrapper}>", '<｜DSML｜invoke name="', ('">',),
                   "</｜DSML｜invoke>", '<｜DSML｜parameter name="', ">", "</｜DSML｜parameter>",
                   read=_typed, after=False, strips=False)


QWEN3_CODER = _xml()
MIMO = replace(QWEN3_CODER, trims=False)
SEED_OSS = _xml("seed:")
MINIMAX_M2 = TagForm("<minimax:tool_call>", "</minimax:tool_call>", "<invoke name=", (">",), "</invoke>",
                     "<parameter name=", ">", "</parameter>")
DEEPSEEK_V32 = _dsml("function_calls")
DEEPSEEK_V4 = _dsml("tool_calls")
GLM = TagForm("<tool_call>", "</tool_call>", "", ("<arg_key>", "</tool_call>"), "</tool_call>", "<arg_key>",
              "<arg_value>", "</arg_value>",
              read=lambda header: (header.strip().removesuffix("</arg_key>").strip(), None))


class TaggedCalls(Machine):
    """Spaces around calls are no content. A tag of the form that is out of place is passed over."""

    def __init__(self, form: TagForm, tools: Tools) -> None:
        super().__init__(self._content)
        self.form, self.tools = form, tools
        self._held = ""  # spaces that belong to the content only if more of it follows
        self._called = self._section = False
        self._schemas: Any = {}
        self._count = 0  # of this call's arguments
        self._name = ""
        self._is_text: bool | None = None
        self._value = ""
        self._streams = self._begun = False

    def _content(self) -> bool:
        form = self.form
        before, mark = self.take_to(*filter(None, (form.begin, form.call, form.end)))
        if form.after or not self._called:
            text = self._held + before
            whole = not form.strips or (self.ended and mark is None and not self._called)
            ends = len(text) if whole else len(text.rstrip())
            self.say(Content(text[:ends]))
            self._held = text[ends:]
        if mark is None:
            return False
        if mark == form.end:
            return True
        return self.go(self._called_name if mark == form.call or not form.call else self._between)

    def _between(self) -> bool:
        form = self.form
        _, mark = self.take_to(*filter(None, (form.call, form.end)))
        if mark is None:
            return False
        return self.go(self._called_name if mark == form.call else self._content)

    def _called_name(self) -> bool:
        form = self.form
        ends = [(at, mark) for mark in (*form.named, form.close) if (at := self.text.find(mark)) >= 0]
        if not ends:
            if self.ended:
                self.text = ""  # a call that has no whole name yet
            return False
        at, mark = min(ends)
        name = self.take(at).strip().strip("\"'")
        if mark not in (form.parameter, form.close):
            self.take(len(mark))
        if not name:
            return self.go(self._between if form.call else self._behind)
        self._held, self._called, self._count = "", True, 0
        self._schemas = properties(self.tools.get(name))
        self.say(Call(name))
        return self.go(self._parameters)

    def _parameters(self) -> bool:
        """Between a call's arguments."""
        form = self.form
        _, mark = self.take_to(form.parameter, form.close, form.end)
        if mark is None:
            return False
        if mark == form.parameter:
            return self.go(self._parameter_name)
        self.say(Arguments("}" if self._count else "{}"))
        return self.go(self._behind if mark == form.end else self._between)

    def _behind(self) -> bool:
        return self.go(self._content)

    def _parameter_name(self) -> bool:
        header, mark = self._whole(self.form.divide)
        if mark is None:
            return False
        self._name, self._is_text = self.form.read(header)
        schema = self._schemas.get(self._name)
        self._streams = is_text(schema) if self._is_text is None else self._is_text
        self._value, self._begun = "", False
        return self.go(self._argument)

    def _whole(self, mark: str) -> tuple[str, str | None]:
        """The text up to a mark, once that is there."""
        at = self.text.find(mark)
        if at < 0:
            if self.ended:
                self.text = ""
            return "", None
        header = self.take(at)
        self.take(len(mark))
        return header, mark

    def _argument(self) -> bool:
        form = self.form
        marks = (form.done, form.parameter, form.close)
        text, mark = self.take_to(*marks)
        self._value += text
        if mark is None and not (self.ended or self._streams):
            return False
        if form.trims and not self._begun:
            if not self._value and mark is None and not self.ended:
                return False
            self._value = self._value.removeprefix("\n")
        if self._streams:
            self._tell(ended=mark is not None)
        elif mark is not None:
            self._say_value(typed(self._trimmed(self._value), self._schemas.get(self._name))
                            if self._is_text is None else _spelled(self._value))
        if mark is None:
            return False
        if mark == form.parameter:
            return self.go(self._parameter_name)
        if mark == form.close:
            self.text = mark + self.text
        return self.go(self._parameters)

    def _trimmed(self, value: str) -> str:
        return value.removesuffix("\n") if self.form.trims else value

    def _tell(self, *, ended: bool) -> None:
        """More of a string; its last line break is held back while it may be the tag's."""
        if not self._begun:
            self.say(Arguments(self._lead() + '"'))
            self._begun = True
        value = self._trimmed(self._value)
        self._value = "" if ended else self._value[len(value):]
        self.say(Arguments(json.dumps(value, ensure_ascii=False)[1:-1]))
        if ended:
            self.say(Arguments('"'))

    def _say_value(self, value: Any) -> None:
        self.say(Arguments(self._lead() + json.dumps(value, ensure_ascii=False)))

    def _lead(self) -> str:
        self._count += 1
        return ("{" if self._count == 1 else ", ") + json.dumps(self._name, ensure_ascii=False) + ": "


def _spelled(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
