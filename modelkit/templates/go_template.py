"""A Go template of Ollama as a Jinja template that writes the same prompt.

Facts: Ollama 0.33, `template/template.go`. A template that says `.Messages` is given the conversation; any other is run
once for each turn, and the last time only up to its first `.Response`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from modelkit.templates import data, macros
from modelkit.templates.go_nodes import Action, Branch, Command, Field, Node, Pipe, TemplateError
from modelkit.templates.go_parser import parse
from modelkit.templates.statements import Unknown, Writer, pipes


@dataclass(frozen=True)
class Converted:
    """The Jinja text; the variables of the Go text that Ollama does not give; where it would fail, if it gets there."""

    jinja: str
    unknown: tuple[Unknown, ...]
    failing: tuple[TemplateError, ...] = ()


@lru_cache(maxsize=64)
def convert(template: str) -> Converted:
    """Raises TemplateError, with the place in `template`, for what is no Go template or can't be said in Jinja."""
    try:
        return _convert(parse(template), len(template))
    except RecursionError:
        raise TemplateError("unsupported", "this template nests too deep", 0, len(template)) from None


def _convert(nodes: Sequence[Node], end: int) -> Converted:
    names = {name.lower() for pipe in pipes(nodes) for name in _names(pipe)}
    if "messages" in names:
        return _chat(nodes)
    if "response" not in names:
        answer = Command(end, end, (Field(end, end, ("Response",)),))
        nodes = (*nodes, Action(end, Pipe(end, end, (answer,))))
    return _turns(nodes)


def _names(pipe: Pipe) -> Iterator[str]:
    """The names that decide which kind of template it is; Ollama does not look at fields of parentheses."""
    for command in pipe.commands:
        for one in command.operands:
            if isinstance(one, Field) and not isinstance(one.of, Pipe):
                yield from one.names
            elif isinstance(one, Pipe):
                yield from _names(one)


def _chat(nodes: Sequence[Node]) -> Converted:
    writer = Writer(nodes, data.CHAT)
    loops = [index for index, node in enumerate(nodes) if isinstance(node, Branch) and _says("Messages", (node,))]
    return _whole(writer.code(nodes, "ns.open", max(loops, default=-1) + 1), writer)


def _turns(nodes: Sequence[Node]) -> Converted:
    each, last = Writer(nodes, data.TURN), Writer(nodes, data.TURN)
    kept, _ = _cut(nodes)
    asks = [index for index, node in enumerate(kept) if _says("Prompt", (node,))]
    code = f"""\
{{%- macro turn(system, prompt, response) -%}}
{each.code(nodes)}
{{%- endmacro -%}}
{{%- macro last_turn(system, prompt, response) -%}}
{last.code(kept, "(ns.open or response)", max(asks, default=-1) + 1)}
{{%- endmacro -%}}
{_EACH_TURN}"""
    return _whole(code, each, last)


def _cut(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], bool]:
    """The nodes up to the first action with `.Response` in it, and whether there is one.

    Both branches of an `if` are cut for themselves, where Ollama fails.
    """
    kept: list[Node] = []
    for node in nodes:
        found = isinstance(node, Action) and "Response" in _fields(node.pipe)
        if isinstance(node, Branch):
            body, first = _cut(node.body)
            otherwise, second = _cut(node.otherwise or ())
            kept.append(replace(node, body=body, otherwise=otherwise or None))
            found = first or second
        else:
            kept.append(node)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _fields(pipe: Pipe) -> set[str]:
    """The fields of dot that a pipeline names."""
    found: set[str] = set()
    for command in pipe.commands:
        for one in command.operands:
            if isinstance(one, Field) and one.of is None:
                found.update(one.names)
            elif isinstance(one, Pipe):
                found |= _fields(one)
    return found


def _says(name: str, nodes: Sequence[Node]) -> bool:
    return any(name in _names(pipe) for pipe in pipes(nodes))


