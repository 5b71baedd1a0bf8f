"""Calls as Python writes them, `[get_weather(city="Paris"), now()]`: Llama 4, OLMo 3, LFM2, ToolACE.

Each call is told when its bracket closes: before that its arguments can't be read.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass
from typing import Any

from modelkit.llamacpp.parsers.machine import Arguments, Call, Content, Machine, Tools

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\s*\(")
_SO_FAR = re.compile(r"[A-Za-z_]\w*(\.([A-Za-z_]\w*)?)*\s*$")
_WORDS = {"null": None, "true": True, "false": False}


@dataclass(frozen=True)
class PythonForm:
    """`begin` and `end` go around the calls; without `begin` they begin the answer. `opens` are words that may stand
    in front of those. `list`: the calls are in brackets, or else each is a line. `after`: content may follow."""

    begin: str = ""
    end: str = ""
    opens: tuple[str, ...] = ()
    list: bool = True
    after: bool = False


PYTHONIC = PythonForm()
LLAMA4 = PythonForm(opens=("<|python_start|>",))
OLMO3 = PythonForm("<function_calls>", "</function_calls>", list=False)
LFM2 = PythonForm("<|tool_call_start|>", "<|tool_call_end|>", after=True)


class PythonCalls(Machine):
    def __init__(self, form: PythonForm, tools: Tools) -> None:
        super().__init__(self._content if form.begin else self._beginning)
        self.form = form
        self._raw = ""  # what may still turn out to be content
        self._called = False
        self._bracket = _Bracket()

    def _beginning(self) -> bool:
        """Without marks, the first character decides."""
        rest = self.text.lstrip()
        if not self.ended and (not rest or any(word.startswith(rest) and word != rest for word in self.form.opens)):
            return False
        for word in self.form.opens:
            if rest.startswith(word):
                self._raw = self.take(len(self.text) - len(rest) + len(word))
                return self.go(self._opening)
        return self.go(self._opening if rest.startswith("[") else self._rest)

    def _content(self) -> bool:
        before, mark = self.take_to(self.form.begin)
        if not self._called or self.form.after:
            self.say(Content(before))
        if mark is None:
            return False
        self._raw = mark
        return self.go(self._opening if self.form.list else self._between)

    def _opening(self) -> bool:
        first = self._next()
        if first == "[":
            self._raw += self.take(1)
            return self.go(self._between)
        return self.go(self._broken) if first or self.ended else False

    def _next(self) -> str:
        rest = self.text.lstrip()
        self._raw += self.take(len(self.text) - len(rest))
        return rest[:1]

    def _between(self) -> bool:
        """Before a call, or behind the last one."""
        first = self._next()
        while first in (",", ";") and first:
            self._raw += self.take(1)
            first = self._next()
        if not first:
            return self.go(self._broken) if self.ended else False
        if first == "]" and self.form.list:
            self._raw += self.take(1)
            return self.go(self._behind if self._called else self._broken)
        if self.form.end and self.text.startswith(self.form.end):
            return self.go(self._behind)
        if _NAME.match(self.text):
            self._bracket = _Bracket()
            return self.go(self._call)
        could_be = _SO_FAR.fullmatch(self.text) or (self.form.end and self.form.end.startswith(self.text))
        return False if could_be and not self.ended else self.go(self._broken)

    def _call(self) -> bool:
        end = self._bracket.find(self.text)
        if end is None:
            return self.go(self._broken) if self.ended else False
        call = _read(self.text[:end])
        if call is None:
            return self.go(self._broken)
        self.take(end)
        self._raw, self._called = "", True
        self.say(Call(call[0]), Arguments(call[1]))
        return self.go(self._between)

    def _behind(self) -> bool:
        """What follows the calls is their end mark, and then no content or content."""
        if not self.form.end:
            self.text = ""
            return False
        _, mark = self.take_to(self.form.end)
        return mark is not None and self.go(self._content)

    def _broken(self) -> bool:
        """No calls after all, or no more of them."""
        self.say(Content(self._raw))
        self._raw = ""
        return self.go(self._rest)

    def _rest(self) -> bool:
        self.say(Content(self.take(len(self.text))))
        return False


class _Bracket:
    """Finds where the first bracket that opens is closed. Goes on where it stopped when the text has grown."""

    def __init__(self) -> None:
        self._at = self._depth = 0
        self._quote = ""

    def find(self, text: str) -> int | None:
        while self._at < len(text):
            at, c = self._at, text[self._at]
            if self._quote:
                if c == "\\":
                    self._at += 1
                elif text.startswith(self._quote, at):
                    self._at += len(self._quote) - 1
                    self._quote = ""
                elif self._quote.startswith(text[at:]):
                    return None  # perhaps the first of three
            elif c in "\"'":
                if text[at:] in (c, c * 2):
                    return None  # one quote, none in between, or one of three: more text will say
                self._quote = c * 3 if text.startswith(c * 3, at) else c
                self._at += len(self._quote) - 1
            elif c in "([{":
                self._depth += 1
            elif c in ")]}":
                self._depth -= 1
                if self._depth == 0:
                    return at + 1
            self._at += 1
        return None


def _read(text: str) -> tuple[str, str] | None:
    """A call's name and its arguments as JSON; None for what is no call with literals."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        arguments = {one.arg: _value(one.value) for one in call.keywords if one.arg is not None}
        return ast.unparse(call.func), json.dumps(arguments, ensure_ascii=False)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Any:
    """A literal. Tuples and sets are lists, and JSON's words for nothing, yes and no are known. Raises ValueError."""
    match node:
        case ast.Constant(value=None | str() | int() | float() as value):
            return value
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value(item) for item in items]
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=int() | float() as number)):
            return -number if isinstance(sign, ast.USub) else number
    raise ValueError("not a literal")


def _key(node: ast.expr | None) -> Any:
    if not isinstance(node, ast.Constant):
        raise ValueError("not a literal")
    return node.value
