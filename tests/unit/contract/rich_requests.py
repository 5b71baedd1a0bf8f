"""Requests of the translated APIs with everything in them that this server reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

RESPONSE: dict[str, Any] = {
    "model": "support",
    "instructions": "Be brief.",
    "input": [
        {"role": "developer", "content": "Say please."},
        {"type": "message", "role": "user", "status": "completed",
         "content": [{"type": "input_text", "text": "Weather in "}, {"type": "input_text", "text": "Rome?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [],
         "content": [{"type": "reasoning_text", "text": "I must look."}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary",
         "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather",
         "arguments": '{"city": "Rome"}', "status": "completed"},
        {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": '{"city": "Ostia"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "call_2",
         "output": [{"type": "input_text", "text": "windy"}], "status": "completed"},
        {"role": "user", "content": "So?"},
    ],
    "max_output_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.8,
    "top_k": 5,
    "seed": 3,
    "stop": ["END"],
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "top_logprobs": 2,
    "tools": [{"type": "function", "name": "weather", "description": "It tells.", "parameters": SCHEMA,
               "strict": True}],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "store": False,
    "background": False,
    "truncation": "disabled",
    "metadata": {"a": "b"},
    "user": "me",
    "service_tier": "auto",
    "prompt_cache_key": "k",
    "stream": True,
    "stream_options": {"include_obfuscation": False},
}

MESSAGE: dict[str, Any] = {
    "model": "support",
    "max_tokens": 50,
    "system": [{"type": "text", "text": "Be ", "cache_control": {"type": "ephemeral"}},
               {"type": "text", "text": "brief."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather in "}, {"type": "text", "text": "Rome?"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "I must look.", "signature": ""},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
            {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Ostia"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "is_error": False,
             "content": [{"type": "text", "text": "windy"}]},
            {"type": "text", "text": "So?", "cache_control": {"type": "ephemeral"}}]},
    ],
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.8,
    "top_k": 5,
    "tools": [{"name": "weather", "description": "It tells.", "input_schema": SCHEMA, "type": "custom",
               "cache_control": {"type": "ephemeral"}}],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 20},
    "output_config": {"effort": "high"},
    "metadata": {"user_id": "me"},
    "service_tier": "auto",
    "stream": True,
}

_COUNTED = ("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config")
COUNT: dict[str, Any] = {name: MESSAGE[name] for name in _COUNTED}

BODIES = {"/v1/responses": RESPONSE, "/v1/messages": MESSAGE, "/v1/messages/count_tokens": COUNT}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a JSON value."""
    yield at
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*at, key))


def with_part(value: Any, at: tuple[Any, ...], part: Any) -> Any:
    """A copy of a JSON value that has another part there."""
    if not at:
        return part
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in at[:-1]:
        holder = holder[key]
    holder[at[-1]] = part
    return copy


def without_part(value: Any, at: tuple[Any, ...]) -> Any:
    """A copy of a JSON value that lacks the part there."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for key in at[:-1]:
        holder = holder[key]
    del holder[at[-1]]
    return copy
