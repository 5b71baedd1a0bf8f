"""HTTP as modelkit speaks it to the places that have models: who is asked, what is trusted, what a refusal means.

Plain http is for loopback and for callers that say so, redirects are few and never lead from https to http, and what
authorizes a request goes to its own origin only. Proxies and certificates are those of the environment.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from random import uniform
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from modelkit import __version__
from modelkit.failure import Failure
from modelkit.models.sources.connections import is_loopback, manager_for

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

T = TypeVar("T")
NOTHING: Mapping[str, str] = MappingProxyType({})

STALL_S = 30.0  # without a byte for so long, a connection counts as cut
_CONNECT_S = 15.0
_DOCUMENT_S = 300.0  # a small document that takes longer is a trickle without an end
_MOST_REDIRECTS = 8
_LONGEST_WAIT_S = 120.0  # a server that asks to wait for longer is not waited for
_PAUSE_S = 0.5  # before the first repetition; doubled for each one after it
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Remote:
    """A file on a server. `headers` (what authorizes us) go to the origin of `url` only; `insecure` allows http."""

    url: str
    digest: str | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    insecure: bool = False

    @property
    def shown(self) -> str:
        """The address as people may see it: without what a signed address carries."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    def at(self, url: str) -> Remote:
        """The same file at the address that this one leads to, without `headers` where that is another origin."""
        home = _origin(urlsplit(url)) == _origin(urlsplit(self.url))
        return replace(self, url=url, headers=self.headers if home else {})


