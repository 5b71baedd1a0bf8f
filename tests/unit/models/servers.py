"""A file server on loopback that knows ranges and, on demand, every vice that a server can have."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class File:
    """What the server has under a path, and how it misbehaves about it."""

    data: bytes = b""
    etag: str | None = None  # of its own if None; "" for none
    ranges: bool = True
    says_length: int | None = None  # a lie
    chunked: bool = False
    mute: bool = False  # says no length at all
    endless: bool = False
    cut_after: list[int] = field(default_factory=list)  # bytes after which the next answers are cut
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # what the next answers are instead
    redirect: str | None = None
    stall_after: int | None = None
    slow: float = 0.0  # seconds between 64 KiB
    token: str | None = None
    wrong_range: bool = False
    runs_out: list[int] = field(default_factory=list)  # the next answers, counted from 0, that are 403
    changes: list[bytes] = field(default_factory=list)  # what it is from the next answer on

    @property
    def tag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"' if self.etag is None else self.etag


class Server:
    """`files` by path, and `seen`: method, path and headers of every request."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.sent = 0
        self.stop = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # those who leave in the middle
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def requests(self, path: str) -> list[dict[str, str]]:
        return [headers for _, at, headers in self.seen if at == path]


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        owner, path = self.owner, self.path
        owner.seen.append((self.command, path, {name.title(): value for name, value in self.headers.items()}))
        file = owner.files.get(path.partition("?")[0])
        if file is None:
            return self._say(404)
        if file.statuses:
            status, headers = file.statuses.pop(0)
            return self._say(status, headers)
        file.runs_out = [number - 1 for number in file.runs_out]
        if -1 in file.runs_out:
            return self._say(403)
        if file.token is not None and self.headers.get("Authorization") != f"Bearer {file.token}":
            return self._say(401)
        if file.redirect is not None:
            return self._say(302, {"Location": file.redirect})
        if file.changes and not self.headers.get("Range", "bytes=0-").startswith("bytes=0-"):
            file.data = file.changes.pop(0)
        self._give(file)

    do_HEAD = do_GET

    def _say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def _give(self, file: File) -> None:
        data, start, end = file.data, 0, len(file.data)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, file.tag)
        if file.ranges and asked and same:
            start, end = int(asked[1]), min(int(asked[2]) + 1 if asked[2] else end, end)
            if start >= len(data):
                return self._say(416, {"Content-Range": f"bytes */{len(data)}"})
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start + file.wrong_range}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        if file.tag:
            self.send_header("ETag", file.tag)
        if file.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif file.says_length is not None:
            self.send_header("Content-Length", str(file.says_length))
            self.close_connection = True
        elif file.mute or file.endless:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self._send(file, data[start:end])
        except OSError:
            self.close_connection = True

    def _send(self, file: File, body: bytes) -> None:
        cut, sent = file.cut_after.pop(0) if file.cut_after else None, 0
        while (sent < len(body) or file.endless) and not self.owner.stop.is_set():
            part = body[sent:sent + (1 << 16)] or bytes(1 << 16)
            if cut is not None and sent + len(part) >= cut:
                self.wfile.write(part[:cut - sent])
                self.connection.close()
                self.close_connection = True
                return
            if file.stall_after is not None and sent >= file.stall_after:
                self.owner.stop.wait(60)
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if file.chunked else part)
            sent += len(part)
            self.owner.sent += len(part)
            if file.slow:
                time.sleep(file.slow)
        if file.chunked:
            self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving(files: dict[str, File] | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    if tls is not None:
        server.http.socket = tls.wrap_socket(server.http.socket, server_side=True, do_handshake_on_connect=False)
        server.url = server.url.replace("http:", "https:")
    server.files.update(files or {})
    thread = threading.Thread(target=lambda: server.http.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join(5)


Observed = list[tuple[int, int | None, str]]


def observer() -> tuple[Observed, Callable[[int, int | None, str], None]]:
    """A list, and the progress that writes into it."""
    seen: Observed = []
    return seen, lambda done, total, label: seen.append((done, total, label))
