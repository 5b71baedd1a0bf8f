"""Go's statements as Jinja's: printing, branches, loops, variables.

Jinja's loops keep what is set within them, so a Go variable that is assigned to (`$x = …`) lives in the namespace `go`.
`break` and `continue` become flags there: llama.cpp loses what a branch printed before it jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from modelkit.templates import data
from modelkit.templates.data import Type
from modelkit.templates.expressions import NOTHING, Value, constant, field, printed, quoted, truth, unsayable, wrong
from modelkit.templates.functions import called
from modelkit.templates.go_nodes import (
    Action,
    Argument,
    Branch,
    Command,
    Constant,
    Dot,
    Field,
    Function,
    Jump,
    Nil,
    Node,
    Operand,
    Pipe,
    TemplateError,
    Text,
    Variable,
)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that Ollama does not give: it prints `<no value>`, and is false."""

    name: str
    at: int
    end: int


@dataclass(frozen=True)
class Scope:
    """What a statement sees: dot, the variables, and the flags of the loop around it."""

    dot: Value
    variables: dict[str, Value]
    loop: int = 0  # number of the loop
    sure: bool = True  # that it is reached, if only there are messages

    def inner(self, **changes: object) -> Scope:
        return replace(self, variables=dict(self.variables), **changes)  # type: ignore[arg-type]


