"""An engine's response, as far as a relay must know it: its head, and where its body ends."""

from __future__ import annotations

import re

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?").fullmatch
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_HEX = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?").fullmatch
_HELD = 8 * 1024  # of a chunk's size line or trailers

_HOP = frozenset({b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer",
                  b"upgrade", b"transfer-encoding", b"content-length"})
# The edge says these itself, or nobody does: there is no CORS, whatever an engine would allow.
_REPLACED = frozenset({b"x-request-id", b"x-modelkit-version", b"x-modelkit-track"})
_NO_CORS = b"access-control-"


class BadResponse(Exception):
    """An engine said something that is not HTTP."""


class Length:
    """A body of a known length."""

    __slots__ = ("complete", "left")
    boundary = False

    def __init__(self, length: int) -> None:
        self.left = length
        self.complete = length == 0

    def scan(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body."""
        size = len(data)
        if size < self.left:
            self.left -= size
            return size
        size, self.left, self.complete = self.left, 0, True
        return size


class UntilClose:
    """A body that ends with its connection."""

    __slots__ = ()
    boundary = False
    complete = False

    def scan(self, data: bytes) -> int:
        return len(data)


# Nearly all size lines there are: one look-up instead of a strict parse.
_SIZES = {text % size: size for size in range(1, 2049) for text in (b"%x", b"%X")}


class Chunked:
    """A chunked body, followed chunk by chunk without looking into them.

    What it says holds for the bytes that were scanned without an error. `left` is the distance to the next boundary
    between chunks. With `collect`, `taken` receives what the chunks hold, for a client that knows no chunks.
    """

    __slots__ = ("complete", "held", "left", "taken")

    def __init__(self, collect: bool = False) -> None:
        self.left = 0
        self.held = b""  # the beginning of a size line, or the last chunk and its trailers
        self.complete = False
        self.taken: list[bytes] | None = [] if collect else None

    def take(self) -> bytes:
        """What the chunks held since the last call."""
        taken, self.taken = self.taken, []
        return b"".join(taken or ())

    @property
    def boundary(self) -> bool:
        """Whether everything up to here is whole chunks."""
        return self.left == 0 and not self.held

    def scan(self, data: bytes) -> int:
        """How many bytes of `data` belong to the body. Raises BadResponse."""
        before = len(self.held)
        if before:
            data = self.held + data
        size = len(data)
        at = self.left
        if at:
            if self.taken is not None and at > 2:
                self.taken.append(data[:min(at - 2, size)])
            if at <= size:
                self._close_chunk(data, at)
        while at < size:
            end = data.find(b"\r\n", at)
            line = data[at:end] if end >= 0 else b""
            length = _SIZES.get(line)
            if length is None:
                if end < 0:
                    self._hold(data[at:])
                    return size - before
                length = _chunk_size(line)
                if length == 0:
                    return self._last_chunk(data, at, end) - before
            if self.taken is not None:
                self.taken.append(data[end + 2:end + 2 + length])
            at = end + length + 4
            if at <= size and data[at - 2:at] != b"\r\n":
                raise BadResponse("a chunk is longer than it says")
        self.left = at - size
        if before:
            self.held = b""
        return size - before

    def _close_chunk(self, data: bytes, at: int) -> None:
        if data[max(at - 2, 0):at] != b"\r\n"[-at:]:
            raise BadResponse("a chunk is longer than it says")

    def _last_chunk(self, data: bytes, at: int, end: int) -> int:
        self.left = 0
        finish = data.find(b"\r\n\r\n", end)
        if finish < 0:
            self._hold(data[at:])
            return len(data)
        self.complete = True
        return finish + 4

    def _hold(self, rest: bytes) -> None:
        if len(rest) > _HELD:
            raise BadResponse("a chunk's size line is too long")
        self.left, self.held = 0, rest


def _chunk_size(line: bytes) -> int:
    if not _HEX(line):
        raise BadResponse("a chunk without a size")
    return int(line.partition(b";")[0], 16)


Body = Length | Chunked | UntilClose
KNOWN_HEADS: dict[bytes, ResponseHead] = {}
"""Heads that came before: within a second most of an engine's differ in nothing."""
_HEADS_KEPT, _HEAD_KEPT = 256, 1024  # how many, and bytes of each


def read_head(head: bytes) -> ResponseHead:
    """`ResponseHead(head)`, which is then known. Raises BadResponse."""
    made = ResponseHead(head)
    if len(head) <= _HEAD_KEPT:
        if len(KNOWN_HEADS) >= _HEADS_KEPT:
            KNOWN_HEADS.clear()
        KNOWN_HEADS[head] = made
    return made


class ResponseHead:
    """The head of an engine's response, without the headers that are not for its client."""

    __slots__ = ("_framing_line", "_start", "chunked", "event_stream", "keep_alive", "length", "status")

    def __init__(self, head: bytes) -> None:
        """Reads everything before the empty line; nothing of it changes later. Raises BadResponse."""
        first, *lines = head.split(b"\r\n")
        match = _STATUS_LINE(first)
        if match is None:
            raise BadResponse("no status line")
        self.status = int(match[2])
        self.keep_alive = match[1] == b"1"
        self.length: int | None = None
        self.chunked = self.event_stream = False
        kept = [b"HTTP/1.1 %d %b" % (self.status, match[3] or b"")]
        for line in lines:
            name, colon, value = line.partition(b":")
            lower = name.lower()
            if lower in _HOP:
                self._note_framing(lower, value.strip().lower())
            elif not colon or not _TOKEN(name) or b"\n" in value or b"\r" in value or b"\0" in value:
                raise BadResponse("a malformed header")
            elif lower not in _REPLACED and not lower.startswith(_NO_CORS):
                kept.append(line)
                if lower == b"content-type":
                    self.event_stream = value.strip().lower().startswith(b"text/event-stream")
        self._start = b"\r\n".join((*kept, b""))
        self._framing_line = b""
        if self.chunked:
            self._framing_line = b"Transfer-Encoding: chunked\r\n"
        elif self.length is not None and self.status != 204:
            self._framing_line = b"Content-Length: %d\r\n" % self.length

    def _note_framing(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 15 or self.length not in (None, int(value)):
                raise BadResponse("a bad Content-Length")
            self.length = int(value)
        elif name == b"transfer-encoding":
            if value != b"chunked" or self.chunked:
                raise BadResponse("a bad Transfer-Encoding")
            self.chunked = True
        elif name == b"connection":
            words = {word.strip() for word in value.split(b",")}
            self.keep_alive = b"close" not in words and (self.keep_alive or b"keep-alive" in words)

    @property
    def empty(self) -> bool:
        """Whether there is no body, whatever the headers say."""
        return self.status in (204, 304) or self.status < 200

    def body(self, collect: bool = False) -> Body:
        """Follows this response's body. Raises BadResponse when two framings were given."""
        if self.empty:
            return Length(0)
        if self.chunked:
            if self.length is not None:
                raise BadResponse("both Content-Length and Transfer-Encoding")
            return Chunked(collect)
        return UntilClose() if self.length is None else Length(self.length)

    def for_client(self, request_id: bytes, version_line: bytes, *, plain: bool, close: bool) -> bytes:
        """The head that the client gets; `plain` is one that knows no chunks."""
        framing = b"" if plain and self.chunked else self._framing_line
        return b"%b%b%bX-Request-Id: %b\r\n%b\r\n" % (
            self._start, framing, b"Connection: close\r\n" if close else b"", request_id, version_line)