def _whole(code: str, *writers: Writer) -> Converted:
    """The template: its macros, the conversation as Ollama would pass it on, then the code."""
    used = set[str]().union(*(writer.used for writer in writers))
    parts = [_conversation(used if len(writers) == 1 else used - {"System"})]
    if any(writer.uses_go for writer in writers):
        parts.append("{%- set go = namespace() -%}")
    if "open" in used:
        parts.append("{%- set ns.open = add_generation_prompt is not defined or add_generation_prompt -%}")
    if "Tools" in used:
        parts.append("{%- set ns.tools = tools or [] -%}")
    if used & {"Think", "ThinkLevel", "IsThinkSet"}:
        parts.append(_THINKING.replace("@", "true" if "Thinking" in used else "false"))
    unknown = {one.at: one for writer in writers for one in writer.unknown}
    failing = {one.at: one for writer in writers for one in writer.failing}
    return Converted(macros.needed(code) + "\n".join([*parts, code]) + "\n",
                     tuple(unknown[at] for at in sorted(unknown)), tuple(failing[at] for at in sorted(failing)))


_THINKING = """\
{%- set ns.think = enable_thinking if enable_thinking is defined else @ -%}
{%- set ns.asked = @ or enable_thinking is defined -%}
{%- set ns.level = '' -%}
{%- if ns.think -%}
{%- set ns.level = reasoning_effort if reasoning_effort is defined and reasoning_effort else 'medium' -%}
{%- endif -%}"""
"""A model whose template writes reasoning thinks unless the request says otherwise (`server/routes.go`)."""


def _conversation(used: set[str]) -> str:
    """`ns.turns`: messages of one role in a row as one, but for results of tools; `ns.system`: all system messages."""
    fields, names = ["'role': ns.first.role", "'content': ns.content"], ""
    if "Thinking" in used:
        thinking = "ns.first.reasoning_content or ns.first.reasoning or ns.first.thinking or ''"
        fields.append(f"'thinking': {thinking}")
    if "ToolCalls" in used:
        fields.append("'tool_calls': ns.first.tool_calls or []")
    if "ToolCallID" in used:
        fields.append("'tool_call_id': ns.first.tool_call_id or ''")
    if "ToolName" in used:
        fields.append("'tool_name': ns.name")
        names = _TOOL_NAME
    whole = _CONVERSATION + (_SYSTEMS if "System" in used else "")
    system = _SYSTEM if "System" in used else ""
    return whole.replace("@system", system).replace("@names", names).replace("@fields", ", ".join(fields))


_CONVERSATION = """\
{%- set ns = namespace(turns=[], first=none, content='', system=none, name='') -%}
{%- for message in messages -%}@system
{%- if not loop.first and message.role != 'tool' and loop.previtem.role == message.role -%}
{%- set ns.content = ns.content ~ '\\n\\n' ~ (message.content or '') -%}
{%- else -%}
{%- set ns.first = message -%}{%- set ns.content = message.content or '' -%}
{%- endif -%}
{%- if loop.last or message.role == 'tool' or loop.nextitem.role != message.role -%}@names
{%- set ns.turns = ns.turns + [{@fields}] -%}
{%- endif -%}
{%- endfor -%}"""

_SYSTEMS = """
{%- set ns.system = ns.system or '' -%}"""

_SYSTEM = """
{%- if message.role == 'system' -%}
{%- set ns.system = (message.content or '') if ns.system is none else ns.system ~ '\\n\\n' ~ (message.content or '') -%}
{%- endif -%}"""

_TOOL_NAME = """
{%- set ns.name = message.name or message.tool_name or '' -%}
{%- if message.role == 'tool' and not ns.name -%}
{%- for other in messages -%}{%- for call in other.tool_calls or [] -%}
{%- if call.id == message.tool_call_id -%}{%- set ns.name = call.function.name -%}{%- endif -%}
{%- endfor -%}{%- endfor -%}
{%- endif -%}"""

_EACH_TURN = """\
{%- set now = namespace(system='', prompt='', response='') -%}
{%- for one in ns.turns -%}
{%- if (one.role == 'system' and (now.prompt or now.response)) or (one.role == 'user' and now.response) -%}
{{- turn(now.system, now.prompt, now.response) -}}
{%- set now.system = '' -%}{%- set now.prompt = '' -%}{%- set now.response = '' -%}
{%- endif -%}
{%- if one.role == 'system' -%}{%- set now.system = one.content -%}
{%- elif one.role == 'user' -%}{%- set now.prompt = one.content -%}
{%- elif one.role == 'assistant' -%}{%- set now.response = one.content -%}
{%- endif -%}
{%- endfor -%}
{{- last_turn(now.system, now.prompt, now.response) -}}"""
