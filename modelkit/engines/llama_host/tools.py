"""A forced tool call: the schema that makes the model write one, and its text read back as `tool_calls`.

llama-server ignores a named `tool_choice` and lets prose through for `required`; vLLM forces both with a JSON schema.
So do we: the tools stay in the prompt (`tool_choice: none` renders them), the schema forces the text.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

_CALL = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"parameters"\s*:\s*')


@dataclass(frozen=True)
class Forced:
    """`name` is the one tool to call; None means at least one of them (`required`)."""

    name: str | None

    @property
    def finish_reason(self) -> str:
        """OpenAI's: a named call just stops."""
        return "tool_calls" if self.name is None else "stop"

    def reader(self) -> CallReader:
        return CallReader(self.name)


def forced_tools(body: dict[str, Any]) -> Forced | None:
    """Rewrite a request with a forced tool in place; None when its `tool_choice` forces nothing."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    if not tools or not (choice == "required" or isinstance(choice, dict)):
        return None
    functions = [tool.get("function", {}) for tool in tools]
    if isinstance(choice, dict):
        name = choice.get("function", {}).get("name")
        schema = next((_parameters(f) for f in functions if f.get("name") == name), {"type": "object"})
    else:
        name, schema = None, _any_of(functions, parallel=body.get("parallel_tool_calls") is not False)
    body["tool_choice"] = "none"
    body["response_format"] = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
    return Forced(name)


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    return function.get("parameters") or {"type": "object", "properties": {}}


def _any_of(functions: list[dict[str, Any]], parallel: bool) -> dict[str, Any]:
    """An array of calls. `$defs` move to the root, where their references point once the schema is nested."""
    definitions: dict[str, Any] = {}
    calls = []
    for function in functions:
        parameters = dict(_parameters(function))
        definitions |= parameters.pop("$defs", None) or {}
        calls.append({"type": "object", "required": ["name", "parameters"], "additionalProperties": False,
                      "properties": {"name": {"const": function.get("name")}, "parameters": parameters}})
    array = {"type": "array", "minItems": 1, "items": {"anyOf": calls}}
    if not parallel:
        array["maxItems"] = 1
    return array | ({"$defs": definitions} if definitions else {})


class CallReader:
    """Turns the forced text of one choice into deltas of `tool_calls` as it comes."""

    def __init__(self, name: str | None) -> None:
        self._named = name
        self._index = -1
        self._text = ""  # not yet understood
        self._depth = 0  # open brackets of the arguments; 0 between calls
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> list[dict[str, Any]]:
        if self._named is not None:
            if self._index >= 0:
                return [self._more(text)]
            return [self._begin(self._named, text)] if (text := text.lstrip()) else []
        self._text += text
        deltas: list[dict[str, Any]] = []
        while self._text:
            if self._depth == 0:
                call = _CALL.search(self._text)
                if call is None:
                    break
                self._text = self._text[call.end():]
                deltas.append(self._begin(json.loads(call[1]), ""))
                self._depth = -1  # the arguments' first bracket is still to come
            if not (arguments := self._arguments()):
                break
            deltas.append(self._more(arguments))
        return deltas

    def _arguments(self) -> str:
        """Take from the text what belongs to the arguments that are open."""
        if self._depth < 0:
            self._text = self._text.lstrip()
        for at, c in enumerate(self._text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif c == "\\":
                    self._escaped = True
                elif c == '"':
                    self._in_string = False
            elif c == '"':
                self._in_string = True
            elif c in "{[":
                self._depth = max(self._depth, 0) + 1
            elif c in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return self._take(at + 1)
        return self._take(len(self._text))

    def _take(self, length: int) -> str:
        taken, self._text = self._text[:length], self._text[length:]
        return taken

    def _begin(self, name: str, arguments: str) -> dict[str, Any]:
        self._index += 1
        return {"index": self._index, "id": f"chatcmpl-tool-{uuid.uuid4().hex[:16]}", "type": "function",
                "function": {"name": name, "arguments": arguments}}

    def _more(self, arguments: str) -> dict[str, Any]:
        return {"index": self._index, "function": {"arguments": arguments}}
