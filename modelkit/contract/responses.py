"""POST /v1/responses, OpenAI's Responses API without its memory, as a chat completion.

Facts: the types of the `openai` package 3.54 (`types/responses`). Nothing is stored here, so whatever refers to
something stored is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkit.contract import checks
from modelkit.contract.errors import ContractError, invalid, unsupported
from modelkit.contract.profile import Profile
from modelkit.contract.request import NEUTRAL
from modelkit.contract.responses_answer import ResponseWriter
from modelkit.contract.responses_input import Turns
from modelkit.contract.translation import (
    EXTENSIONS,
    Api,
    Places,
    Translated,
    fields,
    kind_of,
    list_of,
    written,
)

_SAME = ("model", "temperature", "top_p", "stream", "stop", "parallel_tool_calls", *EXTENSIONS)
"""Fields that chat completions have under the same name."""

_DESCRIPTIVE = ("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_options",
                "prompt_cache_retention", "max_tool_calls")
"""Said back, and of no effect; the last bounds built-in tools alone, of which there are none."""

_READ = ("input", "instructions", "max_output_tokens", "tools", "tool_choice", "text", "reasoning", "include",
         "stream_options", "top_logprobs", "truncation")

NOTHING_KEPT = "this server keeps no responses; send the whole conversation in `input`"

_REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "previous_response_id": ((), NOTHING_KEPT),
    "conversation": ((), NOTHING_KEPT),
    "store": ((False,), "this server keeps no responses; leave it out, or send false"),
    "background": ((False,), "this server keeps no responses; wait for the answer, or stream it"),
    "background_options": ((), "nothing runs in the background here"),
    "prompt": ((), "this server keeps no prompts; send it as `instructions` and `input`"),
    "context_management": (([],), "this server leaves a conversation as it is"),
    "moderation": ((), "this API moderates nothing"),
    "image": ((), "this API makes no images"),
    "access_programs": ((), "there are none here"),
}
"""What this server does not have: values that ask for nothing, and why anything else is refused."""

_INCLUDED = ("reasoning.encrypted_content", "message.output_text.logprobs")
"""Reasoning is never hidden from the client here, so that there is nothing to encrypt."""

_NAMES = {"max_tokens": "max_output_tokens", "messages": "input", "reasoning_effort": "reasoning.effort",
          "response_format": "text.format", "response_format.json_schema": "text.format", "logprobs": "top_logprobs"}


def request(body: dict[str, Any], profile: Profile) -> Translated:
    """The chat completion request that this one means. Raises ContractError in the client's own terms."""
    said = _checked(body, profile)
    places = Places(dict(_NAMES))
    chat = {name: said[name] for name in _SAME if name in said}
    if "max_output_tokens" in said:
        chat["max_tokens"] = said["max_output_tokens"]
    if said.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    chat |= _format(said.get("text", {})) | _reasoning(said.get("reasoning", {})) | _logprobs(said)
    chat |= _tools(said, places)
    chat["messages"] = Turns(places).read(said)
    writer = ResponseWriter(_echo(body, said, chat, profile))
    return Translated(chat, places, written(writer), writer)


API = Api("/v1/chat/completions", request, ContractError.body)


