"""What did not fit when a model's settings went from one program's file to another's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["lost", "approximated", "unneeded"]
"""`lost`: it has no counterpart. `approximated`: the nearest thing was taken. `unneeded`: the other side does it by
itself, so nothing is missing."""

_GRAVITY: tuple[Verdict, ...] = ("lost", "approximated", "unneeded")


@dataclass(frozen=True, slots=True)
class Loss:
    """One setting that is not on the other side as it was. `said` is how its own side writes it, never a secret.

    `line` is where it stands in the file that it came from, 1-based; None where that is not a file.
    """

    said: str
    verdict: Verdict
    reason: str
    line: int | None = None

    def as_json(self) -> dict[str, Any]:
        place = {} if self.line is None else {"line": self.line}
        return {"said": self.said, "verdict": self.verdict, "reason": self.reason} | place

    def __str__(self) -> str:
        return f"{self.said}: {self.reason}"


@dataclass
class Account:
    """Collects losses while one model is taken over. `line` is where the setting at hand stands."""

    line: int | None = None
    _found: dict[Loss, None] = field(default_factory=dict)  # each once, in order

    def lost(self, said: str, reason: str) -> None:
        self._add(said, "lost", reason)

    def approximated(self, said: str, reason: str) -> None:
        self._add(said, "approximated", reason)

    def unneeded(self, said: str, reason: str) -> None:
        self._add(said, "unneeded", reason)

    def known(self, said: str) -> None:
        """Takes back what was lost or approximated of a setting: it has its place after all."""
        self._found = {loss: None for loss in self._found if not loss.said.startswith(one_line(said))}

    def _add(self, said: str, verdict: Verdict, reason: str) -> None:
        self._found[Loss(one_line(said), verdict, one_line(reason, 300), self.line)] = None

    @property
    def graded(self) -> tuple[Loss, ...]:
        """The gravest first, each kind in the order in which it was found."""
        return graded(self._found)


def graded(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    return tuple(sorted(losses, key=lambda loss: _GRAVITY.index(loss.verdict)))


def one_line(text: str, most: int = 100) -> str:
    """A text as a list shows it: on one line, printable, not too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
