"""Compares what two sides make of conversations, token by token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelkit.release.parity.causes import Cause, causes_of, settled
from modelkit.release.parity.conversations import Conversation
from modelkit.release.parity.rendering import Rendering
from modelkit.release.parity.window import Window, window

SCHEMA = "modelkit.parity/1"

Side = Callable[[Conversation], Rendering]


@dataclass(frozen=True)
class Difference:
    """Where two renderings of one conversation part. `causes` say why, likely; the last is the weightiest."""

    conversation: str
    at: int  # index of the first differing token
    before: str  # the text both share just before it
    left: str  # the token on each side, spelled and numbered
    right: str
    left_count: int
    right_count: int
    causes: tuple[Cause, ...] = ()
    left_prompt: str = ""
    right_prompt: str = ""
    window: Window = field(default=Window("", "", 0), compare=False)

    def as_json(self) -> dict[str, Any]:
        return {"conversation": self.conversation, "at": self.at, "left": self.left, "right": self.right,
                "left_tokens": self.left_count, "right_tokens": self.right_count,
                "causes": [one.kind for one in self.causes],
                "left_prompt": self.left_prompt, "right_prompt": self.right_prompt}


@dataclass(frozen=True)
class Found:
    """One cause and the conversations that show it."""

    cause: Cause
    conversations: tuple[str, ...]


@dataclass(frozen=True)
class ParityReport:
    """What was compared and what differed. `equal` is the verdict.

    `refused` are conversations that both sides refuse: they mean the same on both, and have no tokens.
    """

    compared: int
    tokens: int
    differences: tuple[Difference, ...]
    refused: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return not self.differences

    @property
    def causes(self) -> tuple[Found, ...]:
        """Each cause once, the one that shows most often first."""
        seen: dict[tuple[str, Any], tuple[Cause, list[str]]] = {}
        for difference in self.differences:
            for cause in difference.causes:
                seen.setdefault((cause.kind, cause.side), (cause, []))[1].append(difference.conversation)
        return tuple(sorted((Found(cause, tuple(names)) for cause, names in seen.values()),
                            key=lambda one: -len(one.conversations)))

    def as_json(self, left: str = "left", right: str = "right") -> dict[str, Any]:
        """The report as a document; `left` and `right` are what the two sides are called."""
        return {
            "schema": SCHEMA, "left": left, "right": right, "equal": self.equal, "conversations": self.compared,
            "tokens": self.tokens, "refused": list(self.refused),
            "causes": [{"kind": one.cause.kind, "title": one.cause.title(left, right), "detail": one.cause.detail,
                        "side": {"left": left, "right": right, None: None}[one.cause.side], "fix": one.cause.fix,
                        "conversations": list(one.conversations)} for one in self.causes],
            "differences": [one.as_json() for one in self.differences]}


def compare(conversations: Iterable[Conversation], left: Side, right: Side,
            on_progress: Callable[[Conversation], None] = lambda _: None) -> ParityReport:
    """Render every conversation on both sides; the report lists each that differs, with its likely cause."""
    tokens, compared, refused = 0, 0, []
    differing: list[tuple[Conversation, Rendering, Rendering]] = []
    equal: list[Conversation] = []
    for said in conversations:
        one, other = left(said), right(said)
        compared, tokens = compared + 1, tokens + len(one.ids)
        if one.refused is not None and other.refused is not None:
            refused.append(said.name)
        elif one.ids != other.ids or one.refused != other.refused:
            differing.append((said, one, other))
        else:
            equal.append(said)
        on_progress(said)
    causes = settled([(said, causes_of(said, one, other)) for said, one, other in differing], equal)
    differences = tuple(_difference(said.name, one, other, why)
                        for (said, one, other), why in zip(differing, causes, strict=True))
    return ParityReport(compared, tokens, differences, tuple(refused))


def _difference(name: str, left: Rendering, right: Rendering, causes: tuple[Cause, ...]) -> Difference:
    shared = 0
    for a, b in zip(left.ids, right.ids, strict=False):
        if a != b:
            break
        shared += 1
    before = left.text(left.ids[max(0, shared - 12) : shared])
    return Difference(name, shared, before, _token(left, shared), _token(right, shared), len(left.ids), len(right.ids),
                      causes, _prompt(left), _prompt(right), window(left, right, shared))


def _prompt(side: Rendering) -> str:
    return side.written if side.refused is None else ""


def _token(side: Rendering, at: int) -> str:
    if side.refused is not None:
        return f"refused: {side.refused}"
    if at >= len(side.ids):
        return "the end of the prompt"
    return f"{side.text([side.ids[at]])!r} (token {side.ids[at]})"


def names_of(found: Sequence[str], most: int = 6) -> str:
    """A few names, and how many more there are."""
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")
