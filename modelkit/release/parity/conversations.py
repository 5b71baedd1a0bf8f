"""The conversations that stages are compared with: hard ones that ship, and those of the Modelfile's own tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile, Test

_LARGEST = 1 << 20  # bytes of a file of tools


@dataclass(frozen=True)
class Conversation:
    """A named list of messages, as a client sends them, with the tools and template variables that go with it."""

    name: str
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True

    def request(self) -> dict[str, Any]:
        """The body of a request for its tokens, but for the model's name."""
        return {"messages": list(self.messages), "add_generation_prompt": self.add_generation_prompt,
                **({"tools": list(self.tools)} if self.tools else {}),
                **({"chat_template_kwargs": dict(self.variables)} if self.variables else {})}

    @property
    def features(self) -> frozenset[str]:
        """What it has that not every conversation has, for finding out what a difference goes with."""
        return frozenset(_features(self))


def _features(said: Conversation) -> Iterator[str]:
    roles = [one["role"] for one in said.messages]
    if said.tools or "tool" in roles or any(one.get("tool_calls") for one in said.messages):
        yield "tools"
    if "enable_thinking" in said.variables or "thinking" in said.variables:
        yield "thinking"
    if any(one.get("reasoning") for one in said.messages):
        yield "reasoning"
    if not said.add_generation_prompt:
        yield "no generation prompt"
    if roles[:1] in (["system"], ["developer"]):
        yield "system"
    if any(isinstance(one.get("content"), list) for one in said.messages):
        yield "parts"


def shipped_conversations() -> tuple[Conversation, ...]:
    """The hard conversations that come with modelkit: Unicode, whitespace, special tokens as text, roles, tools, their
    calls and results, thinking."""
    text = resources.files("modelkit.release.parity").joinpath("conversations.json").read_text("utf-8")
    return tuple(Conversation(item["name"], tuple(item["messages"]), tuple(item.get("tools", ())),
                              item.get("variables", {}), item.get("add_generation_prompt", True))
                 for item in json.loads(text))


def own_conversations(modelfile: Modelfile) -> tuple[Conversation, ...]:
    """The Modelfile's TESTs as conversations, with their tools. Raises Failure for tools that can't be read."""
    return tuple(Conversation(f"TEST {test.title!r}", tuple(_turns(test)), _tools(test, modelfile))
                 for test in modelfile.tests if test.turns)


def _turns(test: Test) -> Iterator[dict[str, Any]]:
    """A TOOL turn answers a call; a test does not say which, so it gets one with its number."""
    calls = 0
    for turn in test.turns:
        message: dict[str, Any] = {"role": turn.value.role, "content": turn.value.content}
        if turn.value.role == "tool":
            calls += 1
            message["tool_call_id"] = f"call{calls:05}"
        yield message


def _tools(test: Test, modelfile: Modelfile) -> tuple[dict[str, Any], ...]:
    if test.tools is None:
        return ()
    path = Path(modelfile.path).absolute().parent / test.tools.value
    try:
        if path.stat().st_size > _LARGEST:
            raise Failure("too-large", f"{test.tools.value} is larger than 1 MiB")
        said = json.loads(path.read_text("utf-8"))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Failure("unreadable", f"the tools of TEST {test.title!r} can't be read: {test.tools.value}: {why}",
                      modelfile.where(test.tools.span)) from None
    except (ValueError, RecursionError) as error:
        raise Failure("bad-tools", f"{test.tools.value} is not JSON: {error}",
                      modelfile.where(test.tools.span)) from None
    if not isinstance(said, list) or not all(isinstance(one, dict) for one in said):
        raise Failure("bad-tools", f"{test.tools.value} is no list of tools",
                      '[{"type": "function", "function": {"name": …}}]')
    return tuple(one if "function" in one else {"type": "function", "function": one} for one in said)


def read_conversations(path: Path) -> tuple[Conversation, ...]:
    """Those of a JSON file: a list of objects with `messages` and, if there are any, `name`, `tools`, `variables` and
    `add_generation_prompt`. Raises Failure for anything else."""
    try:
        if path.stat().st_size > 8 * _LARGEST:
            raise Failure("too-large", f"{path} is larger than 8 MiB")
        said = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise Failure("bad-conversations", f"{path} is not JSON: {error}", _FORM) from None
    if not isinstance(said, list) or not said:
        raise Failure("bad-conversations", f"{path} is no list of conversations", _FORM)
    return tuple(_read(one, f"{path.name} {number}", path) for number, one in enumerate(said, 1))


_FORM = '[{"name": "greeting", "messages": [{"role": "user", "content": "Hello"}]}]'
_KINDS: Mapping[str, type | tuple[type, ...]] = {"name": str, "messages": list, "tools": list, "variables": dict,
                                                 "add_generation_prompt": bool}


def _read(said: Any, name: str, path: Path) -> Conversation:
    if isinstance(said, list):
        said = {"messages": said}
    if not isinstance(said, dict) or not said.get("messages"):
        raise Failure("bad-conversations", f"{path}: conversation {name.rpartition(' ')[2]} has no messages", _FORM)
    for key, value in said.items():
        if key not in _KINDS:
            raise Failure("bad-conversations", f"{path}: {name} has the unknown field `{key}`",
                          "it may have " + ", ".join(_KINDS))
        if not isinstance(value, _KINDS[key]):
            raise Failure("bad-conversations", f"{path}: `{key}` of {name} is of the wrong kind", _FORM)
    if not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in said["messages"]):
        raise Failure("bad-conversations", f"{path}: each message of {name} must be an object with a `role`", _FORM)
    if not all(isinstance(one, dict) and isinstance(one.get("function"), dict) and "name" in one["function"]
               for one in said.get("tools", ())):
        raise Failure("bad-conversations", f"{path}: each tool of {name} must have a `function` with a `name`")
    return Conversation(said.get("name", name), tuple(said["messages"]), tuple(said.get("tools", ())),
                        said.get("variables", {}), said.get("add_generation_prompt", True))
