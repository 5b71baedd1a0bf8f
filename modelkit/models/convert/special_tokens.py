"""Special tokens that cross each other, which llama.cpp and `tokenizers` find in different orders.

llama.cpp looks for the longest special token in the whole text first, then for the next in what is left
(src/llama-vocab.cpp, `tokenizer_st_partition`); `tokenizers` goes from left to right and takes the longest at each
place. Both find the same unless one token begins inside another and ends after it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable


def crossing(tokens: Collection[str]) -> tuple[str, str] | None:
    """Two tokens, one after the other in some text, of which the two would not find the same one."""
    known = set(tokens)
    by_beginning = defaultdict[str, list[str]](list)
    for token in sorted(known):
        for cut in range(1, len(token)):
            by_beginning[token[:cut]].append(token)
    for first in sorted(known):
        for cut in range(1, len(first)):
            for second in by_beginning.get(first[cut:], ()):
                runs = len(set(first + second)) == 1  # of one character: the longest is found first by either
                if not runs and len(second) >= len(first) and _differ(first[:cut] + second, known, second):
                    return first, second
    return None


def _differ(text: str, known: set[str], before: str) -> bool:
    """Is `text` cut otherwise, if of two tokens of one length `before` comes first?"""
    there = {text[begin:end] for begin in range(len(text)) for end in range(begin + 1, len(text) + 1)} & known
    return _longest_first(text, sorted(there, key=lambda token: (-len(token), token != before))) \
        != _left_to_right(text, there)


def _longest_first(text: str, tokens: Iterable[str]) -> list[str]:
    pieces, found = [text], set[str]()
    for token in tokens:
        cut = list[str]()
        for piece in pieces:
            if piece in found:
                cut.append(piece)
                continue
            for place, rest in enumerate(piece.split(token)):
                cut += [token] if place else []
                cut += [rest] if rest else []
        found.add(token)
        pieces = cut
    return pieces


def _left_to_right(text: str, tokens: set[str]) -> list[str]:
    pieces, plain, at = list[str](), "", 0
    while at < len(text):
        token = next((text[at:end] for end in range(len(text), at, -1) if text[at:end] in tokens), None)
        if token is None:
            plain, at = plain + text[at], at + 1
            continue
        pieces += [plain, token] if plain else [token]
        plain, at = "", at + len(token)
    return [*pieces, plain] if plain else pieces