class Writer:
    """Writes one template's statements. `root` is what it is given, by Go's names."""

    def __init__(self, nodes: Sequence[Node], root: Mapping[str, tuple[str, Type]]) -> None:
        self.used: set[str] = set()  # names of the root, and fields of messages, that the code asks for
        self.unknown: list[Unknown] = []
        self._root = root
        self._lines: list[str] = []
        self._assigned = {name for pipe in pipes(nodes) if pipe.assigns for name in pipe.declared}
        self._count = 0
        self._types: dict[str, Type] = {}  # of variables that begin as nothing and become something else
        self._first: set[str] = set()
        self.failing: list[TemplateError] = []

    @property
    def uses_go(self) -> bool:
        return any("go." in line for line in self._lines)

    def code(self, nodes: Sequence[Node], opens: str = "", behind: int = 0) -> str:
        """The Jinja of a template's nodes, a statement a line. Those from `behind` on begin the answer: where one of
        them says anything, they depend on `opens`.
        """
        known = -1
        while known < len(self._types):  # what a variable becomes is known at the end
            known = len(self._types)
            self._lines, self._count = [], 0
            self.unknown, self.failing = [], []
            self._all(nodes, opens, behind)
        return "\n".join(self._lines)

    def _all(self, nodes: Sequence[Node], opens: str, behind: int) -> None:
        root = Value("", data.ROOT)
        scope = Scope(root, {"$": root})
        last = behind if opens else len(nodes)
        self._list(nodes[:last], scope)
        before = len(self._lines)
        self._list(nodes[last:], scope)
        if len(self._lines) > before:
            self.used.add("open")
            self._lines[before:] = [f"{{%- if {opens} -%}}", *self._lines[before:], "{%- endif -%}"]

    def line(self, text: str) -> None:
        self._lines.append(text)

    def _list(self, nodes: Sequence[Node], scope: Scope) -> None:
        for index, node in enumerate(nodes):
            if not self._try(node, scope) or isinstance(node, Jump):
                return  # nobody gets to what is behind it
            if scope.loop and index + 1 < len(nodes) and (kinds := jumps(node)):
                flags = " or ".join(f"go.{kind}_{scope.loop}" for kind in sorted(kinds))
                self.line(f"{{%- if not ({flags}) -%}}")
                self._list(nodes[index + 1 :], scope)
                self.line("{%- endif -%}")
                return

    def _try(self, node: Node, scope: Scope) -> bool:
        """A statement; one that would make Ollama fail fails alike, where it may be that nobody gets to it: False."""
        before = len(self._lines)
        try:
            self._node(node, scope)
        except TemplateError as error:
            if error.kind != "syntax" or scope.sure:
                raise
            self._lines[before:] = [f"{{{{- raise_exception({quoted(error.message)}) -}}}}"]
            self.failing.append(error)
            return False
        return True

    def _node(self, node: Node, scope: Scope) -> None:
        match node:
            case Text():
                self.line(f"{{{{- {quoted(node.text)} -}}}}")
            case Jump():
                self.line(f"{{%- set go.{node.keyword}_{scope.loop} = true -%}}")
            case Action():
                self._action(node.pipe, scope)
            case Branch(keyword="range"):
                self._range(node, scope)
            case Branch():
                self._branch(node, scope)

    def _action(self, pipe: Pipe, scope: Scope) -> None:
        value = self._value(pipe, scope)
        if pipe.declared:
            self._declare(pipe, value, scope)
            return
        code = printed(value, pipe)
        if code != "''":
            self.line(f"{{{{- {code} -}}}}")

    def _declare(self, pipe: Pipe, value: Value, scope: Scope) -> Value:
        """`$x := value`, or `$x = value`. The variable."""
        name = pipe.declared[0]
        if pipe.assigns:
            known = scope.variables[name]
            if value.type is not known.type and data.ANY not in (value.type, known.type):
                plain = {value.type, known.type} <= {data.TEXT, data.NUMBER, data.BOOL}
                if not plain and (known.code not in self._first or known.code in self._types):
                    raise unsayable(f"`{name}` holds {known.type.says} before, and {value.type.says} from here on",
                                    pipe, "use another variable")
                self._types[known.code] = data.ANY if plain else value.type
            self.line(f"{{%- set {known.code} = {value.code} -%}}")
            return known
        if name not in self._assigned and (value.literal is not None or value.type in (data.ROOT, data.NOTHING)):
            scope.variables[name] = value
            return value
        code = self._name(name[1:] or "v")
        if name in self._assigned:
            code = f"go.{code}"
        self.line(f"{{%- set {code} = {value.code} -%}}")
        if value.literal in ("", 0, False) and value.literal is not None:
            self._first.add(code)
        scope.variables[name] = Value(code, self._types.get(code, value.type))
        return scope.variables[name]

    def _name(self, like: str) -> str:
        """A name of our own that no other has."""
        self._count += 1
        return f"{like if like.isascii() and like.isidentifier() and like.strip('_') else 'v'}_{self._count}"

    def _branch(self, node: Branch, scope: Scope) -> None:
        """`if` and `with`; one whose condition is known becomes the branch that is taken."""
        inner = scope.inner()
        value = self._value(node.pipe, scope)
        if node.pipe.declared:
            value = self._declare(node.pipe, value, inner)
        holds = truth(value)
        if holds is not False and node.keyword == "with" and not node.pipe.declared and not _simple(value.code):
            name = self._name("dot")
            self.line(f"{{%- set {name} = {value.code} -%}}")
            value = replace(value, code=name)
        body = replace(inner, dot=value) if node.keyword == "with" else inner
        sure = scope.sure and holds is not None
        body = replace(body, sure=sure)
        if holds is not None:
            self._list(node.body if holds else node.otherwise or (), body if holds else inner)
            return
        condition = f"ns.open and {value.code}" if opens_answer(node) else value.code
        if condition.startswith("ns.open"):
            self.used.add("open")
        self.line(f"{{%- if {condition} -%}}")
        self._list(node.body, body.inner())
        self._else(node, inner)
        self.line("{%- endif -%}")

    def _else(self, node: Branch, scope: Scope) -> None:
        if node.otherwise:
            self.line("{%- else -%}")
            self._list(node.otherwise, scope.inner(sure=False))

    def _range(self, node: Branch, scope: Scope) -> None:
        value = self._value(node.pipe, scope)
        if truth(value) is False:
            self._list(node.otherwise or (), scope.inner())
            return
        if node.pipe.assigns:
            raise unsayable("`range` with `=` can't be said in Jinja", node.pipe, "write `:=`")
        code = value.code
        if node.otherwise and not _simple(code):
            code = self._name("all")
            self.line(f"{{%- set {code} = {value.code} -%}}")
        if node.otherwise:
            self.line(f"{{%- if {code} -%}}")
        self._loop(node, replace(value, code=code), scope)
        self._else(node, scope)
        if node.otherwise:
            self.line("{%- endif -%}")

    def _loop(self, node: Branch, value: Value, scope: Scope) -> None:
        names, kind = node.pipe.declared, value.type
        item, key = self._name(names[-1][1:] if names else "item"), None
        if kind.name in data.MAPS and kind.of is not None:
            key = Value(self._name(names[0][1:] if len(names) == 2 else "key"), data.TEXT)
            self.line(f"{{%- for {key.code}, {item} in {value.code}|dictsort(true) -%}}")
        elif kind.name in data.LISTS and kind.of is not None:
            self.line(f"{{%- for {item} in {value.code} -%}}")
        elif kind is data.NUMBER and len(names) < 2:
            self.line(f"{{%- for {item} in range({value.code}) -%}}")
        elif kind is data.ANY:
            raise unsayable("what this goes through is not known before the conversation is", node.pipe)
        else:
            raise wrong(f"`range` can't go through {kind.says}", node.pipe)
        one = Value(item, kind.of or data.NUMBER)
        found = {jump for inner in node.body for jump in jumps(inner)}
        number = self._count
        inner = scope.inner(dot=one, loop=number)
        self._loop_variables(names, one, key, inner)
        if "continue" in found:
            self.line(f"{{%- set go.continue_{number} = false -%}}")
        if "break" in found:
            self.line(f"{{%- if loop.first -%}}{{%- set go.break_{number} = false -%}}{{%- endif -%}}")
            self.line(f"{{%- if not go.break_{number} -%}}")
        self._list(node.body, inner)
        if "break" in found:
            self.line("{%- endif -%}")
        self.line("{%- endfor -%}")

    def _loop_variables(self, names: Sequence[str], one: Value, key: Value | None, scope: Scope) -> None:
        """`$i, $m := range …`: the index or key, and the value."""
        given = dict(zip(reversed(names), (one, key or Value("loop.index0", data.NUMBER)), strict=False))
        for name, value in reversed(given.items()):
            code = value.code
            if name in self._assigned or code == "loop.index0":
                code = self._name(name[1:] or "v")
                if name in self._assigned:
                    code = f"go.{code}"
                self.line(f"{{%- set {code} = {value.code} -%}}")
            scope.variables[name] = replace(value, code=code)

    def _value(self, pipe: Pipe, scope: Scope) -> Value:
        value: Value | None = None
        for command in pipe.commands:
            value = self._command(command, scope, value)
        assert value is not None, "a pipeline has a command"
        return value

    def _command(self, command: Command, scope: Scope, before: Value | None) -> Value:
        first, *others = command.operands
        if not isinstance(first, Function):
            if others or before is not None:
                raise wrong("this is not a function, and takes no values", command)
            return self._operand(first, scope)
        values = [self._operand(one, scope) for one in others]
        return called(first.name, [*values, before] if before is not None else values, command)

    def _operand(self, operand: Argument, scope: Scope) -> Value:
        match operand:
            case Dot():
                return scope.dot
            case Nil():
                return Value("none", data.NIL, holds=False)
            case Constant():
                return constant(operand.value)
            case Variable():
                value = scope.variables[operand.name]
                return replace(value, type=self._types.get(value.code, value.type))
            case Function():
                return called(operand.name, [], operand)
            case Pipe():
                if operand.declared:
                    raise unsayable("a variable can't be set within parentheses", operand)
                return self._value(operand, scope)
            case Field():
                of = scope.dot if operand.of is None else self._operand(operand.of, scope)
                return self._field(of, operand)

    def _field(self, value: Value, operand: Field) -> Value:
        for name in operand.names:
            if value.type is data.NOTHING:
                raise wrong(f"there is nothing here that could have `{name}`", operand)
            value = self._of_root(name, operand) if value.type is data.ROOT else field(value, name, operand)
            self.used.add(name)
        return value

    def _of_root(self, name: str, place: Operand) -> Value:
        if name not in self._root:
            self.unknown.append(Unknown(name, place.at, place.end))
            return NOTHING
        code, kind = self._root[name]
        return Value(code, kind, "" if code == "''" else None, False if code == "''" else None)


