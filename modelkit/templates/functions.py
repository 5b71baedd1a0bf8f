"""Go's functions, and Ollama's, as Jinja expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from modelkit.templates import data
from modelkit.templates.expressions import NOTHING, Value, constant, printed, quoted, truth, unsayable, wrong
from modelkit.templates.go_nodes import Operand

Build = Callable[[Sequence[Value], Operand], Value]

_COMPARABLE = (data.TEXT, data.NUMBER, data.BOOL)


def called(name: str, values: Sequence[Value], place: Operand) -> Value:
    """The function's result. Raises TemplateError for what Ollama refuses, or Jinja can't say."""
    least, most, build = _TABLE[name]
    if not least <= len(values) <= most:
        wanted = str(least) if least == most else f"at least {least}" if most > 9 else f"{least} to {most}"
        raise wrong(f"`{name}` takes {wanted} {'value' if wanted == '1' else 'values'}, not {len(values)}", place)
    return build(values, place)


def _chosen(word: str, ends_at: bool) -> Build:
    """`and`, `or`: the first value that decides, else the last."""
    def build(values: Sequence[Value], place: Operand) -> Value:
        left: list[Value] = []
        for value in values:
            holds = truth(value)
            if holds is ends_at:
                left.append(value)
                break
            if holds is None or value is values[-1]:
                left.append(value)
        if len(left) == 1:
            return left[0]
        kinds = {value.type for value in left}
        known = {truth(value) for value in left}
        return Value(f"({f' {word} '.join(value.code for value in left)})",
                     kinds.pop() if len(kinds) == 1 else data.ANY,
                     holds=ends_at if ends_at in known and left[-1] is values[-1] and truth(left[-1]) is ends_at
                     else None)

    return build


def _not(values: Sequence[Value], place: Operand) -> Value:
    holds = truth(values[0])
    return constant(not holds) if holds is not None else Value(f"(not {values[0].code})", data.BOOL)


def _equal(values: Sequence[Value], place: Operand) -> Value:
    first, *others = values
    if not others:
        raise wrong("there is nothing to compare it with", place)
    found = [_same(first, other, place) for other in others]
    if any(one.holds for one in found):
        return constant(True)
    left = [one.code for one in found if one.holds is None]
    if not left:
        return constant(False)
    return Value(left[0] if len(left) == 1 else f"({' or '.join(left)})", data.BOOL)


def _unequal(values: Sequence[Value], place: Operand) -> Value:
    same = _same(values[0], values[1], place)
    return constant(not same.holds) if same.holds is not None else Value(same.code.replace(" == ", " != ", 1)
        if same.code.count(" == ") == 1 else f"(not {same.code})", data.BOOL)


def _compared(value: Value, other: Value) -> str:
    return value.shorter if value.shorter is not None and other.literal == 0 else value.code


def _same(left: Value, right: Value, place: Operand) -> Value:
    _presume_comparable(left, right, place)
    if data.NOTHING in (left.type, right.type) or data.NIL in (left.type, right.type):
        both = {left.type, right.type} <= {data.NOTHING, data.NIL}
        return constant(both) if data.ANY not in (left.type, right.type) else Value(
            f"({(left if left.type is data.ANY else right).code} is none)", data.BOOL)
    if left.literal is not None and right.literal is not None:
        return constant(left.literal == right.literal)
    return Value(f"({_compared(left, right)} == {_compared(right, left)})", data.BOOL)


def _ordered(sign: str) -> Build:
    def build(values: Sequence[Value], place: Operand) -> Value:
        left, right = values
        _presume_comparable(left, right, place)
        if data.BOOL in (left.type, right.type) or data.NOTHING in (left.type, right.type):
            raise wrong("these two have no order", place)
        return Value(f"({_compared(left, right)} {sign} {_compared(right, left)})", data.BOOL)

    return build


def _presume_comparable(left: Value, right: Value, place: Operand) -> None:
    loose = (data.ANY, data.NOTHING, data.NIL)
    for value in (left, right):
        if value.type not in (*_COMPARABLE, *loose):
            raise wrong(f"{value.type.says} can't be compared", place)
    if left.type not in loose and right.type not in loose and left.type is not right.type:
        raise wrong(f"{left.type.says} and {right.type.says} can't be compared", place)


def _len(values: Sequence[Value], place: Operand) -> Value:
    value = values[0]
    if isinstance(value.literal, str):
        return constant(len(value.literal.encode("utf-8", "surrogatepass")))
    if value.length is not None:
        return Value(value.length, data.NUMBER)
    if value.type is data.TEXT:
        return Value(f"(go_bytes({value.code})|int)", data.NUMBER, shorter=f"({value.code}|length)")
    if value.type.name in data.LISTS or value.type.name in data.MAPS:
        return Value(f"({value.code}|length)", data.NUMBER)
    if value.type is data.ANY:
        raise unsayable("what this is the length of is not known before the conversation is", place)
    raise wrong(f"{value.type.says} has no length", place)


def _index(values: Sequence[Value], place: Operand) -> Value:
    found = values[0]
    for key in values[1:]:
        of = found.type.of
        by_number = found.type.name in data.LISTS and key.type in (data.NUMBER, data.ANY)
        by_name = found.type.name in data.MAPS and key.type in (data.TEXT, data.ANY)
        if of is not None and (by_number or by_name):
            found = Value(f"{found.code}[{key.code}]", of)
        elif found.type is data.ANY:
            found = Value(f"{found.code}[{key.code}]", data.ANY)
        elif found.type is data.TEXT:
            raise unsayable("a byte of a text can't be had in Jinja", place)
        else:
            raise wrong(f"{found.type.says} has nothing at that index", place)
    return found


def _slice(values: Sequence[Value], place: Operand) -> Value:
    whole, bounds = values[0], values[1:]
    if whole.type is data.TEXT and not any(one.type is not data.NUMBER for one in bounds):
        if len(bounds) > 2:
            raise wrong("`slice` of a text takes two bounds", place)
        places = ", ".join(one.code for one in (*bounds, *([constant(0)] if not bounds else [])))
        return Value(f"go_part({whole.code}, {places})", data.TEXT)
    if whole.type.name not in data.LISTS or any(one.type is not data.NUMBER for one in bounds):
        raise wrong(f"{whole.type.says} can't be cut like this", place)
    if not bounds:
        return whole
    start, *rest = [one.code for one in bounds]
    length = f"({rest[0]} - {start})" if rest else f"({whole.code}|length - {start})"
    return Value(f"{whole.code}[{start}:{rest[0] if rest else ''}]", whole.type, length=length)


_VERB = re.compile(r"%(?:(%)|([+\-# 0]*)(\*|\d*)(?:\.(\d+))?([a-zA-Z]))")


def _printf(values: Sequence[Value], place: Operand) -> Value:
    """`printf`, as far as templates go: `%s %v %d %%`, and `%*s` of nothing, which pads to a width."""
    form, left = values[0].literal, list(values[1:])
    if not isinstance(form, str):
        raise unsayable("the format must be a text between quotes here", place)
    parts, lengths, at = [], [], 0
    for verb in _VERB.finditer(form):
        plain, at = form[at : verb.start()], verb.end()
        parts += [quoted(plain)] if plain else []
        lengths.append(str(len(plain.encode())))
        if verb[1]:
            parts, lengths = [*parts, quoted("%")], [*lengths, "1"]
            continue
        width = left.pop(0) if verb[3] == "*" and left else None
        if not left:
            raise wrong(f"`{verb[0]}` has no value", place)
        value = left.pop(0)
        if width is not None and value.literal == "" and verb[5] == "s" and width.type is data.NUMBER:
            parts, lengths = [*parts, f"(' ' * {width.code})"], [*lengths, width.code]
            continue
        fits = {"s": (data.TEXT, data.ANY), "d": (data.NUMBER,), "v": None, "t": (data.BOOL,)}
        if width is not None or verb[2] or verb[3] or verb[4] or verb[5] not in fits:
            raise unsayable(f"`{verb[0]}` can't be said in Jinja", place, "`%s`, `%d` and `%v` can")
        kinds = fits[verb[5]]
        if kinds is not None and value.type not in kinds:
            raise unsayable(f"`{verb[0]}` is not for {value.type.says}", place, "`%v` prints anything")
        parts, lengths = [*parts, printed(value, place)], [*lengths, ""]
    if left:
        raise wrong("there are more values than the format has places for", place)
    parts += [quoted(form[at:])] if form[at:] else []
    lengths.append(str(len(form[at:].encode())))
    counts = [one for one in lengths if one != "0"]
    length = f"({' + '.join(counts)})" if all(counts) and counts else None
    return Value(f"({' ~ '.join(parts)})" if parts else "''", data.TEXT, length=length)


def _print(values: Sequence[Value], place: Operand) -> Value:
    """`print`: a blank between two values of which neither is a text."""
    parts = []
    for before, value in zip((None, *values), values, strict=False):
        kinds = {value.type, before.type if before else data.TEXT}
        if data.ANY in kinds and data.TEXT not in kinds and before is not None:
            raise unsayable("whether a blank stands between these is not known before the conversation is", place,
                            "`printf` says where")
        if before is not None and data.TEXT not in kinds:
            parts.append("' '")
        parts.append(printed(value, place))
    return Value(f"({' ~ '.join(parts)})", data.TEXT)


def _println(values: Sequence[Value], place: Operand) -> Value:
    parts = " ~ ' ' ~ ".join(printed(value, place) for value in values)
    return Value(f"({parts} ~ '\\n')" if parts else "'\\n'", data.TEXT)


def _html(values: Sequence[Value], place: Operand) -> Value:
    text = _print(values, place).code
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text += f"|replace({quoted(sign)}, {quoted(name)})"
    return Value(f"({text})", data.TEXT)


_JSON = {"text": "go_text", "arguments": "go_json", "any": "go_json", "number": "go_json", "bool": "go_json",
         "called": "go_called", "call": "go_call", "tool": "go_tool", "function": "go_function",
         "parameters": "go_parameters", "properties": "go_properties", "property": "go_property"}


def _json(values: Sequence[Value], place: Operand) -> Value:
    value = values[0]
    if value.type in (data.NOTHING, data.NIL):
        return constant("null")
    name = {data.TOOLS: "go_tools", data.CALLS: "go_calls", data.VALUES: "go_json", data.TEXTS: "go_json",
            data.ARGUMENTS: "go_arguments"}.get(value.type) or _JSON.get(value.type.name)
    if name is None:
        raise unsayable(f"{value.type.says} can't be written as JSON as a whole", place, "name what you want of it")
    return Value(f"{name}({value.code})", data.TEXT)


def _today(values: Sequence[Value], place: Operand) -> Value:
    return Value("strftime_now('%Y-%m-%d')", data.TEXT)


def _typescript(values: Sequence[Value], place: Operand) -> Value:
    if values[0].type is data.PROPERTY:
        return Value(f"go_typescript({values[0].code})", data.TEXT)
    return constant("any")


def _never(what: str) -> Build:
    def build(values: Sequence[Value], place: Operand) -> Value:
        raise unsayable(what, place)

    return build


_MANY = 1000

_TABLE: Mapping[str, tuple[int, int, Build]] = {
    "and": (1, _MANY, _chosen("and", False)), "or": (1, _MANY, _chosen("or", True)), "not": (1, 1, _not),
    "eq": (1, _MANY, _equal), "ne": (2, 2, _unequal),
    "lt": (2, 2, _ordered("<")), "le": (2, 2, _ordered("<=")), "gt": (2, 2, _ordered(">")),
    "ge": (2, 2, _ordered(">=")),
    "len": (1, 1, _len), "index": (1, _MANY, _index), "slice": (1, 4, _slice),
    "print": (0, _MANY, _print), "printf": (1, _MANY, _printf), "println": (0, _MANY, _println),
    "html": (0, _MANY, _html), "json": (1, 1, _json),
    "js": (0, _MANY, _never("`js` has nothing like it in Jinja")),
    "urlquery": (0, _MANY, _never("`urlquery` has nothing like it in Jinja")),
    "call": (1, _MANY, _never("there is nothing here that `call` could call")),
    "currentDate": (0, _MANY, _today), "yesterdayDate": (0, _MANY, _never("Jinja knows today, but no yesterday")),
    "toTypeScriptType": (1, 1, _typescript),
}
"""How many values each takes, and what becomes of them."""

__all__ = ["NOTHING", "called"]
