"""Anthropic's messages and their blocks as the messages of a chat."""

from __future__ import annotations

import json
from typing import Any

from modelkit.contract.checks import shown
from modelkit.contract.errors import invalid, missing, unsupported, wrong_type
from modelkit.contract.translation import Places, fields, kind_of, list_of, text_of

_ROLES = ("user", "assistant", "system")
_MARKS = ("cache_control", "citations", "caller", "toolset_name")
"""Of a block: who cached, cited or called it."""

_OTHERS = {"document": "documents", "search_result": "search results", "container_upload": "files",
           "redacted_thinking": "redacted thinking, which only its writer can read"}


class Conversation:
    """Reads messages into a chat's. A message with results of tools becomes several, in the order of its blocks."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.messages: list[dict[str, Any]] = []

    def read(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of a whole request: its system prompt, then its conversation."""
        if "system" in said:
            self._add("system", "system")["content"] = self._blocks_of_text(said["system"], "system")
        value = said.get("messages")
        if value is None:
            raise missing("messages")
        if not list_of(value, "messages", "messages"):
            raise invalid("messages", "`messages` is empty; a conversation has at least one message")
        for index, message in enumerate(value):
            self._message(fields(message, f"messages[{index}]", ("role", "content")), f"messages[{index}]")
        if value[-1]["role"] == "assistant":
            raise unsupported(f"messages[{len(value) - 1}]", "the last message is the assistant's: to go on from it "
                              "(prefill) is not supported")
        return self.messages

    def _add(self, role: str, place: str, **fields: Any) -> dict[str, Any]:
        at = f"messages[{len(self.messages)}]"
        self.places.names |= {at: place, f"{at}.content": place if role == "system" else f"{place}.content"}
        self.messages.append({"role": role, **fields})
        return self.messages[-1]

    def _message(self, said: dict[str, Any], place: str) -> None:
        role, content = said.get("role"), said.get("content")
        if role is None or content is None:
            raise missing(f"{place}.{'role' if role is None else 'content'}")
        if role not in _ROLES:
            raise invalid(f"{place}.role", f"`{place}.role` is {shown(role)}; it must be one of {', '.join(_ROLES)}")
        if isinstance(content, str):
            self._add(role, place)["content"] = content
        elif role == "system":
            self._add(role, place)["content"] = self._blocks_of_text(content, f"{place}.content")
        else:
            blocks = list_of(content, f"{place}.content", "blocks")
            if not blocks:
                raise invalid(f"{place}.content", f"`{place}.content` is empty; a message has at least one block")
            read = self._of_user if role == "user" else self._of_assistant
            read(blocks, place)

    def _blocks_of_text(self, value: Any, place: str) -> str:
        """A string, or blocks of text, which mean their concatenation."""
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            raise wrong_type(place, "a string or a list of text blocks", value)
        texts = []
        for index, block in enumerate(value):
            where = f"{place}[{index}]"
            if (kind := kind_of(block, where)) != "text":
                raise invalid(f"{where}.type", f"`{where}.type` is {shown(kind)}; it must be `text`")
            texts.append(text_of(fields(block, where, ("type", "text"), _MARKS), "text", where))
        return "".join(texts)

    def _of_user(self, blocks: list[Any], place: str) -> None:
        said: dict[str, Any] | None = None  # the message that goes on
        for index, block in enumerate(blocks):
            where = f"{place}.content[{index}]"
            if kind_of(block, where) == "tool_result":
                said = None
                self._result(block, where)
                continue
            part = _part(block, where)
            if said is None:
                said = self._add("user", place, content=[])
            self.places.names[f"messages[{len(self.messages) - 1}].content[{len(said['content'])}]"] = where
            said["content"].append(part)

    def _result(self, block: dict[str, Any], where: str) -> None:
        said = fields(block, where, ("type", "tool_use_id", "content"), (*_MARKS, "is_error"))
        content = said.get("content", "")
        if isinstance(content, list):
            content = [_part(part, f"{where}.content[{index}]") for index, part in enumerate(content)] or ""
        self._add("tool", where, tool_call_id=text_of(said, "tool_use_id", where), content=content)

    def _of_assistant(self, blocks: list[Any], place: str) -> None:
        message = self._add("assistant", place)
        at = f"messages[{len(self.messages) - 1}]"
        thoughts: list[str] = []
        texts: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for index, block in enumerate(blocks):
            where = f"{place}.content[{index}]"
            kind = kind_of(block, where)
            if kind == "thinking":
                thoughts.append(text_of(fields(block, where, ("type", "thinking"), ("signature",)), "thinking", where))
            elif kind == "tool_use":
                self.places.names |= {f"{at}.tool_calls[{len(calls)}]": where,
                                      f"{at}.tool_calls[{len(calls)}].function": where}
                calls.append(_call(block, where))
            else:
                self.places.names[f"{at}.content[{len(texts)}]"] = where
                texts.append(_part(block, where))
        if thoughts:
            message["reasoning"] = "\n".join(thoughts)
        if texts:
            message["content"] = texts
        if calls:
            message["tool_calls"] = calls


def _call(block: dict[str, Any], where: str) -> dict[str, Any]:
    said = fields(block, where, ("type", "id", "name", "input"), _MARKS)
    if not isinstance(said.get("input", {}), dict):
        raise wrong_type(f"{where}.input", "an object", said["input"])
    arguments = json.dumps(said.get("input", {}), ensure_ascii=False)
    return {"id": text_of(said, "id", where), "type": "function",
            "function": {"name": said.get("name"), "arguments": arguments}}


def _part(block: Any, where: str) -> dict[str, Any]:
    """A block as a part that chat completions have. What is wrong with its inside is found there."""
    kind = kind_of(block, where)
    if kind == "text":
        return {"type": "text", "text": fields(block, where, ("type", "text"), _MARKS).get("text")}
    if kind == "image":
        image = _image(fields(block, where, ("type", "source"), _MARKS), where)
        return {"type": "image_url", "image_url": {"url": image}}
    if kind in _OTHERS:
        raise unsupported(f"{where}.type", f"`{where}.type` is `{kind}`; this server reads no {_OTHERS[kind]}")
    raise invalid(f"{where}.type", f"`{where}.type` is {shown(kind)}; this server reads `text`, `image`, `thinking`, "
                  "`tool_use` and `tool_result`")


def _image(said: dict[str, Any], where: str) -> str:
    """The address of an image; of one that is here, a `data:` address."""
    place = f"{where}.source"
    if "source" not in said:
        raise missing(place)
    kind = kind_of(said["source"], place)
    if kind == "url":
        return text_of(fields(said["source"], place, ("type", "url")), "url", place)
    if kind != "base64":
        raise unsupported(f"{place}.type", f"`{place}.type` must be `base64` or `url`: this server keeps no files")
    source = fields(said["source"], place, ("type", "media_type", "data"))
    return f"data:{text_of(source, 'media_type', place)};base64,{text_of(source, 'data', place)}"
