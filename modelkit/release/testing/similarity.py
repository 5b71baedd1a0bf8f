"""How nearly an answer means a text: the cosine of their embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from modelkit.release.testing.checks import Outcome, Seen, shown


class Poster(Protocol):
    """Whoever posts to the embeddings endpoint: a client."""

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]: ...


@dataclass(frozen=True)
class Embeddings:
    """An embedding model at an endpoint. The vectors of the texts that are expected are asked once."""

    client: Poster
    model: str
    digest: str | None = None
    _known: dict[str, Sequence[float]] = field(default_factory=dict)

    async def examine(self, operand: Any, seen: Seen) -> Outcome:
        text, least = operand["text"], operand["at_least"]
        if not seen.answer.text.strip():
            return Outcome("fail", "the answer is empty")
        try:
            one, other = await self.vector(text), await self.vector(seen.answer.text)
            found = cosine(one, other)
        except (httpx.HTTPError, ValueError) as error:
            return Outcome("error", f"the embeddings endpoint: {error or type(error).__name__}")
        if found >= least:
            return Outcome("pass")
        return Outcome("fail", f"the cosine is {found:.3f}, not {least:g} or more: {shown(seen.answer.text)}")

    async def vector(self, text: str) -> Sequence[float]:
        """Raises httpx.HTTPError, or ValueError for an answer that is no vector."""
        if text not in self._known:
            status, answer = await self.client.post("embeddings", {"model": self.model, "input": [text]})
            try:
                vector = [float(x) for x in answer["data"][0]["embedding"]]
            except (KeyError, IndexError, TypeError, ValueError):
                said = answer.get("error", {}) if isinstance(answer, dict) else {}
                why = said.get("message") if isinstance(said, dict) else None
                raise ValueError(f"{status}: {why or 'it gave no embedding'}") from None
            self._known[text] = vector
        return self._known[text]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Raises ValueError for vectors of different or no length, of zeros, or of what is no number.

    >>> round(cosine([1, 0], [1, 1]), 6)
    0.707107
    """
    if len(one) != len(other) or not one:
        raise ValueError("the two embeddings are of different lengths")
    lengths = math.hypot(*one) * math.hypot(*other)
    if not lengths or not math.isfinite(lengths):
        raise ValueError("an embedding is no direction")
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths
