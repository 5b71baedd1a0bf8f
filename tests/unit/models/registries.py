"""A registry in memory, on loopback, with the vices that no real one shows on demand."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.models.servers import sha256

OCI = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    endless: bool = False
    trickle: float = 0.0  # seconds between the bytes of an endless one


@dataclass
class Registry:
    """What it has, what it asks for, and `seen`: method, path and Authorization of every request."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)  # by `name:tag` and `name@digest`
    uploads: dict[str, bytearray] = field(default_factory=dict)
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    oddly: Callable[[str, str], Answer | None] = lambda method, path: None  # what it answers instead
    challenge: str = ""  # asks for a token
    tokens: list[str] = field(default_factory=list)  # those that count; each is given out once by /token
    basic: str = ""  # what /token wants
    uses: int = 0  # after so many requests the token does not count any more
    blobs_at: str = ""  # another origin, where blobs are
    cut_uploads: list[int] = field(default_factory=list)  # bytes after which the next ones are cut
    resumes: bool = True
    host: str = ""

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def publish(self, name: str, *layers: tuple[str, bytes], config: dict[str, Any] | None = None,
                **changes: Any) -> str:
        """Have an artifact under `name:tag`; the manifest's digest."""
        said = [{"mediaType": kind, "digest": sha256(data), "size": len(data)} for kind, data in layers]
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI, "layers": said,
                           "config": config or {"mediaType": "a/config", "digest": sha256(b"{}"), "size": 2}} | changes)
        self.blobs |= {sha256(data): data for _, data in layers}
        return self.put(name, body.encode())

    def put(self, name: str, body: bytes) -> str:
        digest = sha256(body)
        self.manifests |= {name: body, f"{name.rpartition(':')[0]}@{digest}": body}
        return digest


class _Handler(BaseHTTPRequestHandler):
    owner: Registry
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _any(self) -> None:
        owner, parts = self.owner, urlsplit(self.path)
        owner.seen.append((self.command, self.path, self.headers.get("Authorization", "")))
        odd = owner.oddly(self.command, self.path)
        if odd is not None or parts.path == "/token":
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return self._say(odd) if odd is not None else self._token()
        if owner.challenge and not self._may():
            return self._say(Answer(401, {"WWW-Authenticate": owner.challenge}))
        if parts.path == "/v2/":
            return self._say(Answer(200))
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs/uploads|blobs)/(.*)", parts.path)
        if match is None:
            return self._say(Answer(404))
        name, what, rest = match.groups()
        if what == "manifests":
            return self._manifest(f"{name}{'@' if ':' in rest else ':'}{rest}", name)
        if what == "blobs":
            return self._blob(rest)
        self._upload(f"/v2/{name}/blobs/uploads/", rest, parse_qs(parts.query).get("digest", [""])[0])

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _any

    def _may(self) -> bool:
        owner = self.owner
        given = self.headers.get("Authorization")
        if given is None or given not in (owner.basic, *(f"Bearer {token}" for token in owner.tokens[:1])):
            return False
        if owner.uses:
            owner.uses -= 1
            if not owner.uses:
                owner.tokens.pop(0)
                owner.tokens.append("next")
        return True

    def _token(self) -> None:
        if self.owner.basic and self.headers.get("Authorization") != self.owner.basic:
            return self._say(Answer(401, body=b'{"errors": [{"code": "DENIED", "message": "who?"}]}'))
        self._say(Answer(200, body=json.dumps({"token": self.owner.tokens[0]}).encode()))

    def _manifest(self, key: str, name: str) -> None:
        if self.command == "PUT":
            body = self.rfile.read(int(self.headers["Content-Length"]))
            digest = self.owner.put(key.replace(f"{name}@", f"{name}:"), body)
            return self._say(Answer(201, {"Docker-Content-Digest": digest}))
        body = self.owner.manifests.get(key, b"")
        self._say(Answer(200, {"Docker-Content-Digest": sha256(body)}, body) if body else Answer(404))

    def _blob(self, digest: str) -> None:
        if (data := self.owner.blobs.get(digest)) is None:
            return self._say(Answer(404))
        if self.owner.blobs_at:
            return self._say(Answer(307, {"Location": f"{self.owner.blobs_at}/{digest}?signature=s"}))
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start is None:
            return self._say(Answer(200, {"Docker-Content-Digest": digest}, data))
        at = int(start[1])
        self._say(Answer(206, {"Content-Range": f"bytes {at}-{len(data) - 1}/{len(data)}"}, data[at:]))

    def _upload(self, base: str, session: str, digest: str) -> None:
        owner, length = self.owner, int(self.headers.get("Content-Length") or 0)
        if self.command == "POST":
            session = f"s{len(owner.uploads)}"
            owner.uploads[session] = bytearray()
            return self._say(Answer(202, {"Location": f"{base}{session}?state=x"}))
        if (there := owner.uploads.get(session)) is None or (self.command == "GET" and not owner.resumes):
            self.rfile.read(length)
            return self._say(Answer(404))
        begun = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if begun is not None and int(begun[1]) != len(there):
            return self._say(Answer(416))
        if length and not self._receive(there, length):
            return
        if self.command != "PUT":
            headers = {"Location": f"{base}{session}?state=x", "Range": f"0-{max(len(there) - 1, 0)}"}
            return self._say(Answer(202 if self.command == "PATCH" else 204, headers))
        if sha256(bytes(there)) != digest:
            return self._say(Answer(400, body=b'{"errors": [{"code": "DIGEST_INVALID", "message": "it is not"}]}'))
        owner.blobs[digest] = bytes(there)
        self._say(Answer(201, {"Docker-Content-Digest": digest}))

    def _receive(self, there: bytearray, length: int) -> bool:
        """Take a body; False when it was cut."""
        cut = self.owner.cut_uploads.pop(0) if self.command == "PATCH" and self.owner.cut_uploads else None
        while length and (cut is None or cut > 0):
            block = self.rfile.read(min(length, 1 << 16))
            there += block
            length -= len(block)
            cut = None if cut is None else cut - len(block)
        if cut is None:
            return True
        self.close_connection = True
        return False

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.endless:
            self.close_connection = True
        elif answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        try:
            if self.command != "HEAD":
                self.wfile.write(answer.body)
                while answer.endless:
                    self.wfile.write(b" " if answer.trickle else bytes(1 << 16))
                    time.sleep(answer.trickle)
        except OSError:
            self.close_connection = True


@contextmanager
def serving() -> Iterator[Registry]:
    """One that runs."""
    registry = Registry()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": registry}))
    http.daemon_threads = True
    registry.host = f"127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=lambda: http.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        http.shutdown()
        http.server_close()
        thread.join(5)
