"""The Jinja environment of chat templates: the one that transformers renders with, in a sandbox with an end.

A template comes with a model, so it is a stranger's program. Jinja's sandbox keeps it from Python's insides. Ours keeps
it from running for ever (each turn of a loop and each call of a macro looks at the clock) and from making values of
any size (what multiplies, pads, joins or nests is measured before it is made).
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, ItemsView, KeysView, Mapping, ValuesView
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

SECONDS = 2.0
"""Processor time of one rendering. A conversation that fills its context takes some hundredths of it."""

SIZE = 16 * 1024 * 1024
"""Characters of one string at most, and of the prompt."""

_ITEMS = 100_000  # in one nest of containers
_WIDTH = 100_000  # characters to pad to
_TURNS = 16  # of a loop between two looks at the clock
_DIGITS = re.compile(r"\d{6}")  # a width in a format string


class _Budget(threading.local):
    """What is left of a rendering, which stays in its thread."""

    deadline = float("inf")
    turns = 0


class _Generation(Extension):
    """`{% generation %}` marks answers for training; it means nothing when a prompt is rendered."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_inner"), [], [], body).set_lineno(line)

    def _inner(self, caller: Callable[[], str]) -> str:
        return caller()


class _Measured(CodeGenerator):
    """What `~` and the brackets of lists make can double with each turn of a loop: it is measured."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.measured(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.measured(")
        super().visit_Dict(node, frame)
        self.write(")")


class Sandbox(ImmutableSandboxedEnvironment):
    """Where a template is compiled and rendered, from any number of threads."""

    code_generator_class = _Measured
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, seconds: float = SECONDS, size: int = SIZE) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols],
                         finalize=self.measured)
        self.seconds, self.size = seconds, size
        self._budget = _Budget()
        self.filters |= {"tojson": self._tojson, "center": self._center, "indent": self._indent,
                         "batch": self._batch, "format": self._format, "string": self._string, "join": _join,
                         "replace": _replace}
        self.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
        del self.globals["lipsum"], self.filters["pprint"]  # words at random, any number of them; repr's own layout

    def compiled(self, text: str) -> Any:
        """The template, as a program that spends its budget. Raises jinja2.TemplateSyntaxError."""
        tree = self.parse(text)
        blocks: list[Any] = [*tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock))]
        for block in blocks:
            turn = nodes.ExprStmt(nodes.Call(nodes.EnvironmentAttribute("turn"), [], [], None, None))
            block.body.insert(0, turn.set_environment(self).set_lineno(block.lineno))
        return self.template_class.from_code(self, self.compile(tree, "chat template"), self.make_globals(None))

    def rendered(self, template: Any, variables: Mapping[str, Any]) -> str:
        """The prompt. Raises TemplateError beyond the budget, and whatever else the template makes Python raise."""
        self._budget.deadline, self._budget.turns = time.thread_time() + self.seconds, 0
        parts, length = [], 0
        try:
            for part in template.generate(variables):
                parts.append(part)
                length += len(part)
                self.check(length)
        finally:
            self._budget.deadline = float("inf")
        return "".join(parts)

    def turn(self) -> None:
        """One more turn of a loop, or call of a macro."""
        self._budget.turns += 1
        if self._budget.turns % _TURNS == 0 and time.thread_time() > self._budget.deadline:
            raise TemplateError("the chat template does not come to an end")

    def check(self, size: int, limit: int | None = None) -> None:
        """Raises for a value of that size, or a width above the limit."""
        if size > (self.size if limit is None else limit):
            raise SecurityError("the chat template makes more than a prompt can be")

    def measured(self, value: Any) -> Any:
        """The value, unless it is too large. A nest of containers is as large as it is when written down."""
        if isinstance(value, (str, bytes)):
            self.check(len(value))
        elif isinstance(value, int):
            self.check(value.bit_length(), _WIDTH)
        elif value is not None and not isinstance(value, (float, Undefined)):
            self.count(value)
        return value

    def joined(self, parts: tuple[Any, ...]) -> Any:
        """What `~` makes of its parts."""
        return self.measured("".join([str(self.measured(part)) for part in parts]))

    def count(self, *values: Any) -> None:
        """Walks through nests, a limited way: a list that holds another twice doubles with each level."""
        items, size, stack = 0, 0, [*values]
        while stack:
            one = stack.pop()
            items += 1
            if isinstance(one, (str, bytes)):
                size += len(one)
                self.check(size)
                continue
            if isinstance(one, Mapping):
                stack += [*one.keys(), *one.values()]
            elif isinstance(one, (list, tuple, KeysView, ValuesView, ItemsView)):
                stack += one
            elif isinstance(one, Namespace):
                stack.append(object.__getattribute__(one, "_Namespace__attrs"))
            self.check(items + len(stack), _ITEMS)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, (str, bytes, list, tuple)) and isinstance(times, int):
                    self.check(len(one) * times, self.size if isinstance(one, (str, bytes)) else _ITEMS)
        elif operator == "%" and isinstance(left, (str, bytes)):
            self._check_format(left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            self.check(left.bit_length() * right, _WIDTH)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, (list, tuple)):
            self.check(len(result), _ITEMS)  # what is in it was there before
            return result
        return self.measured(result)

    def wrap_str_format(self, value: Any) -> Any:
        """Jinja gives a function for `str.format`, which has no owner that `call` could look at."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def bounded(*args: Any, **kwargs: Any) -> Any:
            self._check_method(value.__self__, "format", [*args, *kwargs.values()])
            return wrapped(*args, **kwargs)

        return bounded

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Methods of strings and numbers can make much out of little."""
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            __self._check_method(owner, getattr(__obj, "__name__", ""), [*args, *kwargs.values()])
        elif __obj in (dict, Namespace):
            __self.count(*args, *kwargs.values())
        result = super().call(__context, __obj, *args, **kwargs)
        return __self.measured(result) if isinstance(result, (str, bytes, int)) else result

    def _check_method(self, owner: Any, name: str, args: list[Any]) -> None:
        for one in args:
            if isinstance(one, int):
                self.check(abs(one), _WIDTH)
        if name in ("format", "format_map"):
            self._check_format(owner, args)
        elif name == "replace" and len(args) >= 2:
            self.check_replace(owner, args[0], args[1])
        elif name == "join" and args and isinstance(args[0], (list, tuple)):
            self.count(args[0], *[owner] * len(args[0]))
        elif name == "expandtabs" and args and isinstance(args[0], int):
            self.check(len(owner) + owner.count("\t") * args[0])
        elif name == "translate" and args and isinstance(args[0], Mapping):
            self.check(len(owner) * max((len(one) for one in args[0].values() if isinstance(one, str)), default=1))

    def _check_format(self, text: Any, values: Any) -> None:
        pattern = text.decode("latin-1") if isinstance(text, bytes) else str(text)
        for width in _DIGITS.findall(pattern):
            self.check(int(width), _WIDTH)
        for one in values.values() if isinstance(values, Mapping) else values if isinstance(values, tuple) else ():
            if isinstance(one, int) and "*" in pattern:
                self.check(abs(one), _WIDTH)
        self.count(values)

    def check_replace(self, text: Any, old: Any, new: Any) -> None:
        if isinstance(text, str) and isinstance(old, str) and isinstance(new, str):
            self.check(len(text) + text.count(old) * (len(new) - len(old)))

    def _tojson(self, value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None,
                sort_keys: bool = False) -> str:
        """As transformers writes JSON: nothing is escaped for HTML, keys keep their order."""
        self.check(indent if isinstance(indent, int) else len(indent or ""), 64)
        self.count(value)
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def _center(self, value: str, width: int = 80) -> Any:
        self.check(width, _WIDTH)
        return FILTERS["center"](value, width)

    def _batch(self, value: Any, linecount: int, fill_with: Any = None) -> Any:
        self.check(linecount, _WIDTH)
        return FILTERS["batch"](value, linecount, fill_with)

    def _indent(self, s: str, width: Any = 4, first: bool = False, blank: bool = False) -> Any:
        self.measured(s)
        self.check(len(str(s)) + (len(width) if isinstance(width, str) else width) * (str(s).count("\n") + 1))
        return FILTERS["indent"](s, width, first, blank)

    def _string(self, value: Any) -> Any:
        return FILTERS["string"](self.measured(value))

    def _format(self, value: str, *args: Any, **kwargs: Any) -> Any:
        self._check_format(value, args or kwargs)
        return FILTERS["format"](value, *args, **kwargs)


@pass_eval_context
def _join(context: EvalContext, value: Any, d: str = "", attribute: Any = None) -> Any:
    parts, sandbox = list(value), context.environment
    assert isinstance(sandbox, Sandbox)
    sandbox.count(parts, *[d] * len(parts))
    return FILTERS["join"](context, parts, d, attribute)


@pass_eval_context
def _replace(context: EvalContext, s: str, old: str, new: str, count: int | None = None) -> Any:
    assert isinstance(context.environment, Sandbox)
    context.environment.check_replace(str(s), str(old), str(new))
    return FILTERS["replace"](context, s, old, new, count)


def _raise_exception(message: Any) -> None:
    raise TemplateError(str(message))


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)
