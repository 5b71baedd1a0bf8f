"""What every API that is a translation of chat completions has in common, as values."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelkit.contract.chat_reader import Failed, Said, whole
from modelkit.contract.checks import shorten, unknown
from modelkit.contract.errors import ContractError, missing, wrong_type
from modelkit.contract.profile import Profile

Event = dict[str, Any]
"""One event of a stream; its `type` is its name."""

EXTENSIONS = ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed", "logit_bias",
              "ignore_eos", "structured_outputs", "chat_template_kwargs")
"""Fields of chat completions that the other APIs take under the same name, whether their owners have them or not."""


class Writer(Protocol):
    """Makes one answer of another API from what a chat completion says."""

    def begin(self) -> list[Event]: ...

    def say(self, said: Said) -> list[Event]:
        """The events for this; those of `Done` and `Failed` are a stream's last."""

    def whole(self) -> dict[str, Any]:
        """The answer as a stream's reader has it in the end; after `Done`."""


@dataclass
class Places:
    """What the fields of the request that the contract made are called in the request that the client sent."""

    names: dict[str, str] = field(default_factory=dict)

    def of(self, param: str) -> str:
        """The client's place for one of ours: the nearest field above it that is called otherwise decides."""
        for end in range(len(param), 0, -1):
            if (end == len(param) or param[end] in ".[") and (name := self.names.get(param[:end])) is not None:
                return name + param[end:]
        return param

    def renamed(self, error: ContractError) -> ContractError:
        """The same error in the client's words."""
        message = _QUOTED.sub(lambda found: f"`{self.of(found[1])}`", error.message)
        return ContractError(error.status, error.code, message, self.of(error.param) if error.param else None)


_QUOTED = re.compile(r"`([a-z_][a-z0-9_.\[\]]*)`")


@dataclass(frozen=True)
class Translated:
    """A client's request as one that the contract fills, and how its answer is read back."""

    body: dict[str, Any]
    places: Places
    answer: Callable[[dict[str, Any]], dict[str, Any]]
    writer: Writer | None = None  # of a stream


@dataclass(frozen=True)
class Api:
    """One path of another API. `inner` is the path whose request it becomes, `error` the body of a failure."""

    inner: str
    request: Callable[[dict[str, Any], Profile], Translated]
    error: Callable[[ContractError], bytes]


def written(writer: Writer) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """How `writer` answers when it is not a stream: as the stream's reader has it in the end."""

    def answer(chat: dict[str, Any]) -> dict[str, Any]:
        for said in whole(chat):
            if isinstance(said, Failed):
                raise said.error
            writer.say(said)
        return writer.whole()

    return answer


def fields(value: Any, place: str, known: Collection[str], dropped: Collection[str] = ()) -> dict[str, Any]:
    """An object's fields that say something. Null means absent, `dropped` ones only describe, unknown is an error."""
    if not isinstance(value, dict):
        raise wrong_type(place or "body", "an object", value)
    for name in value:
        if name not in known and name not in dropped:
            raise unknown(f"{place}.{name}" if place else name, name, (*known, *dropped))
    return {name: said for name, said in value.items() if said is not None and name not in dropped}


def kind_of(value: Any, place: str, default: str | None = None) -> str:
    """The `type` of an object."""
    if not isinstance(value, dict):
        raise wrong_type(place, "an object", value)
    kind = value.get("type")
    if kind is None:
        kind = default
    if kind is None:
        raise missing(f"{place}.type")
    if not isinstance(kind, str):
        raise wrong_type(f"{place}.type", "a string", kind)
    return shorten(kind)


def text_of(value: Mapping[str, Any], name: str, place: str) -> str:
    """A field that must be a string."""
    said = value.get(name)
    if said is None:
        raise missing(f"{place}.{name}")
    if not isinstance(said, str):
        raise wrong_type(f"{place}.{name}", "a string", said)
    return said


def list_of(value: Any, place: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise wrong_type(place, f"a list of {what}", value)
    return value
