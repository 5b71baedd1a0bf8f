"""Take a TCP address before anything is started, or say who has it."""

from __future__ import annotations

import contextlib
import errno
import socket
from itertools import takewhile

from modelkit.failure import Failure
from modelkit.runtime.edge.access import is_loopback

BACKLOG = 1024
_PORT_TRIES = 16


def bind(host: str, port: int, *, keyed: bool = False) -> list[socket.socket]:
    """Listening sockets on `host`: both loopback families for `localhost`, the same port on each; port 0 picks one.

    They listen at once, since two sockets that are only bound can share an address. Raises Failure `key-required`
    for an address that others can reach when no API key is set, `port-busy` naming the holder, `bad-address`.
    """
    if not 0 <= port <= 65535:
        raise Failure("bad-address", f"{port} is not a port", "use a port from 1 to 65535, or 0 for a free one")
    if not keyed and not is_loopback(host):
        raise Failure("key-required", f"`{host or '*'}` can be reached from other machines and no API key is set",
                      "set MODELKIT_API_KEY, or serve on 127.0.0.1")
    addresses = _addresses(host)
    for tried in range(_PORT_TRIES):
        taken: list[socket.socket] = []
        try:
            for family, address in addresses:
                if opened := _listen(family, address, taken[0].getsockname()[1] if taken else port):
                    taken.append(opened)
            if taken:
                return taken
            raise Failure("bad-address", f"`{host}` is not an address of this machine", "serve on 127.0.0.1")
        except OSError as error:
            for opened in taken:
                opened.close()
            # A free port of one family can be busy in the other: pick again.
            if port == 0 and error.errno == errno.EADDRINUSE and tried + 1 < _PORT_TRIES:
                continue
            raise _failure(host, port, error) from None
    raise AssertionError("unreachable")


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if host.lower() == "localhost":
        # Both, because a client may try either: else another program's ::1 could answer for us.
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    try:
        found = socket.getaddrinfo(host.strip("[]") or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failure("bad-address", f"`{host}` is not an address: {error}", "serve on 127.0.0.1") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket | None:
    """A listening socket; None when this machine has no such address family or address."""
    try:
        opened = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None  # no IPv6 here
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address, port))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None
        raise
    return opened


def _failure(host: str, port: int, error: OSError) -> Failure:
    if error.errno == errno.EADDRINUSE:
        pid, command = holder(port)
        who = f" by `{command}` (pid {pid})" if pid else ""
        return Failure("port-busy", f"port {port} is in use{who}",
                       "stop that program, or take another port with `--port` (`--port 0` picks a free one)",
                       data={"port": port} | ({"pid": pid, "command": command} if pid else {}))
    if error.errno == errno.EACCES:
        return Failure("port-refused", f"port {port} needs more rights than this user has", "use a port above 1023")
    return Failure("bad-address", f"cannot listen on `{host}` port {port}: {error.strerror}", "serve on 127.0.0.1")


def _shown(words: list[str]) -> str:
    """The beginning of a command line, up to its long options: one of those may hold a secret.

    >>> _shown(["python3", "-m", "http.server", "8080"]), _shown(["llama-server", "--api-key", "secret"])
    ('python3 -m http.server 8080', 'llama-server')
    """
    return " ".join(takewhile(lambda word: not word.startswith("--"), words[:4]))[:80]


def holder(port: int) -> tuple[int | None, str]:
    """The process that listens on `port`, as far as this user may know: its pid and its command."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:] == (port,):
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(connection.pid)
                    return connection.pid, _shown(process.cmdline()) or process.name()
                return connection.pid, "?"
    return None, ""
