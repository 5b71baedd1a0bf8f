"""Do two engines turn the same conversations into the same tokens?

Both sides get the client's messages as a client would send them; the contract adds the Modelfile's part on each. So
equal ids prove the whole way: system prompt, few-shots, chat template, special tokens and tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from modelkit.language.modelfile import Modelfile


@dataclass(frozen=True)
class Conversation:
    """A named list of messages, as a client sends them."""

    name: str
    messages: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Rendering:
    """The prompt one engine makes of a conversation; `text(ids)` spells some of its tokens."""

    ids: tuple[int, ...]
    text: Callable[[Sequence[int]], str] = lambda ids: " ".join(map(str, ids))


@dataclass(frozen=True)
class Difference:
    """Where two renderings of one conversation part."""

    conversation: str
    at: int  # index of the first differing token
    before: str  # the text both share just before it
    left: str  # the token on each side, spelled and numbered
    right: str
    left_count: int
    right_count: int


@dataclass(frozen=True)
class ParityReport:
    """What was compared and what differed. `equal` is the verdict."""

    compared: int
    tokens: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        return not self.differences


def shipped_conversations() -> tuple[Conversation, ...]:
    """The hard conversations that come with modelkit: Unicode, whitespace, special tokens as text, roles."""
    text = resources.files("modelkit.release").joinpath("conversations.json").read_text("utf-8")
    return tuple(Conversation(item["name"], tuple(item["messages"])) for item in json.loads(text))


def own_conversations(modelfile: Modelfile) -> tuple[Conversation, ...]:
    """The Modelfile's TESTs as conversations."""
    return tuple(
        Conversation(f"TEST {test.title!r}",
                     tuple({"role": t.value.role, "content": t.value.content} for t in test.turns))
        for test in modelfile.tests
        if test.turns and all(t.value.role != "tool" for t in test.turns)
    )


def compare(conversations: Iterable[Conversation], left: Callable[[Conversation], Rendering],
            right: Callable[[Conversation], Rendering],
            on_progress: Callable[[Conversation], None] = lambda _: None) -> ParityReport:
    """Render every conversation on both sides; the report lists each that differs."""
    differences, compared, tokens = [], 0, 0
    for conversation in conversations:
        one, other = left(conversation), right(conversation)
        compared, tokens = compared + 1, tokens + len(one.ids)
        if one.ids != other.ids:
            differences.append(_difference(conversation.name, one, other))
        on_progress(conversation)
    return ParityReport(compared, tokens, tuple(differences))


def _difference(name: str, left: Rendering, right: Rendering) -> Difference:
    shared = 0
    for a, b in zip(left.ids, right.ids, strict=False):
        if a != b:
            break
        shared += 1

    def spell(side: Rendering) -> str:
        if shared >= len(side.ids):
            return "the end of the prompt"
        return f"{side.text([side.ids[shared]])!r} (token {side.ids[shared]})"

    before = left.text(left.ids[max(0, shared - 12) : shared])
    return Difference(name, shared, before, spell(left), spell(right), len(left.ids), len(right.ids))
