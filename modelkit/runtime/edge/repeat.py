"""Knows a request again whose head is, byte for byte, that of the one before on its connection, but for the length.

That is what most clients send on a kept connection. What was parsed and judged once is not looked at a second time;
whatever is not exactly so goes through the parser.
"""

from __future__ import annotations

import re

from modelkit.runtime.edge.access import Access
from modelkit.runtime.edge.request import Request

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*", re.IGNORECASE)
_DIGITS = 9


class Repeat:
    """A head that passed, as it came: up to its Content-Length's digits, and what follows them."""

    __slots__ = ("_access", "_after", "_before", "_limit", "_start", "request")

    def __init__(self, request: Request, access: Access, limit: int, before: bytes, after: bytes) -> None:
        self.request = request
        self._access = access
        self._limit = limit
        self._before = before
        self._start = len(before)
        self._after = after

    @classmethod
    def of(cls, data: bytes, request: Request, access: Access, limit: int) -> Repeat | None:
        """What to know again after `data`, one whole request; None where that would not be safe or not be of use."""
        found = _LENGTH.search(data)
        if found is None or request.method != b"POST" or not request.keep_alive or (
                request.chunked or request.upgrades or b"expect" in request.fields):
            return None
        end = data.find(b"\r\n", found.end())
        finish = data.find(b"\r\n\r\n", end)
        if finish < 0 or len(data) != finish + 4 + request.length:
            return None  # it did not come alone
        return cls(request, access, limit, data[:found.end()], data[end:finish + 4])

    def length_of(self, data: bytes, access: Access) -> int | None:
        """The length of the body if `data` is one whole request with this head; else None."""
        if access is not self._access or not data.startswith(self._before):
            return None
        end = data.find(b"\r", self._start, self._start + _DIGITS + 1)
        digits = data[self._start:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self._after, end):
            return None
        length = int(digits)
        return length if len(data) == end + len(self._after) + length and length <= self._limit else None
