"""A Go template's text as a tree. What Go's own parser refuses is refused, at its place."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from modelkit.templates.go_lexer import Token, tokens
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
    Pipe,
    TemplateError,
    Text,
    Variable,
)

FUNCTIONS = frozenset((
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf", "println",
    "html", "js", "urlquery", "call", "json", "currentDate", "yesterdayDate", "toTypeScriptType"))
"""Go's own, and Ollama's four."""

_DEEPEST = 100
_ELSEWHERE = frozenset(("define", "block", "template"))
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'",
            '"': '"'}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)


def parse(template: str) -> tuple[Node, ...]:
    """The tree. Raises TemplateError."""
    return _Parser(list(tokens(template)), len(template)).template()


class _Parser:
    def __init__(self, row: Sequence[Token], length: int) -> None:
        self._row, self._next = row, 0
        self._end = Token("end", "", length, length)
        self._variables: list[str] = ["$"]
        self._loops, self._depth = 0, 0

    def template(self) -> tuple[Node, ...]:
        nodes, stop = self._list()
        if stop is not None:
            raise TemplateError("syntax", f"this `{{{{ {stop.text} }}}}` has no beginning", stop.at, stop.end)
        return nodes

    @property
    def _token(self) -> Token:
        return self._row[self._next] if self._next < len(self._row) else self._end

    def _take(self) -> Token:
        token = self._token
        self._next += 1
        return token

    def _list(self) -> tuple[tuple[Node, ...], Token | None]:
        """Nodes up to an `end` or `else`, which is returned with its braces still to be read, or the text's end."""
        found: list[Node] = []
        while self._token.kind != "end":
            token = self._take()
            if token.kind == "text":
                found.append(Text(token.at, token.text))
                continue
            word = self._token
            if word.kind == "word" and word.text in ("end", "else"):
                return tuple(found), self._take()
            found.append(self._action(token, word))
        return tuple(found), None

    def _action(self, opened: Token, word: Token) -> Node:
        if word.kind == "word" and word.text in ("if", "range", "with"):
            self._take()
            return self._branch(opened, word)
        if word.kind == "word" and word.text in ("break", "continue"):
            self._take()
            self._close()
            if not self._loops:
                raise TemplateError("syntax", f"`{word.text}` stands outside of a `range`", word.at, word.end)
            return Jump(word.at, "break" if word.text == "break" else "continue")
        if word.kind == "word" and word.text in _ELSEWHERE:
            raise TemplateError("unsupported", f"`{word.text}` can't be said in Jinja yet", word.at, word.end,
                                "write its text where it is used")
        pipe = self._pipe("close")
        self._close()
        return Action(opened.at, pipe)

    def _close(self) -> None:
        token = self._take()
        if token.kind != "close":
            raise self._unexpected(token)

    def _branch(self, opened: Token, word: Token) -> Branch:
        """The rest of `{{ if …`, its `{{ end }}` included."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError("unsupported", f"this nests more than {_DEEPEST} deep", word.at, word.end)
        scope = len(self._variables)
        pipe = self._pipe("close", ranges=word.text == "range")
        self._close()
        self._loops += word.text == "range"
        body, stop = self._list()
        self._loops -= word.text == "range"
        otherwise: tuple[Node, ...] | None = None
        if stop is not None and stop.text == "else":
            otherwise = self._otherwise(opened, word, stop)
        elif stop is None:
            raise TemplateError("syntax", f"this `{word.text}` has no `{{{{ end }}}}`", opened.at, word.end)
        else:
            self._close()
        del self._variables[scope:]
        self._depth -= 1
        keyword = word.text
        assert keyword in ("if", "range", "with")
        return Branch(opened.at, keyword, pipe, body, otherwise)  # type: ignore[arg-type]

    def _otherwise(self, opened: Token, word: Token, stop: Token) -> tuple[Node, ...]:
        """What `{{ else }}` begins; `{{ else if x }}` is an `if` within it that shares its `{{ end }}`."""
        token = self._token
        if token.kind == "word" and token.text == word.text and word.text in ("if", "with"):
            self._take()
            return (self._branch(stop, token),)
        self._close()
        nodes, ends = self._list()
        if ends is None:
            raise TemplateError("syntax", f"this `{word.text}` has no `{{{{ end }}}}`", opened.at, word.end)
        if ends.text == "else":
            raise TemplateError("syntax", "there is an `else` after the `else`", ends.at, ends.end)
        self._close()
        return nodes

    def _pipe(self, until: str, ranges: bool = False) -> Pipe:
        start = self._token
        declared, assigns = self._declared(ranges)
        commands = [self._command(until)]
        while self._token.text == "|" and self._token.kind == "sign":
            self._take()
            commands.append(self._command(until))
            first = commands[-1].operands[0]
            if isinstance(first, (Dot, Nil, Constant)):
                raise TemplateError("syntax", "only a function can stand behind `|`", first.at, first.end)
        if declared and not assigns:
            self._variables += declared
        return Pipe(start.at, commands[-1].end, tuple(commands), declared, assigns)

    def _declared(self, ranges: bool) -> tuple[tuple[str, ...], bool]:
        """The variables before `:=` or `=`; none where the first one is only used."""
        row, names, here = self._row, [], self._next
        while here + 1 < len(row) and row[here].kind == "variable":
            names.append(row[here])
            here += 1
            if row[here].text in (":=", "="):
                break
            if not (ranges and len(names) == 1 and row[here].text == ","):
                return (), False
            here += 1
        if not names or here >= len(row) or row[here].text not in (":=", "="):
            return (), False
        self._next = here + 1
        assigns = row[here].text == "="
        for name in names:
            if assigns:
                self._known(name)
        return tuple(name.text for name in names), assigns

    def _known(self, token: Token) -> None:
        if token.text not in self._variables:
            raise TemplateError("syntax", f"the variable `{token.text}` was not declared here", token.at, token.end,
                                f"`{{{{ {token.text} := … }}}}` declares it, up to the `{{{{ end }}}}` around it")

    def _command(self, until: str) -> Command:
        found: list[Argument] = []
        start = self._token
        while True:
            token = self._token
            if token.kind == until or (token.kind == "sign" and token.text in ("|", ")")):
                break
            if found and not token.spaced and token.kind not in ("field",):
                raise self._unexpected(token)
            found.append(self._operand())
        if not found:
            raise TemplateError("syntax", "a value is missing here", start.at, start.end)
        first = found[0]
        if isinstance(first, Nil):
            raise TemplateError("syntax", "`nil` alone is no value to print or to ask", first.at, first.end)
        if len(found) > 1 and not isinstance(first, (Function, Field, Variable)):
            raise TemplateError("syntax", "only a function takes values behind it", first.at, found[-1].end)
        return Command(start.at, found[-1].end, tuple(found))

    def _operand(self) -> Argument:
        first = self._take()
        found = self._single(first)
        names, end = [], first.end if not isinstance(found, Pipe) else found.end
        while self._token.kind == "field" and not self._token.spaced:
            token = self._take()
            names.append(token.text[1:])
            end = token.end
        if not names:
            return found
        if isinstance(found, Field):
            return Field(found.at, end, (*found.names, *names), found.of)
        if isinstance(found, (Variable, Pipe)):
            return Field(found.at, end, tuple(names), found)
        raise TemplateError("syntax", "this has no fields", found.at, end)

    def _single(self, token: Token) -> Argument:
        at, end, text = token.at, token.end, token.text
        match token.kind:
            case "field":
                return Field(at, end, (text[1:],))
            case "variable":
                self._known(token)
                return Variable(at, end, text)
            case "string":
                return Constant(at, end, _unquoted(token))
            case "raw":
                return Constant(at, end, text[1:-1].replace("\r", ""))
            case "rune":
                return Constant(at, end, _rune(token))
            case "number":
                return Constant(at, end, _number(token))
            case "word":
                return self._word(token)
        if text == ".":
            return Dot(at, end)
        if text == "(":
            return self._parenthesis(token)
        raise self._unexpected(token)

    def _word(self, token: Token) -> Argument:
        at, end, text = token.at, token.end, token.text
        if text in ("true", "false"):
            return Constant(at, end, text == "true")
        if text == "nil":
            return Nil(at, end)
        if text in FUNCTIONS:
            return Function(at, end, text)
        if text in ("if", "range", "with", "end", "else", *_ELSEWHERE, "break", "continue"):
            raise self._unexpected(token)
        hint = f"write `.{text}` for a value, `{{% … %}}` for Jinja"
        raise TemplateError("syntax", f"there is no function `{text}`", at, end, hint)

    def _parenthesis(self, token: Token) -> Pipe:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError("unsupported", f"this nests more than {_DEEPEST} deep", token.at, token.end)
        pipe = self._pipe("close")
        closing = self._take()
        if closing.text != ")":
            raise TemplateError("syntax", "this parenthesis is not closed", token.at, token.end)
        self._depth -= 1
        return Pipe(token.at, closing.end, pipe.commands, pipe.declared, pipe.assigns)

    def _unexpected(self, token: Token) -> TemplateError:
        if token.kind == "end":
            return TemplateError("syntax", "the template ends within `{{`", token.at - 1, token.at)
        return TemplateError("syntax", f"`{token.text}` can't stand here", token.at, token.end)


def _unquoted(token: Token) -> str:
    """The text of a quoted string, its escapes read."""
    def one(found: re.Match[str]) -> str:
        digits = found[1] or found[2] or found[3]
        if digits or found[4]:
            code = int(digits, 16) if digits else int(found[4], 8)
            if code < 0x110000 and not 0xD800 <= code < 0xE000 and not ((found[1] or found[4]) and code > 127):
                return chr(code)
        elif found[5] in _ESCAPES:
            return _ESCAPES[found[5]]
        at = token.at + 1 + found.start()
        raise TemplateError("syntax", f"`{found[0]}` is no escape that means a character", at, at + len(found[0]))

    return _ESCAPE.sub(one, token.text[1:-1])


def _rune(token: Token) -> int:
    text = _unquoted(token)
    if len(text) != 1:
        raise TemplateError("syntax", "one character stands between single quotes; a text needs double ones",
                            token.at, token.end)
    return ord(text)


def _number(token: Token) -> int | float:
    text = token.text.replace("_", "")
    wrong = TemplateError("syntax", "this is no number that Go knows", token.at, token.end)
    if len(text) > 400:
        raise wrong
    try:
        value: int | float = int(text, 8 if re.fullmatch(r"[+-]?0[0-7]+", text) else 0)
    except ValueError:
        try:
            value = float(text)
        except ValueError:
            raise wrong from None
    if value in (math.inf, -math.inf) or (isinstance(value, int) and not -(1 << 63) <= value < 1 << 63):
        raise wrong
    return value
