"""What Ollama gives a Go template, and where a Jinja template finds the same. Knows values, not syntax.

Facts: Ollama 0.33, `template/template.go` and `api/types.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Type:
    """What kind of value it is. `says` completes "… has no fields"; `of` is what a list or a map holds."""

    name: str
    says: str
    of: Type | None = None


TEXT = Type("text", "a text")
BOOL = Type("bool", "true or false")
NUMBER = Type("number", "a number")
ANY = Type("any", "a value of any kind")
NOTHING = Type("nothing", "a variable that Ollama does not give")
NIL = Type("nil", "`nil`")
MESSAGE = Type("message", "a message")
CALL = Type("call", "a tool call")
CALLED = Type("called", "a tool call's function")
ARGUMENTS = Type("arguments", "a tool call's arguments", ANY)
TOOL = Type("tool", "a tool")
FUNCTION = Type("function", "a tool's function")
PARAMETERS = Type("parameters", "a tool's parameters")
PROPERTY = Type("property", "a parameter of a tool")
PROPERTIES = Type("properties", "the parameters of a tool", PROPERTY)
KINDS = Type("kinds", "the type of a parameter", TEXT)
INNER = Type("inner", "the parameters within a parameter")
ROOT = Type("root", "all that the template is given")

MESSAGES = Type("list", "the messages", MESSAGE)
CALLS = Type("list", "tool calls", CALL)
TOOLS = Type("list", "the tools", TOOL)
TEXTS = Type("list", "a list of texts", TEXT)
VALUES = Type("list", "a list of values", ANY)
ALTERNATIVES = Type("list", "alternatives", PROPERTY)

LISTS = frozenset({"list", "kinds"})
MAPS = frozenset({"arguments", "properties"})
ALWAYS = frozenset({"message", "call", "called", "tool", "function", "parameters", "property", "root"})
"""Structures, which are true for Go whatever is in them."""


_KINDS_OF = "([@.type] if @.type is string else @.type or [])"
_ITEMS_OF = "(none if @['items'] is callable else @['items'])"  # where a mapping lacks the key, Jinja finds its method

FIELDS: Mapping[Type, Mapping[str, tuple[str, Type]]] = {
    MESSAGE: {
        "Role": ("@.role", TEXT), "Content": ("@.content", TEXT), "Thinking": ("@.thinking", TEXT),
        "ToolCalls": ("@.tool_calls", CALLS), "ToolName": ("@.tool_name", TEXT),
        "ToolCallID": ("@.tool_call_id", TEXT),
    },
    CALL: {"ID": ("(@.id or '')", TEXT), "Function": ("@.function", CALLED)},
    CALLED: {"Index": ("0", NUMBER), "Name": ("@.name", TEXT), "Arguments": ("@.arguments", ARGUMENTS)},
    TOOL: {"Type": ("@.type", TEXT), "Items": (_ITEMS_OF, ANY), "Function": ("@.function", FUNCTION)},
    FUNCTION: {
        "Name": ("@.name", TEXT), "Description": ("(@.description or '')", TEXT),
        "Parameters": ("(@.parameters or {})", PARAMETERS),
    },
    PARAMETERS: {
        "Type": ("(@.type or '')", TEXT), "Defs": ("@['$defs']", ANY), "Items": (_ITEMS_OF, ANY),
        "Required": ("(@.required or [])", TEXTS), "Properties": ("(@.properties or {})", PROPERTIES),
    },
    PROPERTY: {
        "Type": (_KINDS_OF, KINDS), "Items": (_ITEMS_OF, ANY), "Description": ("(@.description or '')", TEXT),
        "Enum": ("(@.enum or [])", VALUES), "AnyOf": ("(@.anyOf or [])", ALTERNATIVES),
        "Required": ("(@.required or [])", TEXTS), "Properties": ("(@.properties or {})", INNER),
    },
}
"""Go's name of a field, the Jinja expression that has it (`@` is the structure), and its type."""

CHAT: Mapping[str, tuple[str, Type]] = {
    "System": ("ns.system", TEXT), "Messages": ("ns.turns", MESSAGES), "Tools": ("ns.tools", TOOLS),
    "Response": ("''", TEXT),
    "Think": ("ns.think", BOOL), "ThinkLevel": ("ns.level", TEXT), "IsThinkSet": ("ns.asked", BOOL),
}
"""What a template is given that has `.Messages` in it: the whole conversation."""

TURN: Mapping[str, tuple[str, Type]] = {
    "System": ("system", TEXT), "Prompt": ("prompt", TEXT), "Response": ("response", TEXT),
    "Think": ("ns.think", BOOL), "ThinkLevel": ("ns.level", TEXT), "IsThinkSet": ("ns.asked", BOOL),
}
"""What any other is given, once for each turn."""
