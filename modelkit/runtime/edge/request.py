"""Reads a request's head and decides, before any of its body, whether it may pass and what the engine gets to see."""

from __future__ import annotations

import re

from modelkit.runtime.edge.access import Access
from modelkit.runtime.edge.limits import EdgeLimits
from modelkit.runtime.edge.replies import Reply, refusal
from modelkit.runtime.edge.routes import LISTING, RESPONSE, Route, find

Headers = list[tuple[bytes, bytes]]

_ONCE = frozenset({b"host", b"content-length", b"content-type", b"transfer-encoding", b"authorization", b"x-api-key",
                   b"expect", b"x-request-id"})
# Between two neighbours only (RFC 9110, 7.6.1), and what a browser adds about itself.
VERSION = b"x-modelkit-version"  # which side of a split to ask
_NEVER = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization",
                    b"te", b"trailer", b"upgrade", b"http2-settings", b"origin", b"cookie"})
_SPECIAL = dict.fromkeys(_ONCE, True) | dict.fromkeys((*_NEVER, VERSION), False)
_OURS = b"x-modelkit-"
_CONNECTION_WORDS = frozenset({b"", b"close", b"keep-alive", b"upgrade", b"http2-settings", b"te"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@,;~-]{1,128}").fullmatch


class Request:
    """The head of a request: the fields that concern the edge, and the rest as header lines for the engine.

    Does not change; requests that differ in nothing but their length share one.
    """

    __slots__ = ("_for_engine", "chunked", "fields", "forwarded", "given_id", "has_body", "head_only", "keep_alive",
                 "length", "method", "path", "plain", "repeated", "route", "upgrades", "version", "words")

    def __init__(self, method: bytes, target: bytes, version: str, headers: Headers, keep_alive: bool) -> None:
        self.method = method
        self.path = target.partition(b"?")[0]
        self.route: Route = find(self.path)
        self.version = version
        self.plain = version != "1.1"  # such a client knows neither chunks nor keep-alive
        self.keep_alive = keep_alive and not self.plain
        self.fields: dict[bytes, bytes] = {}
        self.repeated: bytes | None = None
        self.forwarded: list[bytes] = []
        self._read(headers)
        fields = self.fields
        self.chunked = b"transfer-encoding" in fields
        self.length = int(fields.get(b"content-length", b"0"))  # digits: the parser made sure
        self.upgrades = b"upgrade" in fields and b"connection" in fields
        self.has_body = self.chunked or self.length > 0
        self.head_only = method == b"HEAD"
        given = fields.get(b"x-request-id")
        self.given_id = given if given and _REQUEST_ID(given) else None
        self._for_engine: tuple[bytes, bytes] | None = None
        self.words = f'"method":"{method.decode()}","route":"{self.route.label}"'  # for the log

    def _read(self, headers: Headers) -> None:
        fields, forwarded = self.fields, self.forwarded
        for name, value in headers:
            lower = name.lower()
            once = _SPECIAL.get(lower)
            if once is None:
                if not lower.startswith(_OURS):
                    forwarded += (name, b": ", value, b"\r\n")
            elif lower not in fields:
                fields[lower] = value
            elif once:
                self.repeated = lower
            else:
                fields[lower] += b"," + value
        named = fields.get(b"connection")
        if named is not None and named.lower() not in _CONNECTION_WORDS:
            self._drop_named(named, headers)

    def _drop_named(self, named: bytes, headers: Headers) -> None:
        """Leave out the headers that `Connection` says are for its neighbour alone."""
        words = {word.strip().lower() for word in named.split(b",")} - _CONNECTION_WORDS
        self.forwarded = [piece for name, value in headers
                          if (lower := name.lower()) not in words and lower not in _SPECIAL
                          and not lower.startswith(_OURS) for piece in (name, b": ", value, b"\r\n")]

    def forwarded_value(self, name: bytes) -> bytes | None:
        """The first value of a header that the engine gets too, by its name in lower case."""
        names = self.forwarded[::4]
        return next((self.forwarded[4 * at + 2] for at, one in enumerate(names) if one.lower() == name), None)

    def for_engine(self, request_id: bytes, length: int) -> bytes:
        """The head that the engine gets: our own framing and id, no keys, HEAD as GET (engines don't all know it)."""
        if self._for_engine is None:
            self._for_engine = self._compose()
        before, after = self._for_engine
        if self.chunked or self.method != b"POST":
            return b"%b%b%b" % (before, request_id, after)
        return b"%b%b\r\nContent-Length: %d%b" % (before, request_id, length, after)

    def _compose(self) -> tuple[bytes, bytes]:
        method = b"GET" if self.head_only else self.method
        before = b"%b %b HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: " % (method, self.path)
        lines = [b"\r\n"]
        if method == b"POST":
            lines += (b"Content-Type: ", self.fields[b"content-type"], b"\r\n")
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        return before, b"".join((*lines, *self.forwarded, b"\r\n"))


def judge(request: Request, access: Access, limits: EdgeLimits) -> Reply | None:
    """Why this request may not pass; None if it may. Its keys are looked at before anything else it wants."""
    return (_malformed(request) or _misdirected(request, access) or _unauthorised(request, access)
            or _unrouted(request) or _unreadable(request, limits))


def _malformed(request: Request) -> Reply | None:
    fields = request.fields
    if request.version not in ("1.1", "1.0"):
        return bad_request(f"HTTP/{request.version} is not spoken here")
    if request.repeated:
        return bad_request(f"the header `{request.repeated.decode('latin-1')}` came twice")
    if b"host" not in fields and request.version == "1.1":
        return bad_request("the Host header is missing")
    if request.chunked:
        if b"content-length" in fields:
            return bad_request("both Content-Length and Transfer-Encoding were sent")
        if request.plain or fields[b"transfer-encoding"].strip().lower() != b"chunked":
            return bad_request("the only Transfer-Encoding known here is `chunked`, in HTTP/1.1")
    # A client may offer h2c with any request (Java's does) and takes an answer in HTTP/1.1 for a no.
    if request.method == b"CONNECT" or (request.upgrades and fields[b"upgrade"].strip().lower() != b"h2c"):
        return bad_request("no other protocol is spoken here", "upgrade_refused")
    return None


def _misdirected(request: Request, access: Access) -> Reply | None:
    host = request.fields.get(b"host")
    if host is None or access.allows_host(host):
        return None
    return refusal(421, "misdirected_request", "the Host header names another server; call this one by its own name, "
                   "such as localhost", close=True)


def _unauthorised(request: Request, access: Access) -> Reply | None:
    if not access.key_hashes or not request.route.keyed:
        return None
    offered = []
    if bearer := request.fields.get(b"authorization"):
        scheme, _, token = bearer.partition(b" ")
        if scheme.lower() == b"bearer":
            offered.append(token.strip())
    if key := request.fields.get(b"x-api-key"):
        offered.append(key.strip())
    if access.knows_key(offered):
        return None
    what = "the API key is wrong" if offered else "no API key was sent"
    return refusal(401, "invalid_api_key", f"{what}; send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
                   (b"WWW-Authenticate", b"Bearer"), close=True)


def _unrouted(request: Request) -> Reply | None:
    route = request.route
    if request.method in route.methods:
        return None
    close = request.has_body
    if not route.methods:
        why = "; this server keeps no responses" if route is RESPONSE else ""
        return refusal(404, "not_found", f"there is no such path{why}; what exists: {LISTING}", close=close)
    return refusal(405, "method_not_allowed", f"{route.label} takes {route.allow.decode()}", (b"Allow", route.allow),
                   close=close)


def _unreadable(request: Request, limits: EdgeLimits) -> Reply | None:
    fields = request.fields
    if request.method != b"POST":
        return bad_request("a GET has no body") if request.has_body else None
    kind = fields.get(b"content-type", b"")
    if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
        return refusal(415, "unsupported_media_type", "the body must be `Content-Type: application/json`", close=True)
    if request.length > limits.body_bytes:
        return too_large(limits)
    expected = fields.get(b"expect")
    if expected is not None and expected.strip().lower() != b"100-continue":
        return refusal(417, "expectation_failed", "the only expectation known here is `100-continue`", close=True)
    return None


def bad_request(message: str, code: str = "bad_request") -> Reply:
    """A request that can't be understood; what follows it on the connection can't either."""
    return refusal(400, code, message, close=True)


def too_large(limits: EdgeLimits) -> Reply:
    return refusal(413, "request_too_large", f"the body may have at most {limits.body_bytes} bytes", close=True)


