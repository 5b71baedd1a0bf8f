"""What a Go expression becomes in Jinja: code, and what is known of its value."""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.templates import data
from modelkit.templates.data import Type
from modelkit.templates.go_nodes import Operand, TemplateError


@dataclass(frozen=True, slots=True)
class Value:
    """A Jinja expression that can stand anywhere (it has parentheses where it needs them), and its type.

    `literal` is the value of a constant, `holds` what is known of its truth, `length` an expression for its length
    where that is simpler. `shorter` is a number's simpler code where it is only compared with 0.
    """

    code: str
    type: Type
    literal: str | int | float | bool | None = None
    holds: bool | None = None
    length: str | None = None
    shorter: str | None = None


NOTHING = Value("none", data.NOTHING, holds=False)


def wrong(message: str, place: Operand, hint: str | None = None) -> TemplateError:
    """Where Ollama fails when it renders a conversation, every time."""
    return TemplateError("syntax", message, place.at, place.end, hint)


def unsayable(message: str, place: Operand, hint: str | None = None) -> TemplateError:
    """Where Ollama has a meaning that Jinja can't be given."""
    return TemplateError("unsupported", message, place.at, place.end, hint)


def quoted(text: str) -> str:
    """A text as a Jinja string that every engine reads alike.

    >>> quoted("it's\\n")
    "'it\\\\'s\\\\n'"
    """
    text = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f"'{text}'"


def constant(value: str | int | float | bool) -> Value:
    """The Jinja literal of a Go literal."""
    if isinstance(value, bool):
        return Value("true" if value else "false", data.BOOL, value, value)
    if isinstance(value, str):
        return Value(quoted(value), data.TEXT, value, bool(value))
    return Value(str(value) if value >= 0 else f"({value})", data.NUMBER, value, bool(value))


def field(of: Value, name: str, place: Operand) -> Value:
    """`of.name`. Raises TemplateError where Ollama's value has no such field."""
    if of.type in (data.ANY, data.ARGUMENTS):
        return Value(f"{of.code}[{quoted(name)}]", data.ANY)
    if of.type is data.PROPERTIES:
        return Value(f"{of.code}[{quoted(name)}]", data.PROPERTY)
    if of.type is data.MESSAGE and name == "Images":
        raise unsayable("the images of a message can't be asked for; the engine puts them where they belong", place)
    known = data.FIELDS.get(of.type, {})
    if name not in known:
        import difflib

        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean `.{near[0]}`?" if near else f"it has `.{'`, `.'.join(known)}`" if known else None
        raise wrong(f"{of.type.says} has no field `{name}`", place, hint)
    code, kind = known[name]
    return Value(code.replace("@", of.code), kind)


def truth(value: Value) -> bool | None:
    """Whether it counts as true, where that is known before a conversation is."""
    return True if value.type.name in data.ALWAYS else value.holds


def printed(value: Value, place: Operand) -> str:
    """The Jinja expression that prints what Go prints for it."""
    code, kind = value.code, value.type
    if kind is data.TEXT or (kind is data.NUMBER and not isinstance(value.literal, float)):
        return code
    if kind is data.BOOL:
        return f"('true' if {code} else 'false')"
    if kind is data.NOTHING:
        return "'<no value>'"
    if kind is data.CALLED:
        return f"('{{0 ' ~ {code}.name ~ ' ' ~ go_arguments({code}.arguments) ~ '}}')"
    if kind is data.FUNCTION:
        parts = f"{code}.name ~ ' ' ~ ({code}.description or '') ~ ' ' ~ go_parameters_shown({code}.parameters or {{}})"
        return f"('{{' ~ {parts} ~ '}}')"
    if kind.name in _SHOWN:
        return f"{_SHOWN[kind.name]}({code})"
    if kind is data.CALLS:
        return f"go_calls_shown({code})"
    if kind is data.TOOLS:
        return f"go_tools({code})"
    if kind in (data.TEXTS, data.VALUES):
        return f"go_show({code})"
    raise unsayable(f"{kind.says} can't be printed as a whole", place, "name what you want of it")


_SHOWN = {"any": "go_show", "number": "go_show", "arguments": "go_arguments", "tool": "go_tool",
          "properties": "go_properties", "parameters": "go_parameters_shown", "kinds": "go_kinds_shown"}

