"""A model that says what a script says, by the last thing that it was told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from modelkit.language.check import compile_source
from modelkit.language.modelfile import Modelfile
from modelkit.language.source import Source
from modelkit.release.client import Answer, ToolCall

HEAD = "NAME m\nFROM ./m.gguf\n"


def modelfile(text: str, path: str = "Modelfile") -> Modelfile:
    """A Modelfile of TESTs, presumed good."""
    found, diagnostics = compile_source(Source(path, HEAD + text))
    assert found is not None, diagnostics
    return found


def answer(text: str = "", **said: Any) -> Answer:
    """A whole answer as the client gives it, by default of as many tokens as it has words."""
    calls = tuple(ToolCall(name, arguments) for name, arguments in said.pop("calls", ()))
    said.setdefault("finish_reason", "tool_calls" if calls else "stop")
    said.setdefault("usage", {"completion_tokens": max(1, len(text.split()))})
    return Answer(text, tool_calls=calls, status=200, **said)


@dataclass
class Scripted:
    """An asker without an engine. `script` by the last message's content; a function gets the request, a list is
    used up and its last answer stays."""

    script: dict[str, Any]
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def chat(self, body: dict[str, Any]) -> Answer:
        self.asked.append(body)
        said = self.script[body["messages"][-1]["content"]]
        if callable(said):
            said = said(body)
        if isinstance(said, list):
            said = said.pop(0) if len(said) > 1 else said[0]
        return answer(said) if isinstance(said, str) else said


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/modelkit/effective" and self.server.effective is not None:
            return self._json(200, self.server.effective)
        return self._json(404, {"error": {"message": "no such route"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body, dict(self.headers)))
        if self.path.endswith("/embeddings"):
            vectors = [self.server.vectors[text] for text in body["input"]]
            return self._json(200, {"data": [{"index": i, "embedding": v} for i, v in enumerate(vectors)]})
        said = self.server.script(body)
        if isinstance(said, tuple):
            return self._json(said[0], {"error": {"message": said[1]}})
        return self._stream(said)

    def _json(self, status: int, value: Any) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self, said: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        words = said.split(" ")
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": word if n == 0 else f" {word}"}}]}
            for n, word in enumerate(words)]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({"choices": [], "usage": {"completion_tokens": len(words)}})
        for chunk in chunks:
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True


class Server(ThreadingHTTPServer):
    """An OpenAI endpoint over HTTP. `script(body)` gives a text, or (status, message)."""

    daemon_threads = True

    def __init__(self, script: Any, effective: Any = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script, self.effective = script, effective
        self.vectors: dict[str, list[float]] = {}
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


@contextmanager
def serving(script: Any, effective: Any = None) -> Iterator[Server]:
    """A server for as long as the block."""
    server = Server(script, effective)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
