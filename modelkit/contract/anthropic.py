"""POST /v1/messages and /v1/messages/count_tokens, Anthropic's Messages API, as a chat completion and its tokens.

Facts: the types of the `anthropic` package 2.12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkit.contract import anthropic_errors, checks
from modelkit.contract.anthropic_answer import MessageWriter
from modelkit.contract.anthropic_input import Conversation
from modelkit.contract.errors import invalid, missing, unsupported
from modelkit.contract.profile import Profile
from modelkit.contract.translation import (
    EXTENSIONS,
    Api,
    Places,
    Translated,
    fields,
    kind_of,
    list_of,
    text_of,
    written,
)

_SAME = ("model", "max_tokens", "temperature", "top_p", "stream", *EXTENSIONS)
"""Fields that chat completions have under the same name."""

_DESCRIPTIVE = ("metadata", "service_tier", "cache_control", "inference_geo", "user_profile_id", "workspace_id")
"""Of no effect here: what can be cached is."""

_OF_PROMPT = ("messages", "system", "tools", "tool_choice", "thinking", "output_config")
_READ = ("stop_sequences", *_OF_PROMPT)

_REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "container": ((), "this server runs nothing for its clients"),
    "mcp_servers": (([],), "this server calls no other servers"),
    "context_management": (({}, {"edits": []}, {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}),
                           "this server leaves a conversation as it is"),
    "diagnostics": ((), "there are none here"),
    "speed": (("standard",), "there is one speed here"),
}
"""What this server does not have: values that ask for nothing, and why anything else is refused."""

_NAMES = {"stop": "stop_sequences", "reasoning_effort": "output_config.effort",
          "response_format": "output_config.format", "response_format.json_schema": "output_config.format",
          "parallel_tool_calls": "tool_choice.disable_parallel_tool_use", "tool_choice.function": "tool_choice"}

_THINKS = ("enable_thinking", "thinking")
"""What chat templates call the switch; one that does not have it does not see it."""

def request(body: dict[str, Any], profile: Profile) -> Translated:
    """The chat completion request that this one means. Raises ContractError in the client's own terms."""
    said = _checked(body, (*_SAME, *_READ), profile)
    places = Places(dict(_NAMES))
    if "max_tokens" not in said:
        raise missing("max_tokens")
    chat = {name: said[name] for name in _SAME if name in said} | _prompt(said, places)
    if "stop_sequences" in said:
        chat["stop"] = list_of(said["stop_sequences"], "stop_sequences", "strings")
    if said.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    chat |= _output(said.get("output_config", {})) | _choice(said)
    writer = MessageWriter(said.get("model"), chat.get("stop", ()), said["max_tokens"])
    return Translated(chat, places, written(writer), writer)


def count(body: dict[str, Any], profile: Profile) -> Translated:
    """The request for the tokens of the prompt that the same messages have as a chat."""
    said = _checked(body, ("model", *_OF_PROMPT, "chat_template_kwargs"), profile)
    if "model" not in said:
        raise missing("model")
    places = Places(dict(_NAMES))
    asked = {name: said[name] for name in ("model", "chat_template_kwargs") if name in said} | _prompt(said, places)
    effort = _output(said.get("output_config", {})).get("reasoning_effort")
    _choice(said)
    if effort is not None:  # the engine's chat endpoint tells the template so
        asked["chat_template_kwargs"] = {"reasoning_effort": effort, **asked.get("chat_template_kwargs", {})}
    return Translated(asked, places, lambda answer: {"input_tokens": answer["count"]})


MESSAGES = Api("/v1/chat/completions", request, anthropic_errors.body)
COUNT_TOKENS = Api("/tokenize", count, anthropic_errors.body)


def _checked(body: dict[str, Any], known: tuple[str, ...], profile: Profile) -> dict[str, Any]:
    said = fields(body, "", (*known, *_DESCRIPTIVE, *_REFUSED), _DESCRIPTIVE)
    for name, (harmless, reason) in _REFUSED.items():
        if name in said:
            checks.unless(harmless, checks.refused(reason))(said.pop(name), name, profile.limits)
    return said


