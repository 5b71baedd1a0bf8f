"""A Hugging Face Hub on loopback, as far as `huggingface_hub` asks: repositories with commits, branches and gates."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

LARGE = (".gguf", ".safetensors", ".bin")


@dataclass
class Repository:
    """Commits by id, branches by name. `altered` is what the server gives in the place of a file's bytes."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False
    altered: dict[str, bytes] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # lies about them
    cut: dict[str, int] = field(default_factory=dict)  # files that break off once, after so many bytes
    tags: tuple[str, ...] = ()
    downloads: int = 0

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        names = json.dumps(sorted((path, hashlib.sha1(data).hexdigest()) for path, data in files.items()))
        commit = hashlib.sha1(names.encode()).hexdigest()
        self.commits[commit] = files
        self.branches[branch] = commit
        return commit


class HubServer:
    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.endless: str | None = None  # the addresses with this in them never end
        self.stop = threading.Event()
        self.answer: bytes | None = None  # in the place of every answer of the API
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def add(self, name: str, files: dict[str, bytes]) -> tuple[Repository, str]:
        repository = self.repositories.setdefault(name, Repository())
        return repository, repository.commit(files)

    def fetched(self) -> list[str]:
        """The paths of the files whose content was asked for."""
        return [path.rpartition("/resolve/")[2].partition("/")[2] for method, path, _ in self.seen
                if method == "GET" and "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.seen.append((self.command, path, dict(self.headers.items())))
        if path == "/api/models":
            return self._models(parse_qs(self.path.partition("?")[2]))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self._model(match[1], match[2] or "main")
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(match[1], match[2], match[3])
        self._refuse(404, None)

    do_HEAD = do_GET

    def _opened(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """The repository and the commit, or an error is said."""
        repository = self.hub.repositories.get(name)
        allowed = repository is not None and repository.token is not None and \
            self.headers.get("Authorization") == f"Bearer {repository.token}"
        if repository is None or (repository.token is not None and not allowed and not repository.gated):
            self._refuse(401 if "Authorization" not in self.headers else 404, "RepoNotFound")
            return None
        if repository.gated and not allowed:
            self._refuse(403, "GatedRepo")
            return None
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            self._refuse(404, "RevisionNotFound")
            return None
        return repository, commit

    def _models(self, query: dict[str, list[str]]) -> None:
        """Those with a tag; private ones are nobody's to see."""
        found = [{"id": name, "tags": repository.tags, "downloads": repository.downloads}
                 for name, repository in self.hub.repositories.items()
                 if set(query["filter"]) <= set(repository.tags) and repository.token is None]
        found.sort(key=lambda one: -one["downloads"])
        body = self.hub.answer or json.dumps(found[:int(query["limit"][0])]).encode()
        self._say(200, body, {"Content-Type": "application/json"})

    def _model(self, name: str, revision: str) -> None:
        if (opened := self._opened(name, revision)) is None:
            return
        repository, commit = opened
        siblings: list[dict[str, Any]] = []
        for path, data in repository.commits[commit].items():
            size = repository.sizes.get(path, len(data))
            said: dict[str, Any] = {"rfilename": path, "size": size, "blobId": _git_name(data)}
            if path.endswith(LARGE):
                said["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "pointerSize": 130}
            siblings.append(said)
        body = self.hub.answer or json.dumps({"_id": "1", "id": name, "sha": commit, "siblings": siblings,
                                               "tags": repository.tags}).encode()
        self._say(200, body, {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str) -> None:
        if (opened := self._opened(name, revision)) is None:
            return
        repository, commit = opened
        if (data := repository.commits[commit].get(path)) is None:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        sha256 = hashlib.sha256(data).hexdigest()
        etag = sha256 if path.endswith(LARGE) else _git_name(data)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if path.endswith(LARGE):
            headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(data))}
        data, cut = repository.altered.get(path, data), None
        if self.command == "GET":
            cut = repository.cut.pop(path, None)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(asked[1]), min(int(asked[2] or len(data) - 1) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            return self._say(206, data[start:end], headers, cut)
        self._say(200, data, headers, cut)

    def _refuse(self, status: int, code: str | None, headers: dict[str, str] | None = None) -> None:
        self._say(status, b"{}", {**({"X-Error-Code": code} if code else {}), **(headers or {})})

    def _say(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        endless = self.hub.endless and self.hub.endless in self.path and self.command == "GET"
        length = {"Transfer-Encoding": "chunked"} if endless else {"Content-Length": str(len(body))}
        body = b"" if endless else body
        for name, value in {**length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])
        while endless and not self.hub.stop.is_set():
            self.wfile.write(b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20)))
        if cut is not None:
            self.close_connection = True


def _git_name(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def hub_server() -> Iterator[HubServer]:
    hub = HubServer()
    thread = threading.Thread(target=lambda: hub.http.serve_forever(0.02), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stop.set()
        hub.http.shutdown()
        hub.http.server_close()
        thread.join(5)


def ask_only(server: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `huggingface_hub` in this process know this server alone, with an empty cache and no token."""
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        server.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
