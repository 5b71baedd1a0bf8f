"""The reasoning of an answer under both of its names.

vLLM says `reasoning`, SGLang and many clients `reasoning_content`. Where a stage has a reasoning parser, the contract
adds the missing name. It is the one thing that it adds to an answer, and only to those that have reasoning:
everything else passes byte for byte.
"""

from __future__ import annotations

import json
from typing import Any

_MARK = b'"reasoning'
_NAMES = ("reasoning", "reasoning_content")
_END = b"\n\n"


def whole(body: bytes) -> bytes:
    """A complete answer with both names. Anything that is not such an answer stays as it is."""
    if _MARK not in body:
        return body
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return _spelled(answer) if _add(answer, "message") else body


class Stream:
    """The same for server-sent events. An event is held only until its end has come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes, *, more: bool) -> bytes:
        """What may go on to the client now."""
        self._rest += data
        end = len(self._rest) if not more else self._rest.rfind(_END) + len(_END)
        if end < len(_END):
            return b""
        ready, self._rest = self._rest[:end], self._rest[end:]
        if _MARK not in ready:
            return ready
        return _END.join(self._event(event) for event in ready.split(_END))

    @staticmethod
    def _event(event: bytes) -> bytes:
        if _MARK not in event or not event.startswith(b"data: "):
            return event
        try:
            answer = json.loads(event[6:])
        except (ValueError, RecursionError):
            return event
        return b"data: " + _spelled(answer) if _add(answer, "delta") else event


def _add(answer: Any, part: str) -> bool:
    """Whether a name was added."""
    added = False
    choices = answer.get("choices") if isinstance(answer, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        said = choice.get(part) if isinstance(choice, dict) else None
        if isinstance(said, dict) and sum(name in said for name in _NAMES) == 1:
            said |= {name: next(said[other] for other in _NAMES if other in said) for name in _NAMES}
            added = True
    return added


def _spelled(answer: Any) -> bytes:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()