def _checked(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    known = (*_SAME, *_READ, *_DESCRIPTIVE, *_REFUSED)
    said = fields(body, "", known, _DESCRIPTIVE)
    for name, (harmless, reason) in _REFUSED.items():
        if name in said:
            checks.unless(harmless, checks.refused(reason))(said.pop(name), name, profile.limits)
    if said.get("truncation", "disabled") != "disabled":
        raise unsupported("truncation", "`truncation` may only be `disabled`: a prompt that is too long is an error")
    if "stream_options" in said:
        if not said.get("stream"):
            raise invalid("stream_options", "`stream_options` needs `stream` to be true")
        options = fields(said["stream_options"], "stream_options", ("include_obfuscation",))
        for option in options.values():
            checks.boolean(option, "stream_options.include_obfuscation", profile.limits)
    return said


def _format(value: Any) -> dict[str, Any]:
    """`text`: the format of the answer."""
    said = fields(value, "text", ("format", "verbosity"))
    if said.get("verbosity", "medium") != "medium":
        raise unsupported("text.verbosity", "`text.verbosity` is not supported: say it in the prompt")
    if "format" not in said:
        return {}
    kind = kind_of(said["format"], "text.format")
    if kind != "json_schema":
        return {"response_format": fields(said["format"], "text.format", ("type",))}
    named = fields(said["format"], "text.format", ("type", "name", "schema", "strict", "description"))
    del named["type"]
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _reasoning(value: Any) -> dict[str, Any]:
    """`reasoning`: how much of it. It comes as it was thought; nobody summarises it."""
    said = fields(value, "reasoning", ("effort", "summary", "generate_summary", "context", "mode"))
    for name, harmless in (("summary", "auto"), ("generate_summary", "auto"), ("context", "auto"),
                           ("mode", "standard")):
        if said.get(name, harmless) != harmless:
            raise unsupported(f"reasoning.{name}", f"`reasoning.{name}` may only be `{harmless}` here")
    return {"reasoning_effort": said["effort"]} if "effort" in said else {}


def _logprobs(said: dict[str, Any]) -> dict[str, Any]:
    wanted = list_of(said.get("include", []), "include", "strings")
    for index, name in enumerate(wanted):
        if name not in _INCLUDED:
            raise unsupported(f"include[{index}]", f"`include[{index}]` is {checks.shown(name)}; this server can "
                              f"include {' and '.join(f'`{n}`' for n in _INCLUDED)}")
    top = said.get("top_logprobs")
    if not top and "message.output_text.logprobs" not in wanted:
        return {} if top is None else {"top_logprobs": top}
    return {"logprobs": True, "top_logprobs": 0 if top is None else top}


def _tools(said: dict[str, Any], places: Places) -> dict[str, Any]:
    """Function tools, and which of them is to be called."""
    tools = list_of(said.get("tools", []), "tools", "tools")
    offered = [_tool(tool, index, places) for index, tool in enumerate(tools)]
    choice = said.get("tool_choice")
    if isinstance(choice, dict):
        read = _allowed if kind_of(choice, "tool_choice") == "allowed_tools" else _named
        choice = read(choice, places)
    if not offered:
        return {} if choice in (None, "auto", "none") else {"tool_choice": choice}
    return {"tools": offered} | ({} if choice is None else {"tool_choice": choice})


def _tool(tool: Any, index: int, places: Places) -> dict[str, Any]:
    place = f"tools[{index}]"
    kind = kind_of(tool, place)
    if kind != "function":
        raise unsupported(f"{place}.type", f"`{place}.type` is {checks.shown(kind)}; only `function` tools are "
                          "supported: this server runs no tools of its own")
    said = fields(tool, place, ("type", "name", "description", "parameters", "strict"))
    del said["type"]
    places.names[f"{place}.function"] = place
    return {"type": "function", "function": said}


def _named(choice: dict[str, Any], places: Places) -> dict[str, Any]:
    places.names["tool_choice.function"] = "tool_choice"
    return _function(choice, "tool_choice")


def _allowed(choice: dict[str, Any], places: Places) -> dict[str, Any]:
    """Some of the tools alone."""
    said = fields(choice, "tool_choice", ("type", "mode", "tools"))
    del said["type"]
    named = list_of(said.get("tools", []), "tool_choice.tools", "tools")
    said["tools"] = [_function(tool, f"tool_choice.tools[{n}]") for n, tool in enumerate(named)]
    places.names["tool_choice.allowed_tools"] = "tool_choice"
    places.names |= {f"tool_choice.allowed_tools.tools[{n}].function": f"tool_choice.tools[{n}]"
                     for n in range(len(named))}
    return {"type": "allowed_tools", "allowed_tools": said}


def _function(value: Any, place: str) -> dict[str, Any]:
    said = fields(value, place, ("type", "name"))
    return {"type": said.get("type"), "function": {"name": said.get("name")}}


def _echo(body: dict[str, Any], said: dict[str, Any], chat: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """What a response says about its request: what the client sent, and what holds where it was silent."""
    sampling = {**NEUTRAL, **profile.defaults, **chat}
    wanted = said.get("text", {})
    return {"model": said.get("model"), "instructions": said.get("instructions"), "background": False, "store": False,
            "max_output_tokens": said.get("max_output_tokens"), "max_tool_calls": body.get("max_tool_calls"),
            "metadata": body.get("metadata") or {}, "parallel_tool_calls": said.get("parallel_tool_calls", True),
            "previous_response_id": None, "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {"effort": said.get("reasoning", {}).get("effort"), "summary": None},
            "safety_identifier": body.get("safety_identifier"), "temperature": sampling["temperature"],
            "text": {"format": wanted.get("format") or {"type": "text"}, "verbosity": "medium"},
            "tool_choice": said.get("tool_choice", "auto"), "tools": said.get("tools", []),
            "top_logprobs": said.get("top_logprobs", 0), "top_p": sampling["top_p"], "truncation": "disabled",
            "user": body.get("user")}