def _simple(code: str) -> bool:
    return code.replace("_", "a").replace(".", "a").isalnum()


def jumps(node: Node) -> frozenset[str]:
    """The `break` and `continue` in a node that are of the loop around it."""
    if isinstance(node, Jump):
        return frozenset((node.keyword,))
    if isinstance(node, Branch):
        inner = node.otherwise or () if node.keyword == "range" else (*node.body, *(node.otherwise or ()))
        return frozenset(kind for one in inner for kind in jumps(one))
    return frozenset()


def pipes(nodes: Sequence[Node]) -> Iterator[Pipe]:
    """Every pipeline that stands for itself, in the text's order."""
    for node in nodes:
        if isinstance(node, (Action, Branch)):
            yield node.pipe
        if isinstance(node, Branch):
            yield from pipes(node.body)
            yield from pipes(node.otherwise or ())


def opens_answer(node: Branch) -> bool:
    """Whether it is `{{ if and (ne .Role "assistant") $last }}`: the text that begins the answer."""
    operands = node.pipe.commands[0].operands
    if node.keyword != "if" or node.otherwise or not isinstance(operands[0], Function) or operands[0].name != "and":
        return False
    return any(isinstance(one, Pipe) and _is_no_answer(one.commands[0].operands) for one in operands[1:])


def _is_no_answer(operands: Sequence[Argument]) -> bool:
    match operands:
        case (Function(name="ne"), Field(names=(*_, "Role")), Constant(value="assistant")):
            return True
    return False
