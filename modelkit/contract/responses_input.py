"""The items of a response's input as the messages of a chat."""

from __future__ import annotations

from typing import Any

from modelkit.contract.checks import shown
from modelkit.contract.errors import invalid, missing, unsupported, wrong_type
from modelkit.contract.translation import Places, fields, kind_of, list_of, text_of

_ROLES = ("user", "assistant", "system", "developer")
_MESSAGE = ("type", "role", "content", "id", "status", "phase")
_CALL = ("type", "call_id", "name", "arguments", "id", "status", "caller", "namespace")
_OUTPUT = ("type", "call_id", "output", "id", "status", "caller", "name", "namespace")
_REASONING = ("type", "id", "summary", "content", "encrypted_content", "status")

_OF_IMAGES = {"input_image": "images", "input_file": "files", "input_audio": "audio"}


class Turns:
    """Reads items into messages. What an assistant said in one go is several items here, and one message there."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.messages: list[dict[str, Any]] = []

    def read(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of a whole request: its instructions, then its input."""
        instructions = said.get("instructions")
        if instructions is not None:
            if not isinstance(instructions, str):
                raise wrong_type("instructions", "a string", instructions)
            self._add({"role": "system", "content": instructions}, "instructions")
        value = said.get("input")
        if value is None:
            raise missing("input")
        if isinstance(value, str):
            self._add({"role": "user", "content": value}, "input")
            return self.messages
        if not isinstance(value, list):
            raise wrong_type("input", "a string or a list of items", value)
        if not value:
            raise invalid("input", "`input` is empty; a conversation has at least one message")
        for index, item in enumerate(value):
            place = f"input[{index}]"
            kind = kind_of(item, place, "message" if isinstance(item, dict) and "role" in item else None)
            reader = _READERS.get(kind)
            if reader is None:
                raise unsupported(f"{place}.type", f"`{place}.type` is {shown(kind)}; this server reads "
                                  f"{', '.join(f'`{known}`' for known in _READERS)}: it stores nothing, and has no "
                                  "tools of its own")
            reader(self, item, place)
        return self.messages

    def _add(self, message: dict[str, Any], place: str) -> None:
        self.places.names[f"messages[{len(self.messages)}]"] = place
        self.messages.append(message)

    def _assistant(self, place: str, *, free_of: tuple[str, ...]) -> dict[str, Any]:
        """The assistant's message that goes on, if it has none of these fields yet; else the next one."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant" or any(name in last for name in free_of):
            self._add({"role": "assistant"}, place)
        return self.messages[-1]

    def _name(self, field: str, place: str) -> None:
        """A field of the last message comes from this place."""
        self.places.names[f"messages[{len(self.messages) - 1}].{field}"] = place

    def message(self, item: dict[str, Any], place: str) -> None:
        said = fields(item, place, _MESSAGE)
        if "content" not in said:
            raise missing(f"{place}.content")
        if "role" not in said:
            raise missing(f"{place}.role")
        if said["role"] not in _ROLES:
            raise invalid(f"{place}.role", f"`{place}.role` is {shown(said['role'])}; it must be one of "
                          f"{', '.join(_ROLES)}")
        content = _content(said["content"], f"{place}.content")
        if said["role"] != "assistant":
            self._add({"role": said["role"], "content": content}, place)
            return
        self._assistant(place, free_of=("content", "tool_calls"))["content"] = content
        self._name("content", f"{place}.content")

    def call(self, item: dict[str, Any], place: str) -> None:
        said = fields(item, place, _CALL)
        calls = self._assistant(place, free_of=()).setdefault("tool_calls", [])
        self._name(f"tool_calls[{len(calls)}].function", place)
        self._name(f"tool_calls[{len(calls)}].id", f"{place}.call_id")
        self._name(f"tool_calls[{len(calls)}]", place)
        calls.append({"id": text_of(said, "call_id", place), "type": "function",
                      "function": {"name": said.get("name"), "arguments": said.get("arguments")}})

    def output(self, item: dict[str, Any], place: str) -> None:
        said = fields(item, place, _OUTPUT)
        if "output" not in said:
            raise missing(f"{place}.output")
        self._add({"role": "tool", "tool_call_id": text_of(said, "call_id", place),
                   "content": _content(said["output"], f"{place}.output")}, place)
        self._name("content", f"{place}.output")

    def reasoning(self, item: dict[str, Any], place: str) -> None:
        """As it was thought, or else its summary. What is encrypted was never this server's."""
        said = fields(item, place, _REASONING)
        texts = _texts(said, "content", "reasoning_text", place) or _texts(said, "summary", "summary_text", place)
        if not texts and said.get("encrypted_content"):
            raise unsupported(f"{place}.encrypted_content", f"`{place}` is encrypted by another server; send its "
                              "`content`, or leave it out")
        if texts:
            self._assistant(place, free_of=("reasoning", "content", "tool_calls"))["reasoning"] = "\n".join(texts)
            self._name("reasoning", place)


def _texts(said: dict[str, Any], name: str, kind: str, place: str) -> list[str]:
    found = []
    for index, part in enumerate(list_of(said.get(name, []), f"{place}.{name}", "parts")):
        where = f"{place}.{name}[{index}]"
        if kind_of(part, where) != kind:
            raise invalid(f"{where}.type", f"`{where}.type` must be `{kind}`")
        found.append(text_of(fields(part, where, ("type", "text")), "text", where))
    return found


def _content(value: Any, place: str) -> Any:
    """A text, or parts as chat completions have them. What is wrong with a part is found there."""
    return [_part(part, f"{place}[{index}]") for index, part in enumerate(value)] if isinstance(value, list) else value


def _part(part: Any, place: str) -> dict[str, Any]:
    kind = kind_of(part, place)
    if kind in ("input_text", "output_text", "text"):
        said = fields(part, place, ("type", "text", "annotations", "logprobs", "prompt_cache_breakpoint"))
        return {"type": "text", "text": said.get("text")}
    if kind == "refusal":
        return {"type": "text", "text": fields(part, place, ("type", "refusal")).get("refusal")}
    if kind == "input_image":
        said = fields(part, place, ("type", "image_url", "detail", "file_id", "prompt_cache_breakpoint"))
        if "file_id" in said:
            raise unsupported(f"{place}.file_id", f"`{place}.file_id` is not supported: this server keeps no files")
        image = {"url": said.get("image_url")} | ({"detail": said["detail"]} if "detail" in said else {})
        return {"type": "image_url", "image_url": image}
    if kind in _OF_IMAGES:
        raise unsupported(f"{place}.type", f"`{place}.type` is `{kind}`; this server reads no {_OF_IMAGES[kind]}")
    raise invalid(f"{place}.type", f"`{place}.type` is {shown(kind)}; it must be `input_text` or `output_text`")


_READERS = {"message": Turns.message, "function_call": Turns.call, "function_call_output": Turns.output,
            "reasoning": Turns.reasoning}
