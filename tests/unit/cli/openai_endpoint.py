"""An OpenAI endpoint in a thread: counts tokens by words, streams its answers, needs a key if it has one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def endpoint(answer: Callable[[str], str], *, key: str | None = None) -> Iterator[str]:
    """Its address. `answer` is what it says to the last message."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if key is not None and self.headers["authorization"] != f"Bearer {key}":
                return self._say(401, json.dumps({"error": {"message": "wrong key"}}))
            asked = body["messages"][-1]["content"]
            words = answer(asked).split(" ")[:body.get("max_tokens", 99)]
            usage = {"prompt_tokens": 5 + len(asked.split()), "completion_tokens": len(words)}
            events: list[dict[str, Any]] = [
                {"choices": [{"index": 0, "delta": {"content": f"{' ' if at else ''}{word}"}}]}
                for at, word in enumerate(words)]
            events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            events.append({"choices": [], "usage": usage})
            self._say(200, "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")

        def _say(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
