"""The known word that a person most probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, None if none is much like it."""
    return next(iter(get_close_matches(word, list(known), 1, 0.5)), None)
