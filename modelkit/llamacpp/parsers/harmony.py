"""gpt-oss' format, where reasoning, calls and content are messages of an answer, each with a header.

`<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json
<|message|>{…}<|call|>`: the channel says what a message is, a recipient makes it a call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, Machine, Reasoning, Tools

_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_ENDS = ("<|end|>", "<|call|>", "<|return|>")

MARKS = (_START, _CHANNEL, _MESSAGE, "<|constrain|>", *_ENDS)

_RECIPIENT = re.compile(r"to=([^\s<]+)")
_EVENTS: Mapping[str, type[Arguments | Reasoning | Content]] = {
    "call": Arguments, "reasoning": Reasoning, "content": Content}

_NAME = re.compile(r"<\|channel\|>\s*(\w+)")


class Harmony(Machine):
    """Messages of one kind are parted by a line break. `reasons` and `calls`: whether those are told at all."""

    def __init__(self, tools: Tools, *, reasons: bool = True, calls: bool = True) -> None:
        super().__init__(self._header)
        self._reasons, self._calls = reasons, calls
        self._kind = ""
        self._told: set[str] = set()
        self._said = False  # something of this message

    def _header(self) -> bool:
        at = self.text.find(_MESSAGE)
        if at < 0:
            if self.ended and not self._told and self.text:
                self.say(Content(self.take(len(self.text))))  # nothing here is a message
            return False
        header = self.take(at)
        self.take(len(_MESSAGE))
        recipient, channel = _RECIPIENT.search(header), _NAME.search(header)
        named = channel[1] if channel else "final"
        if recipient is not None and recipient[1].startswith("functions."):
            self._kind = "call" if self._calls else ""
            if self._kind:
                self.say(Call(recipient[1].removeprefix("functions.")))
        elif named == "analysis":
            self._kind = "reasoning" if self._reasons else ""
        elif named == "final" or (named == "commentary" and recipient is None):
            self._kind = "content"
        else:
            self._kind = ""  # to a tool that is not ours
        self._said = False
        return self.go(self._body)

    def _body(self) -> bool:
        text, mark = self.take_to(*_ENDS, _START, _CHANNEL)
        if text and self._kind:
            if self._kind != "call" and not self._said and self._kind in self._told:
                text = "\n" + text
            self.say(_EVENTS[self._kind](text))
            self._said = True
            self._told.add(self._kind)
        if mark is None:
            return False
        if self._kind == "call" and not self._said:
            self.say(Arguments("{}"))
        self._told.add("")
        if mark in (_START, _CHANNEL):
            self.text = mark + self.text
        return self.go(self._header)
