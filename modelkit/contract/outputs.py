"""What shapes an answer: tools, response formats, structured outputs; and whether a grammar forces it."""

from __future__ import annotations

import json
import re
from typing import Any

from modelkit.contract.checks import boolean, mapping, schema, shown, text, unknown
from modelkit.contract.errors import invalid, missing, unsupported, wrong_type
from modelkit.contract.profile import Limits, Profile
from modelkit.contract.schemas import RULES, rules

REGEX = 8192
"""Characters of a regular expression: longer ones make every token of the answer slow."""

_GUIDED = ("vllm", "llamacpp")
"""Dialects whose engines have llguidance, by which regular expressions and grammars mean the same."""

_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def tools(value: Any, param: str, limits: Limits) -> list[dict[str, Any]]:
    """Function tools, as OpenAI documents them."""
    if not isinstance(value, list):
        raise wrong_type(param, "a list of tools", value)
    if not value:
        raise invalid(param, f"`{param}` is empty; leave it out, or name at least one tool")
    if len(value) > limits.tools:
        raise invalid(param, f"`{param}` has {len(value)} tools; it may have {limits.tools}")
    return [_tool(tool, f"{param}[{index}]", limits) for index, tool in enumerate(value)]


def _tool(value: Any, place: str, limits: Limits) -> dict[str, Any]:
    tool = mapping(value, place, limits)
    if tool.get("type", "function") != "function":
        raise unsupported(f"{place}.type", f"`{place}.type` must be `function`: other tools are not supported")
    if tool.get("function") is None:
        raise missing(f"{place}.function")
    said = mapping(tool["function"], f"{place}.function", limits)
    function: dict[str, Any] = {"name": _function_name(said.get("name"), f"{place}.function.name")}
    readers = {"description": text, "parameters": schema, "strict": boolean}
    for name, part in said.items():
        if name != "name" and name not in readers:
            raise unknown(f"{place}.function.{name}", name, ("name", *readers))
        if name != "name" and part is not None:
            function[name] = readers[name](part, f"{place}.function.{name}", limits)
    return {"type": "function", "function": function}


def _function_name(value: Any, place: str) -> str:
    if value is None:
        raise missing(place)
    if not isinstance(value, str):
        raise wrong_type(place, "a string", value)
    if not _FUNCTION_NAME.fullmatch(value):
        raise invalid(place, f"`{place}` is {shown(value)}; a name has 1 to 64 letters, digits, `_`, `-` or `.`")
    return value


def tool_choice(value: Any, param: str, limits: Limits) -> Any:
    """`none`, `auto`, `required`, one function by name, or some of the tools and a mode for them."""
    if isinstance(value, str):
        if value not in ("none", "auto", "required"):
            raise invalid(param, f"`{param}` is {shown(value)}; it must be `none`, `auto`, `required` or a function")
        return value
    if not isinstance(value, dict):
        raise wrong_type(param, "a string or an object", value)
    if value.get("type") == "allowed_tools":
        return _allowed_tools(mapping(value.get("allowed_tools"), f"{param}.allowed_tools", limits),
                              f"{param}.allowed_tools", limits)
    return _named_tool(value, param)


def _named_tool(value: dict[str, Any], place: str) -> dict[str, Any]:
    if value.get("type") != "function":
        raise unsupported(f"{place}.type", f"`{place}.type` must be `function`")
    function = value.get("function")
    if not isinstance(function, dict):
        raise wrong_type(f"{place}.function", "an object", function)
    return {"type": "function", "function": {"name": _function_name(function.get("name"), f"{place}.function.name")}}


def _allowed_tools(said: dict[str, Any], place: str, limits: Limits) -> dict[str, Any]:
    """Functions by name, and whether one of them must be called."""
    for name in said:
        if name not in ("mode", "tools"):
            raise unknown(f"{place}.{name}", name, ("mode", "tools"))
    if said.get("mode") not in ("auto", "required"):
        raise invalid(f"{place}.mode", f"`{place}.mode` must be `auto` or `required`")
    named = said.get("tools")
    if not isinstance(named, list) or not 0 < len(named) <= limits.tools:
        raise invalid(f"{place}.tools", f"`{place}.tools` must be a list of 1 to {limits.tools} tools")
    tools = [_named_tool(mapping(tool, f"{place}.tools[{n}]", limits), f"{place}.tools[{n}]")
             for n, tool in enumerate(named)]
    return {"type": "allowed_tools", "allowed_tools": {"mode": said["mode"], "tools": tools}}


def response_format(value: Any, param: str, limits: Limits) -> dict[str, Any]:
    """`text`, `json_object`, or a named JSON schema."""
    said = mapping(value, param, limits)
    kind = said.get("type")
    if kind is None:
        raise missing(f"{param}.type")
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid(f"{param}.type", f"`{param}.type` must be `text`, `json_object` or `json_schema`")
    for name in said:
        if name != "type" and not (name == "json_schema" and (kind == "json_schema" or said[name] is None)):
            raise unknown(f"{param}.{name}", name, ("type", "json_schema"))
    if kind != "json_schema":
        return {"type": kind}
    place = f"{param}.json_schema"
    if said.get("json_schema") is None:
        raise missing(place)
    return {"type": kind, "json_schema": _named_schema(mapping(said["json_schema"], place, limits), place, limits)}