def _prompt(said: dict[str, Any], places: Places) -> dict[str, Any]:
    """What the model reads: messages, tools, and whether it is to think."""
    chat: dict[str, Any] = {"messages": Conversation(places).read(said)}
    if tools := list_of(said.get("tools", []), "tools", "tools"):
        chat["tools"] = [_tool(tool, index, places) for index, tool in enumerate(tools)]
    variables = {**_thinking(said), **checks.mapping(said.get("chat_template_kwargs", {}), "chat_template_kwargs", _NO)}
    if variables:
        chat["chat_template_kwargs"] = variables
    return chat


_NO: Any = None  # the check of an object looks at no limit


def _tool(tool: Any, index: int, places: Places) -> dict[str, Any]:
    place = f"tools[{index}]"
    kind = kind_of(tool, place, "custom")
    if kind != "custom":
        raise unsupported(f"{place}.type", f"`{place}.type` is {checks.shown(kind)}; only the client's own tools are "
                          "supported: this server runs none")
    said = fields(tool, place, ("name", "description", "input_schema", "strict"),
                  ("type", "cache_control", "eager_input_streaming"))
    if "input_schema" not in said:
        raise missing(f"{place}.input_schema")
    places.names |= {f"{place}.function": place, f"{place}.function.parameters": f"{place}.input_schema"}
    said["parameters"] = said.pop("input_schema")
    return {"type": "function", "function": said}


def _choice(said: dict[str, Any]) -> dict[str, Any]:
    """Which tool is to be called, and whether several may be."""
    if "tool_choice" not in said:
        return {}
    place = "tool_choice"
    kind = kind_of(said[place], place)
    if kind not in ("auto", "any", "tool", "none"):
        raise invalid(f"{place}.type", f"`{place}.type` is {checks.shown(kind)}; it must be `auto`, `any`, `tool` or "
                      "`none`")
    choice = fields(said[place], place, ("type", "name", "disable_parallel_tool_use"))
    chat: dict[str, Any] = {"tool_choice": "required" if kind == "any" else kind}
    if kind == "tool":
        chat["tool_choice"] = {"type": "function", "function": {"name": text_of(choice, "name", place)}}
    if "disable_parallel_tool_use" in choice:
        single = checks.boolean(choice["disable_parallel_tool_use"], f"{place}.disable_parallel_tool_use", _NO)
        chat["parallel_tool_calls"] = not single
    return chat if said.get("tools") or kind in ("any", "tool") else {}


def _thinking(said: dict[str, Any]) -> dict[str, Any]:
    """On or off; `adaptive` leaves to the model how much. A budget is within `max_tokens`, which alone is kept."""
    if "thinking" not in said:
        return {}
    place = "thinking"
    kind = kind_of(said[place], place)
    if kind not in ("enabled", "disabled", "adaptive"):
        raise invalid(f"{place}.type", f"`{place}.type` is {checks.shown(kind)}; it must be `enabled`, `adaptive` or "
                      "`disabled`")
    thinking = fields(said[place], place, ("type", "budget_tokens", "display"))
    if thinking.get("display", "summarized") != "summarized":
        raise unsupported(f"{place}.display", f"`{place}.display` may only be `summarized`: nothing is hidden here")
    budget = thinking.get("budget_tokens")
    if kind == "enabled":
        if budget is None:
            raise missing(f"{place}.budget_tokens")
        checks.integer(1)(budget, f"{place}.budget_tokens", _NO)
        limit = said.get("max_tokens")
        if isinstance(limit, int) and budget >= limit:
            raise invalid(f"{place}.budget_tokens", f"`{place}.budget_tokens` is {budget}; it must be less than "
                          f"`max_tokens`, which is {limit}")
    return dict.fromkeys(_THINKS, kind != "disabled")


def _output(value: Any) -> dict[str, Any]:
    """`output_config`: how much effort, and a schema that the answer keeps."""
    said = fields(value, "output_config", ("effort", "format"))
    chat: dict[str, Any] = {"reasoning_effort": said["effort"]} if "effort" in said else {}
    if "format" in said:
        place = "output_config.format"
        if (kind := kind_of(said["format"], place)) != "json_schema":
            raise invalid(f"{place}.type", f"`{place}.type` is {checks.shown(kind)}; it must be `json_schema`")
        schema = fields(said["format"], place, ("type", "schema")).get("schema")
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return chat
