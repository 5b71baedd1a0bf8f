"""Log-probabilities as answers show them: OpenAI's form for chats, and the older one of four lists for completions.

Texts of tokens are vLLM's (0.32, `v1/engine/logprobs.py`): a token that ends within a character shows nothing, and the
one that completes the character shows all of it, so that the texts of an answer's tokens are the answer's text.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from modelkit.llamacpp.jobs import Token, TokenLogprob

LOWEST = -9999.0
"""What an impossible token's log-probability is shown as: JSON has no infinity, and vLLM shows this."""

_UTF8 = codecs.getincrementaldecoder("utf-8")


class ChatLogprobs:
    """`logprobs` of one choice of a chat: feed it the tokens as they come."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._spelling = _Spelling()

    def feed(self, tokens: Iterable[Token]) -> dict[str, Any]:
        return {"content": [self._entry(token) for token in tokens]}

    def _entry(self, token: Token) -> dict[str, Any]:
        others = [_shown(self._spelling.peek(one.piece), one.logprob)
                  for one in islice(_step(token, self._top), self._top)]
        return {**_shown(self._spelling.next(token.piece), token.logprob), "top_logprobs": others}


class LegacyLogprobs:
    """`logprobs` of one choice of a completion. `top` alternatives beside the token itself."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._offset = 0
        self._spelling = _Spelling()

    def feed(self, tokens: Iterable[Token]) -> dict[str, Any]:
        """Four lists in step. Offsets count characters from the start of the choice's text."""
        texts, logprobs, alternatives, offsets = [], [], [], []
        for token in tokens:
            top = None
            if token.logprob is not None:
                top = {self._spelling.peek(one.piece): _finite(one.logprob) for one in _step(token, self._top)}
            text = self._spelling.next(token.piece)
            texts.append(text)
            logprobs.append(None if token.logprob is None else _finite(token.logprob))
            alternatives.append(top)
            offsets.append(self._offset)
            self._offset += len(text)
        return {"text_offset": offsets, "token_logprobs": logprobs, "tokens": texts, "top_logprobs": alternatives}


def _step(token: Token, top: int) -> Iterator[TokenLogprob]:
    """The token itself, then the others among the `top` likeliest. That is vLLM's order."""
    if token.logprob is not None:
        yield TokenLogprob(token.id, token.piece, token.logprob)
        yield from (one for one in token.top[:top] if one.id != token.id)


class _Spelling:
    """Texts of tokens whose pieces may end within a character."""

    def __init__(self) -> None:
        self._pending = b""

    def next(self, piece: bytes) -> str:
        """The text that this token shows, after those before it."""
        text, self._pending = _whole(self._pending + piece)
        return text

    def peek(self, piece: bytes) -> str:
        """The text that another token would have shown in its place."""
        return _whole(self._pending + piece)[0]


def _whole(data: bytes) -> tuple[str, bytes]:
    """The text of bytes that end with a character, else nothing and the bytes."""
    decoder = _UTF8("strict")
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace"), b""
    return ("", data) if decoder.getstate()[0] else (text, b"")


def _shown(text: str, logprob: float | None) -> dict[str, Any]:
    return {"token": text, "logprob": LOWEST if logprob is None else _finite(logprob),
            "bytes": list(text.encode())}


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST)
