"""A request's messages and tools as a chat template gets them: in vLLM's form, field for field and in its order.

Templates write whole messages, calls and tools as JSON, so that an order or a null decides about tokens. vLLM 0.32:
`renderers/chat_utils.py`, and the pydantic types that its requests go through.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from modelkit.contract.errors import of_status, unsupported
from modelkit.llamacpp.template import ContentFormat

IMAGE_MARKER = "<__media__>"
"""What is shown for an image in a prompt's text: mtmd's own marker."""

_BILLING = "x-anthropic-billing-header"  # a first line that changes with each request; vLLM leaves it out, too


class Images:
    """The images of a conversation while its prompt is rendered: `parts`, in their order.

    A mark stands for each in the texts that the template gets. It is new each time, so that no text of a client has it.
    """

    def __init__(self) -> None:
        self.parts: list[Mapping[str, Any]] = []
        self._secret = secrets.token_hex(8)

    def mark(self, part: Mapping[str, Any]) -> str:
        self.parts.append(part)
        return f"<__media_{self._secret}_{len(self.parts) - 1}__>"

    def split(self, prompt: str) -> list[str | int]:
        """The prompt's texts and the numbers of the images between them. Raises ContractError where the template left
        an image out, or wrote one twice.
        """
        pieces = re.split(f"<__media_{self._secret}_([0-9]+)__>", prompt)
        if sorted(map(int, pieces[1::2])) != list(range(len(self.parts))):
            raise of_status(400, "this model's chat template does not write each image of this conversation once")
        found: list[str | int] = [int(piece) if index % 2 else piece for index, piece in enumerate(pieces)]
        return [piece for piece in found if piece != ""]


def conversation(messages: Sequence[Mapping[str, Any]], content_format: ContentFormat
                 ) -> tuple[list[dict[str, Any]], Images]:
    """The messages for the template, and the images among their parts. Raises ContractError for other parts."""
    images = Images()
    return [_message(message, content_format, images) for message in messages], images


def _message(said: Mapping[str, Any], content_format: ContentFormat, images: Images) -> dict[str, Any]:
    role = said["role"]
    parts = _parts(said.get("content"), images)
    if role == "system":
        parts = _without_billing(parts)
    content: Any = [{"type": "text", "text": part} for part in parts]
    if content_format == "string" or role == "tool":
        content = "\n".join(parts)
    message: dict[str, Any] = {"role": role, "content": content}
    if role == "assistant":
        if said.get("tool_calls"):
            message["tool_calls"] = [_call(call) for call in said["tool_calls"]]
        if said.get("reasoning") is not None:
            message |= {"reasoning": said["reasoning"], "reasoning_content": said["reasoning"]}
    elif role == "tool" and "tool_call_id" in said:
        message["tool_call_id"] = said["tool_call_id"]
    if isinstance(said.get("name"), str):
        message["name"] = said["name"]
    return message


def _parts(content: Any, images: Images) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    texts = []
    for part in content:
        if part.get("type") == "text":
            texts.append(part["text"])
        elif part.get("type") == "image_url":
            texts.append(images.mark(part))
        else:
            raise unsupported("messages", f"this engine reads no parts of type `{part.get('type')}`")
    return texts


def _without_billing(parts: list[str]) -> list[str]:
    kept = [part.partition("\n")[2] if part.startswith(_BILLING) else part for part in parts]
    return [new for old, new in zip(parts, kept, strict=True) if new or not old.startswith(_BILLING)]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call of the history; its arguments are an object, whatever the client's text was."""
    function = call["function"]
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = {}
    named = {"arguments": arguments if isinstance(arguments, dict) else {}, "name": function["name"]}
    return {**({"id": call["id"]} if "id" in call else {}), "function": named, "type": "function"}


def tools(offered: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The tools for the template: what a tool does not say is null there; `strict` alone is left out."""
    if not offered:
        return None
    return [{"type": "function", "function": {
        "name": one["function"]["name"], "description": one["function"].get("description"),
        "parameters": one["function"].get("parameters"),
        **({"strict": one["function"]["strict"]} if "strict" in one["function"] else {})}} for one in offered]


def variables(request: Mapping[str, Any]) -> dict[str, Any]:
    """The template's variables of a request: `reasoning_effort` switches thinking, where nothing else is said."""
    said = dict(request.get("chat_template_kwargs") or {})
    effort = request.get("reasoning_effort")
    if effort is not None:
        said.setdefault("enable_thinking", effort != "none")
        said["reasoning_effort"] = effort
    return said