@dataclass(frozen=True)
class Response:
    """A whole answer. `headers` are found whatever their case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class PassingTrouble(Exception):
    """Trouble that may pass: `failure` is what to say when it does not, `wait` the seconds the server asked for."""

    def __init__(self, failure: Failure, wait: float | None = None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.wait = wait


class Patience:
    """How often trouble may come again before it counts: seldom while nothing works at all, oftener after that."""

    def __init__(self, pause: Callable[[float], object] | None = None) -> None:
        self._pause = pause or time.sleep
        self._tried, self._most = 0, 2

    def progressed(self) -> None:
        self._tried, self._most = 0, 6

    def wait(self, trouble: PassingTrouble) -> None:
        """Wait before the next attempt. Raises the Failure when there is to be none."""
        self._tried += 1
        if self._tried > self._most or (trouble.wait or 0) > _LONGEST_WAIT_S:
            raise trouble.failure from None
        own = min(_PAUSE_S * 2 ** (self._tried - 1), 20.0)
        self._pause(trouble.wait if trouble.wait is not None else own * uniform(0.8, 1.2))


def patiently(action: Callable[[], T]) -> T:
    """What `action` gives, tried again while its trouble may pass."""
    patience = Patience()
    while True:
        try:
            return action()
        except PassingTrouble as trouble:
            patience.wait(trouble)


def get(remote: Remote, *, at_most: int, method: str = "GET", body: bytes | None = None,
        stall_s: float | None = None) -> Response:
    """A small document, whatever its status: only trouble on the way, and more than `at_most` bytes, are Failures."""

    def ask() -> Response:
        with request(remote, method=method, body=body, stall_s=stall_s) as answer:
            said = _whole(answer, at_most, remote)
            return Response(answer.status, answer.headers, said, answer.url or remote.url)

    return patiently(ask)


@contextmanager
def request(remote: Remote, headers: Mapping[str, str] = NOTHING, *, method: str = "GET",
            body: bytes | None = None, stall_s: float | None = None) -> Iterator[BaseHTTPResponse]:
    """The answer behind all redirects, its body not read yet, as it is on the wire. `stall_s` is how long it may take.

    Raises PassingTrouble for what may pass (a cut, a time-out, 429, 5xx), Failure for what won't.
    """
    answer = open_answer(remote, headers, method=method, body=body, stall_s=stall_s)
    try:
        with trouble(remote):
            yield answer
    finally:
        answer.close()


def open_answer(remote: Remote, headers: Mapping[str, str] = NOTHING, *, method: str = "GET",
                body: bytes | None = None, stall_s: float | None = None) -> BaseHTTPResponse:
    """As `request`; the caller closes it."""
    import urllib3

    url, home = remote.url, _origin(urlsplit(remote.url))
    for _ in range(_MOST_REDIRECTS + 1):
        parts = _presume_allowed(url, remote)
        sent = {"User-Agent": f"modelkit/{__version__}", "Accept-Encoding": "identity", **headers}
        if _origin(parts) == home:
            sent |= remote.headers
        with trouble(remote):
            answer = manager_for(parts).request(
                method, url, headers=sent, body=body, redirect=False, retries=False, preload_content=False,
                decode_content=False, timeout=urllib3.Timeout(connect=_CONNECT_S, read=stall_s or STALL_S))
        target = answer.headers.get("Location")
        if answer.status not in _REDIRECTS or target is None:
            if answer.status in _PASSING:
                wait = _retry_after(answer.headers.get("Retry-After"))
                answer.close()
                raise PassingTrouble(refusal(remote, answer.status), wait)
            answer.url = url  # urllib3 says the path only
            return answer
        answer.close()
        url = _joined(url, target, remote)
        if parts.scheme == "https" and urlsplit(url).scheme != "https":
            raise Failure("insecure", f"{remote.shown} leads away from https, to {_shown(url)}",
                          "the server is broken or hostile; don't use it")
        if body and _origin(urlsplit(url)) != home:
            raise Failure("insecure", f"{remote.shown} sends what we send on, to {_shown(url)}",
                          "the server is broken or hostile; don't use it")
    raise Failure("too-many-redirects", f"{remote.shown} leads from one address to the next, more than "
                  f"{_MOST_REDIRECTS} times", "check the address")


def refusal(remote: Remote, status: int) -> Failure:
    """What a status that is no answer means."""
    data = {"url": remote.shown, "status": status}
    if status in (401, 403):
        return Failure("unauthorized", f"{remote.shown} is not for everyone: the server says {status}",
                       "log in there, or give the right to read it", data=data)
    if status in (404, 410):
        return Failure("not-found", f"there is nothing at {remote.shown}: the server says {status}",
                       "check the name", data=data)
    if status == 429:
        return Failure("rate-limited", f"{remote.shown}: the server wants fewer requests (429)",
                       "wait some minutes, or log in there", data=data)
    return Failure("network", f"{remote.shown}: the server answers with status {status}",
                   "run it again later" if status >= 500 else "check the address", data=data)


@contextmanager
def trouble(remote: Remote) -> Iterator[None]:
    """What goes wrong on the way, as PassingTrouble or a Failure."""
    from urllib3 import exceptions

    try:
        yield
    except (exceptions.HTTPError, OSError) as error:
        host = urlsplit(remote.url).hostname
        reason = _reason(error)
        if isinstance(error, exceptions.SSLError | ssl.SSLError) and "certificate" in reason.lower():
            raise Failure("network", f"{host} can't be trusted: {reason}", "if a proxy of yours answers for it, name "
                          "its certificates in SSL_CERT_FILE", data={"url": remote.shown}) from None
        if isinstance(error, exceptions.LocationParseError | exceptions.LocationValueError):
            raise Failure("network", f"`{remote.shown}` is no address: {reason}") from None
        raise PassingTrouble(Failure("network", f"{remote.shown} can't be fetched: {reason}",
                                     "check the network (proxies are taken from HTTPS_PROXY and NO_PROXY), then run "
                                     "it again", data={"url": remote.shown})) from None


def _reason(error: Exception) -> str:
    from urllib3 import exceptions

    if isinstance(error, exceptions.NameResolutionError):
        return f"the name {error._host} can't be resolved"
    if isinstance(error, exceptions.TimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return "the server does not answer" if isinstance(error, exceptions.ConnectTimeoutError) else \
            f"nothing came for {STALL_S:.0f} s"
    if isinstance(error, exceptions.ProtocolError) and "ncomplete" in str(error):
        return "the connection was cut"
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return " ".join(str(error.args[0] if error.args else error).split())[:200] or type(error).__name__


def _whole(answer: BaseHTTPResponse, at_most: int, remote: Remote) -> bytes:
    """The body, read no further and no longer than it may go."""
    parts, size, until = [], 0, time.monotonic() + _DOCUMENT_S
    while part := answer.read1(1 << 16, decode_content=False):
        size += len(part)
        if time.monotonic() > until:
            raise Failure("network", f"{remote.shown} has not come within {_DOCUMENT_S:.0f} s",
                          "run it again later, or use another server", data={"url": remote.shown})
        if size > at_most:
            raise Failure("size-mismatch", f"{remote.shown} is larger than the {at_most} bytes that it may have",
                          "the server is broken or hostile; don't use it")
        parts.append(part)
    return b"".join(parts)


def _joined(url: str, target: str, remote: Remote) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise _no_address(remote) from None


def _no_address(remote: Remote) -> Failure:
    return Failure("network", f"{remote.shown} leads to something that is no address", "check the address")


def _presume_allowed(url: str, remote: Remote) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _no_address(remote) from None
    if parts.scheme == "https" and host:
        return parts
    if parts.scheme != "http" or not host:
        raise Failure("network", f"{remote.shown} leads to something that is neither https nor http")
    if not remote.insecure and not is_loopback(host):
        raise Failure("insecure", f"{_shown(url)} is not encrypted: anybody on the way could change it",
                      "use https", data={"url": _shown(url)})
    return parts


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _shown(url: str) -> str:
    return Remote(url).shown


def _retry_after(said: str | None) -> float | None:
    """Seconds, from either of the header's two spellings."""
    if said is None:
        return None
    if said.strip().isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
