"""Who may call: API keys by their hashes, and the Host names that are ours."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_REMEMBERED = 256


def key_hash(key: str) -> bytes:
    """What `Access` keeps of a key."""
    return hashlib.sha256(key.encode()).digest()


@dataclass(frozen=True)
class Access:
    """The accepted keys, by hash (none: no key is asked for), and the Host names that are ours.

    The names are lower case, without port or brackets.
    """

    key_hashes: tuple[bytes, ...] = ()
    hosts: frozenset[str] = LOOPBACK
    _judged: dict[bytes, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    def knows_key(self, offered: Iterable[bytes]) -> bool:
        """Whether one of the offered keys is accepted; takes the same time whichever it is, and if none is."""
        found = False
        for key in offered:
            digest = hashlib.sha256(key).digest()
            for known in self.key_hashes:
                found |= compare_digest(digest, known)
        return found

    def allows_host(self, value: bytes) -> bool:
        """Whether a Host header names us, with any port."""
        judged = self._judged.get(value)
        if judged is None:
            judged = host_name(value) in self.hosts
            if len(self._judged) < _REMEMBERED:  # a client can make up any number of them
                self._judged[value] = judged
        return judged


def host_name(value: bytes) -> str | None:
    """The name in a Host header, lower case, without port and brackets; None if it is not one.

    >>> host_name(b"LocalHost:8080"), host_name(b"[::1]:8080"), host_name(b"a@b")
    ('localhost', '::1', None)
    """
    if not value.isascii():
        return None
    text = value.decode().lower()
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        name = text
    elif port and not port.isdigit():
        return None
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1] if _is_address(name[1:-1], 6) else None
    return name if name and all(c.isalnum() or c in "-._" for c in name) else None


def allowed_hosts(bound: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The Host names to accept when bound to `bound`: loopback's, its own and `more`.

    Bound to every interface, this machine's name and addresses are its own names.
    """
    names = set(LOOPBACK) | {name.lower().strip("[]") for name in more}
    if bound in _WILDCARDS:
        names |= {socket.gethostname().lower()} | _own_addresses()
    else:
        names.add(bound.lower().strip("[]"))
    return frozenset(names)


def is_loopback(host: str) -> bool:
    """Whether binding to `host` can only be reached from this machine."""
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _own_addresses() -> set[str]:
    import psutil

    return {address.address.partition("%")[0].lower() for addresses in psutil.net_if_addrs().values()
            for address in addresses if address.family in (socket.AF_INET, socket.AF_INET6)}


def _is_address(text: str, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(text).version == (version or ipaddress.ip_address(text).version)
    except ValueError:
        return False
