"""Jinja macros for what Go prints otherwise than Jinja: each is put in front of a template that calls it.

Written for transformers' Jinja and for llama.cpp's own, which knows less: no `sort_keys`, no `continue`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_BYTES = "(1 if one <= '\x7f' else 2 if one <= '\u07ff' else 3 if one <= '\uffff' else 4)"
"""Of a character in UTF-8."""

_TEXTS: dict[str, str] = {
    # encoding/json: HTML's signs and two line separators escaped, maps sorted by key, whole numbers without a point
    "go_text": r"""
{%- macro go_text(v) -%}
{{- v|tojson|replace('<', '\\u003c')|replace('>', '\\u003e')|replace('&', '\\u0026')
     |replace('LINE', '\\u2028')|replace('PARAGRAPH', '\\u2029') -}}
{%- endmacro -%}""".replace("LINE", "\u2028").replace("PARAGRAPH", "\u2029"),
    "go_json": r"""
{%- macro go_json(v) -%}
{%- if v is mapping -%}
{{- '{' -}}
{%- for key, one in v|dictsort(true) -%}
{{- '' if loop.first else ',' -}}{{- go_text(key) -}}{{- ':' -}}{{- go_json(one) -}}
{%- endfor -%}
{{- '}' -}}
{%- elif v is string -%}{{- go_text(v) -}}
{%- elif v is boolean -%}{{- 'true' if v else 'false' -}}
{%- elif v is none or v is not defined -%}{{- 'null' -}}
{%- elif v is number -%}{{- v|int if v == v|int else v -}}
{%- else -%}
{{- '[' -}}
{%- for one in v -%}{{- '' if loop.first else ',' -}}{{- go_json(one) -}}{%- endfor -%}
{{- ']' -}}
{%- endif -%}
{%- endmacro -%}""",
    # len of a text: its bytes in UTF-8, which llama.cpp's `length` counts and transformers' does not
    "go_bytes": r"""
{%- macro go_bytes(v) -%}
{%- if 'é'|length == 2 -%}{{- v|length -}}
{%- else -%}
{%- set counted = namespace(bytes=0) -%}
{%- for one in v -%}
{%- set counted.bytes = counted.bytes + BYTES -%}
{%- endfor -%}
{{- counted.bytes -}}
{%- endif -%}
{%- endmacro -%}""".replace("BYTES", _BYTES),
    # slice of a text: by bytes, too; a character that is cut is left out
    "go_part": r"""
{%- macro go_part(v, start, stop=1073741824) -%}
{%- if 'é'|length == 2 -%}{{- v[start:stop] -}}
{%- else -%}
{%- set counted = namespace(bytes=0) -%}
{%- for one in v -%}
{%- if counted.bytes >= start and counted.bytes < stop -%}{{- one -}}{%- endif -%}
{%- set counted.bytes = counted.bytes + BYTES -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}""".replace("BYTES", _BYTES),
    # fmt's %v: maps as map[k:v], whole numbers from a million on with an exponent
    "go_show": r"""
{%- macro go_show(v, none_is='<no value>') -%}
{%- if v is mapping -%}
{{- 'map[' -}}
{%- for key, one in v|dictsort(true) -%}
{{- '' if loop.first else ' ' -}}{{- key -}}{{- ':' -}}{{- go_show(one, '<nil>') -}}
{%- endfor -%}
{{- ']' -}}
{%- elif v is string -%}{{- v -}}
{%- elif v is boolean -%}{{- 'true' if v else 'false' -}}
{%- elif v is none or v is not defined -%}{{- none_is -}}
{%- elif v is number -%}
{%- if v != v|int or (v > -1000000 and v < 1000000) -%}{{- v|int if v == v|int else v -}}
{%- else -%}
{%- set digits = (v|int if v > 0 else 0 - v|int)|string -%}
{%- set rest = digits[1:].rstrip('0') -%}
{%- set power = digits|length - 1 -%}
{{- '' if v > 0 else '-' -}}{{- digits[:1] -}}{{- '.' ~ rest if rest else '' -}}
{{- 'e+' ~ ('0' if power < 10 else '') ~ power -}}
{%- endif -%}
{%- else -%}
{{- '[' -}}
{%- for one in v -%}{{- '' if loop.first else ' ' -}}{{- go_show(one, '<nil>') -}}{%- endfor -%}
{{- ']' -}}
{%- endif -%}
{%- endmacro -%}""",
    # arguments may come as the text of an object
    "go_arguments": r"""
{%- macro go_arguments(v) -%}
{{- v if v is string else go_json(v or {}) -}}
{%- endmacro -%}""",
    "go_called": r"""
{%- macro go_called(v) -%}
{{- '{"Index":0,"Name":' ~ go_text(v.name) ~ ',"Arguments":' ~ go_arguments(v.arguments) ~ '}' -}}
{%- endmacro -%}""",
    "go_call": r"""
{%- macro go_call(v) -%}
{{- '{"ID":' ~ go_text(v.id or '') ~ ',"Function":' ~ go_called(v.function) ~ '}' -}}
{%- endmacro -%}""",
    "go_calls": r"""
{%- macro go_calls(v) -%}
{%- if not v -%}{{- 'null' -}}
{%- else -%}
{{- '[' -}}
{%- for one in v -%}{{- '' if loop.first else ',' -}}{{- go_call(one) -}}{%- endfor -%}
{{- ']' -}}
{%- endif -%}
{%- endmacro -%}""",
    "go_calls_shown": r"""
{%- macro go_calls_shown(v) -%}
{{- '[' -}}
{%- for one in v -%}
{{- '' if loop.first else ' ' -}}
{{- '{' ~ (one.id or '') ~ ' {0 ' ~ one.function.name ~ ' ' ~ go_arguments(one.function.arguments) ~ '}}' -}}
{%- endfor -%}
{{- ']' -}}
{%- endmacro -%}""",
    # api.ToolProperty: its own order of keys, and none that it has no field for
    "go_property": r"""
{%- macro go_property(v) -%}
{%- set ns_p = namespace(sep='') -%}
{{- '{' -}}
{%- if v.anyOf -%}
{{- '"anyOf":[' -}}
{%- for one in v.anyOf -%}{{- '' if loop.first else ',' -}}{{- go_property(one) -}}{%- endfor -%}
{{- ']' -}}{%- set ns_p.sep = ',' -%}
{%- endif -%}
{%- if v.type -%}
{{- ns_p.sep ~ '"type":' ~ go_json(v.type if v.type is string or v.type|length != 1 else v.type[0]) -}}
{%- set ns_p.sep = ',' -%}
{%- endif -%}
{%- if v['items'] is defined and v['items'] is not none and v['items'] is not callable -%}
{{- ns_p.sep ~ '"items":' ~ go_json(v['items']) -}}{%- set ns_p.sep = ',' -%}
{%- endif -%}
{%- if v.description -%}
{{- ns_p.sep ~ '"description":' ~ go_text(v.description) -}}{%- set ns_p.sep = ',' -%}
{%- endif -%}
{%- if v.enum -%}{{- ns_p.sep ~ '"enum":' ~ go_json(v.enum) -}}{%- set ns_p.sep = ',' -%}{%- endif -%}
{%- if v.properties is mapping -%}
{{- ns_p.sep ~ '"properties":{' -}}
{%- for key in v.properties -%}
{{- '' if loop.first else ',' -}}{{- go_text(key) ~ ':' ~ go_property(v.properties[key]) -}}
{%- endfor -%}
{{- '}' -}}{%- set ns_p.sep = ',' -%}
{%- endif -%}
{%- if v.required -%}{{- ns_p.sep ~ '"required":' ~ go_json(v.required) -}}{%- endif -%}
{{- '}' -}}
{%- endmacro -%}""",
    "go_properties": r"""
{%- macro go_properties(v, none_is='{}') -%}
{%- if v is not mapping -%}{{- none_is -}}
{%- else -%}
{{- '{' -}}
{%- for key, one in v|dictsort(true) -%}
{{- '' if loop.first else ',' -}}{{- go_text(key) ~ ':' ~ go_property(one) -}}
{%- endfor -%}
{{- '}' -}}
{%- endif -%}
{%- endmacro -%}""",
    "go_parameters": r"""
{%- macro go_parameters(v) -%}
{{- '{"type":' ~ go_text(v.type or '') -}}
{%- if v['$defs'] -%}{{- ',"$defs":' ~ go_json(v['$defs']) -}}{%- endif -%}
{%- if v['items'] is defined and v['items'] is not none and v['items'] is not callable -%}
{{- ',"items":' ~ go_json(v['items']) -}}
{%- endif -%}
{%- if v.required -%}{{- ',"required":' ~ go_json(v.required) -}}{%- endif -%}
{{- ',"properties":' ~ go_properties(v.properties, 'null') ~ '}' -}}
{%- endmacro -%}""",
    "go_function": r"""
{%- macro go_function(v) -%}
{{- '{"name":' ~ go_text(v.name) ~ ',"description":' ~ go_text(v.description or '') -}}
{{- ',"parameters":' ~ go_parameters(v.parameters or {}) ~ '}' -}}
{%- endmacro -%}""",
    "go_tool": r"""
{%- macro go_tool(v) -%}
{{- '{"type":' ~ go_text(v.type) ~ ',"function":' ~ go_function(v.function) ~ '}' -}}
{%- endmacro -%}""",
    "go_tools": r"""
{%- macro go_tools(v) -%}
{%- if not v -%}{{- 'null' -}}
{%- else -%}
{{- '[' -}}
{%- for one in v -%}{{- '' if loop.first else ',' -}}{{- go_tool(one) -}}{%- endfor -%}
{{- ']' -}}
{%- endif -%}
{%- endmacro -%}""",
    "go_parameters_shown": r"""
{%- macro go_parameters_shown(v) -%}
{{- '{' ~ (v.type or '') ~ ' ' ~ go_show(v['$defs'], '<nil>') -}}
{{- ' ' ~ go_show(none if v['items'] is callable else v['items'], '<nil>') -}}
{{- ' ' ~ go_show(v.required or []) ~ ' ' ~ go_properties(v.properties) ~ '}' -}}
{%- endmacro -%}""",
    # api.PropertyType and its TypeScript
    "go_kinds_shown": r"""
{%- macro go_kinds_shown(v) -%}
{{- '' if not v else v[0] if v|length == 1 else '[' ~ v|join(' ') ~ ']' -}}
{%- endmacro -%}""",
    "go_typescript": r"""
{%- macro go_typescript(v) -%}
{%- if v.anyOf -%}
{%- for one in v.anyOf -%}{{- '' if loop.first else ' | ' -}}{{- go_typescript(one) -}}{%- endfor -%}
{%- elif not v.type -%}{{- 'any' -}}
{%- else -%}
{%- for kind in ([v.type] if v.type is string else v.type) -%}
{{- '' if loop.first else ' | ' -}}
{{- {'string': 'string', 'number': 'number', 'integer': 'number', 'boolean': 'boolean', 'array': 'any[]',
     'object': 'Record<string, any>', 'null': 'null'}[kind] or 'any' -}}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}""",
}

_CALL = re.compile(r"\b(go_\w+)\(")


def needed(code: str) -> str:
    """The macros that Jinja code calls, each once, in an order that works."""
    wanted: set[str] = set()
    _gather(_CALL.findall(code), wanted)
    return "".join(text for name, text in _TEXTS.items() if name in wanted).lstrip("\n")


def _gather(names: Iterable[str], wanted: set[str]) -> None:
    for name in names:
        if name not in wanted and name in _TEXTS:
            wanted.add(name)
            _gather(_CALL.findall(_TEXTS[name]), wanted)