def _named_schema(said: dict[str, Any], place: str, limits: Limits) -> dict[str, Any]:
    readers = {"schema": schema, "strict": boolean, "description": text}
    named: dict[str, Any] = {"name": _function_name(said.get("name"), f"{place}.name")}
    if said.get("schema") is None:
        raise missing(f"{place}.schema")
    for name, part in said.items():
        if name != "name" and name not in readers:
            raise unknown(f"{place}.{name}", name, ("name", *readers))
        if name != "name" and part is not None:
            named[name] = readers[name](part, f"{place}.{name}", limits)
    return named


def structured_outputs(value: Any, param: str, limits: Limits) -> dict[str, Any]:
    """vLLM's field: exactly one of `json`, `json_object`, `choice`, `regex`, `grammar`."""
    said = {name: part for name, part in mapping(value, param, limits).items() if part is not None}
    for name in said:
        if name == "structural_tag":
            raise unsupported(f"{param}.{name}", f"`{name}` does not mean the same on every engine; use a grammar")
        if name not in _SHAPES:
            raise unknown(f"{param}.{name}", name, tuple(_SHAPES))
    if len(said) != 1:
        raise invalid(param, f"`{param}` must have exactly one of `json`, `json_object`, `choice`, `regex`, `grammar`")
    ((name, part),) = said.items()
    return {name: _SHAPES[name](part, f"{param}.{name}", limits)}


def _json(value: Any, place: str, limits: Limits) -> Any:
    return schema(_parsed(value, place), place, limits)


def _json_object(value: Any, place: str, limits: Limits) -> Any:
    if value is not True:
        raise invalid(place, f"`{place}` must be true")
    return True


def _choice(value: Any, place: str, limits: Limits) -> Any:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise invalid(place, f"`{place}` must be a list of strings, none of them empty")
    if sum(map(len, value)) > limits.schema_bytes:
        raise invalid(place, f"`{place}` has more than {limits.schema_bytes} characters")
    return value


def _regex(value: Any, place: str, limits: Limits) -> Any:
    if "\0" in text(value, place, limits):
        raise invalid(place, f"`{place}` has a NUL character")
    return _bounded(value, place, min(REGEX, limits.schema_bytes))


def _grammar(value: Any, place: str, limits: Limits) -> Any:
    said = _bounded(text(value, place, limits), place, limits.schema_bytes)
    if rules(said) > RULES:
        raise invalid(place, f"`{place}` has more than {RULES} rules and brackets")
    return said


def _bounded(value: str, place: str, most: int) -> str:
    if not value.strip():
        raise invalid(place, f"`{place}` is empty")
    if len(value) > most:
        raise invalid(place, f"`{place}` has {len(value)} characters; it may have {most}")
    return value


_SHAPES = {"json": _json, "json_object": _json_object, "choice": _choice, "regex": _regex, "grammar": _grammar}


def _parsed(value: Any, place: str) -> Any:
    """A JSON schema may come as text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise invalid(place, f"`{place}` is not JSON") from None


def settle_tools(said: dict[str, Any], profile: Profile) -> None:
    """The rules between `tools`, `tool_choice`, grammars and the profile."""
    offered, choice = said.get("tools"), said.get("tool_choice")
    if offered is None:
        if choice not in (None, "none"):
            raise invalid("tool_choice", "`tool_choice` needs `tools`")
        said.pop("tool_choice", None)
        said.pop("parallel_tool_calls", None)
        return
    if isinstance(choice, dict):
        allowed = choice.get("allowed_tools")
        names = [tool["function"]["name"] for tool in (allowed["tools"] if allowed else [choice])]
        for name in names:
            if not any(tool["function"]["name"] == name for tool in offered):
                raise invalid("tool_choice", f"`tool_choice` names {shown(name)}, which is not among `tools`")
        if allowed:  # the others are as if they were not offered
            said["tools"] = [tool for tool in offered if tool["function"]["name"] in names]
            choice = allowed["mode"]
    if choice in (None, "auto") and profile.tool_parser is None:
        raise unsupported(
            "tools",
            "the model may not choose its tools by itself: the Modelfile has no `SERVE tool_parser`; set one, or send "
            "a `tool_choice` that is `required` or names a function",
        )
    said["tool_choice"] = choice or "auto"


def settle_formats(said: dict[str, Any], profile: Profile) -> None:
    """At most one thing shapes an answer, and one that the engine has."""
    for name in ("regex", "grammar"):
        if name in said.get("structured_outputs", {}) and profile.dialect not in _GUIDED:
            raise unsupported(f"structured_outputs.{name}", f"`{name}` is not supported on {profile.dialect}, which "
                              "reads it another way than vLLM; use a JSON schema or `choice`")
    formatted = said.get("response_format", {}).get("type", "text") != "text"
    if formatted and "structured_outputs" in said:
        raise invalid("structured_outputs", "`structured_outputs` and `response_format` say one thing twice; send one")
    if (formatted or "structured_outputs" in said) and forced_tool(said):
        param = "response_format" if formatted else "structured_outputs"
        raise invalid(param, f"`{param}` and a forced tool call shape the same answer; send one")


def forced_tool(said: dict[str, Any]) -> bool:
    """Whether the answer must be a tool call."""
    return "tools" in said and said.get("tool_choice") not in ("none", "auto")


def grammar_forces(said: dict[str, Any]) -> bool:
    """Whether a grammar decides where the answer ends, so that default stop strings must not cut it."""
    formatted = said.get("response_format", {}).get("type", "text") != "text"
    return formatted or "structured_outputs" in said or forced_tool(said)
