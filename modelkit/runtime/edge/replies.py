"""What the edge itself answers: OpenAI's error envelope, health, and the bytes around them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus

from modelkit.contract import anthropic_errors

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    """A complete answer of the edge's own. `reason` labels it in the metrics when it refuses something."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json"
    close: bool = False
    reason: str = ""

    def encode(self, request_id: bytes, extra: bytes, *, head_only: bool, close: bool) -> bytes:
        """The response as it goes over the wire; `extra` is whole header lines."""
        lines = [b"HTTP/1.1 %d %b\r\n" % (self.status, _PHRASES.get(self.status, b"")),
                 b"Date: %b\r\n" % formatdate(usegmt=True).encode(),
                 b"Content-Type: %b\r\nContent-Length: %d\r\n" % (self.content_type, len(self.body))]
        lines += [b"%b: %b\r\n" % header for header in self.headers]
        lines += [b"X-Request-Id: %b\r\n" % request_id, extra]
        if close:
            lines.append(b"Connection: close\r\n")
        lines.append(b"\r\n")
        return b"".join(lines) if head_only else b"".join(lines) + self.body


_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus} | {413: b"Content Too Large"}


def envelope(status: int, code: str, message: str) -> bytes:
    """`{"error": …}` as OpenAI clients read it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def refusal(status: int, code: str, message: str, *headers: tuple[bytes, bytes], close: bool = False) -> Reply:
    """An error of the edge's own."""
    return Reply(status, envelope(status, code, message), headers, close=close, reason=code)


def unavailable(message: str, retry_after: int, code: str = "engine_unavailable") -> Reply:
    """503: the same request will be welcome in `retry_after` seconds."""
    return refusal(503, code, message, (b"Retry-After", b"%d" % retry_after))


def json_reply(value: dict[str, str]) -> Reply:
    return Reply(200, json.dumps(value).encode())


def for_path(reply: Reply, path: bytes) -> Reply:
    """A refusal in the shape that clients of this path read."""
    if not reply.reason or not anthropic_errors.is_ours(path.decode("latin-1")):
        return reply
    message = json.loads(reply.body)["error"]["message"]
    return replace(reply, body=json.dumps(anthropic_errors.failure(reply.status, message)).encode())


def error_event(code: str, message: str, path: bytes = b"") -> bytes:
    """The last event of a stream that can't go on, as clients of this path read it."""
    if anthropic_errors.is_ours(path.decode("latin-1")):
        body = json.dumps(anthropic_errors.failure(502, message)).encode()
    elif path == b"/v1/responses":
        body = b'{"type": "error", ' + envelope(502, code, message)[1:]
    else:
        return b"data: %b\n\n" % envelope(502, code, message)
    return b"event: error\ndata: %b\n\n" % body
