"""The conversation: what a client may send, in one form, with the Modelfile's part added."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from modelkit.contract.checks import shown, unknown
from modelkit.contract.errors import invalid, missing, unsupported, wrong_type
from modelkit.contract.images import image
from modelkit.contract.profile import Limits, Profile

_ROLES = ("system", "developer", "user", "assistant", "tool")

# What clients send back from an answer they got, and what only describes: accepted, and not passed on.
_DESCRIPTIVE = frozenset(("refusal", "annotations", "audio", "function_call"))

_FIELDS = {
    "system": ("role", "content", "name"),
    "developer": ("role", "content", "name"),
    "user": ("role", "content", "name"),
    "assistant": ("role", "content", "name", "tool_calls", "reasoning", "reasoning_content"),
    "tool": ("role", "content", "name", "tool_call_id"),
}

_PART_HINTS = {"image_url": "images", "input_image": "images", "input_audio": "audio", "audio_url": "audio",
               "video_url": "video", "file": "files", "input_file": "files"}


def conversation(value: Any, profile: Profile) -> list[dict[str, Any]]:
    """The messages that the engine gets: the client's in normal form, after the Modelfile's."""
    said = client_messages(value, profile.limits, sees=profile.images)
    return with_modelfile(said, profile)


def with_modelfile(said: list[dict[str, Any]], profile: Profile) -> list[dict[str, Any]]:
    """The Modelfile's system message, unless the client has one anywhere; then its example messages; then the rest."""
    leading = 0
    while leading < len(said) and said[leading]["role"] == "system":
        leading += 1
    system = said[:leading]
    if profile.system is not None and not any(message["role"] == "system" for message in said):
        system = [{"role": "system", "content": profile.system}]
    return [*system, *(dict(m) for m in profile.messages), *said[leading:]]


def client_messages(value: Any, limits: Limits, *, sees: bool = False) -> list[dict[str, Any]]:
    """A non-empty list of messages in normal form: text contents, `system` for `developer`, no nulls.

    With `sees`, the contents of users may have images: they are then lists of parts, texts between images in one.
    """
    if value is None:
        raise missing("messages")
    if not isinstance(value, list):
        raise wrong_type("messages", "a list of messages", value)
    if not value:
        raise invalid("messages", "`messages` is empty; a conversation has at least one message")
    if len(value) > limits.messages:
        raise invalid("messages", f"`messages` has {len(value)} messages; it may have {limits.messages}")
    found = [_message(message, index, limits if sees else None) for index, message in enumerate(value)]
    count = sum(part["type"] == "image_url" for one in found for part in one["content"] if isinstance(part, dict))
    if count > limits.images:
        raise invalid("messages", f"`messages` has {count} images; it may have {limits.images}")
    return found


def _message(value: Any, index: int, seen: Limits | None) -> dict[str, Any]:
    place = f"messages[{index}]"
    if not isinstance(value, dict):
        raise wrong_type(place, "an object", value)
    role = value.get("role")
    if role is None:
        raise missing(f"{place}.role")
    if not isinstance(role, str):
        raise wrong_type(f"{place}.role", "a string", role)
    if role not in _FIELDS:
        raise invalid(f"{place}.role", f"`{place}.role` is {shown(role)}; it must be one of {', '.join(_ROLES)}")
    message: dict[str, Any] = {"role": "system" if role == "developer" else role}
    known = _FIELDS[role]
    for name, said in value.items():
        if name not in known:
            if name in _DESCRIPTIVE:
                continue
            raise unknown(f"{place}.{name}", name, known)
        if said is not None and name == "content" and role == "user" and seen is not None and isinstance(said, list):
            message[name] = _seen(said, f"{place}.content", seen)
        elif said is not None and name != "role":
            message[name] = _READERS[name](said, f"{place}.{name}")
    return _complete(message, place)


def _complete(message: dict[str, Any], place: str) -> dict[str, Any]:
    role = message["role"]
    if role == "assistant":
        if "reasoning_content" in message:
            message.setdefault("reasoning", message.pop("reasoning_content"))
            message.pop("reasoning_content", None)
        message.setdefault("content", "")
        if not message.get("tool_calls", True):
            del message["tool_calls"]
    elif "content" not in message:
        raise missing(f"{place}.content")
    if role == "tool" and "tool_call_id" not in message:
        raise missing(f"{place}.tool_call_id")
    return message


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise wrong_type(place, "a string", value)
    return value


def _content(value: Any, place: str) -> str:
    """A string, or text parts, which mean their concatenation."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise wrong_type(place, "a string or a list of parts", value)
    if not value:
        raise invalid(place, f"`{place}` is an empty list; a content has at least one part")
    return "".join([_part(part, f"{place}[{index}]") for index, part in enumerate(value)])


def _seen(value: list[Any], place: str, limits: Limits) -> str | list[dict[str, Any]]:
    """The content of somebody who shows images; without one, a text."""
    parts: list[dict[str, Any]] = []
    for index, part in enumerate(value):
        if isinstance(part, dict) and part.get("type") == "image_url":
            parts.append(image(part, f"{place}[{index}]", limits))
            continue
        text = _part(part, f"{place}[{index}]")
        if parts and parts[-1]["type"] == "text":
            parts[-1]["text"] += text
        else:
            parts.append({"type": "text", "text": text})
    return parts if any(part["type"] == "image_url" for part in parts) else _content(value, place)


def _part(value: Any, place: str) -> str:
    if not isinstance(value, dict):
        raise wrong_type(place, "an object", value)
    kind = value.get("type")
    if kind is None:
        raise missing(f"{place}.type")
    if not isinstance(kind, str):
        raise wrong_type(f"{place}.type", "a string", kind)
    if kind == "refusal":  # what an assistant said, too
        return _part({"type": "text", "text": value.get("refusal")}, place)
    if kind != "text":
        what = _PART_HINTS.get(kind)
        if what:
            raise unsupported(f"{place}.type", f"this model reads text only, not {what}")
        raise invalid(f"{place}.type", f"`{place}.type` is {shown(kind)}; it must be `text`")
    if value.get("text") is None:
        raise missing(f"{place}.text")
    return _text(value["text"], f"{place}.text")


def _tool_calls(value: Any, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise wrong_type(place, "a list of tool calls", value)
    return [_tool_call(call, f"{place}[{index}]") for index, call in enumerate(value)]


def _tool_call(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong_type(place, "an object", value)
    if value.get("type", "function") != "function":
        raise invalid(f"{place}.type", f"`{place}.type` must be `function`")
    function = value.get("function")
    if not isinstance(function, dict):
        raise wrong_type(f"{place}.function", "an object", function)
    for name in ("name", "arguments"):
        if function.get(name) is None:
            raise missing(f"{place}.function.{name}")
    arguments = _text(function["arguments"], f"{place}.function.arguments")
    try:
        parsed = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise invalid(f"{place}.function.arguments", f"`{place}.function.arguments` must be the text of a JSON object")
    call = {"type": "function", "function": {"name": _text(function["name"], f"{place}.function.name"),
                                             "arguments": arguments or "{}"}}
    if value.get("id") is not None:
        call["id"] = _text(value["id"], f"{place}.id")
    return call


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "content": _content,
    "name": _text,
    "tool_calls": _tool_calls,
    "tool_call_id": _text,
    "reasoning": _text,
    "reasoning_content": _text,
}
