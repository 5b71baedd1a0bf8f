"""One HTTP exchange with an engine over its Unix socket. For modelkit's own questions, not for traffic."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from modelkit.failure import Failure


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def call(socket_path: str, path: str, body: dict[str, Any] | None = None, *, timeout: float = 120.0) -> dict[str, Any]:
    """POST `body` (GET without one) to the engine and return its JSON object.

    Raises Failure `engine-unreachable` when nobody answers, `engine-refused` with the engine's own message otherwise.
    """
    connection = _UnixConnection(socket_path, timeout)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        raw = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failure("engine-unreachable", f"the engine did not answer {path}: {error}",
                      hint="modelkit logs shows its last words") from None
    finally:
        connection.close()
    try:
        answer = json.loads(raw)
    except ValueError:
        answer = None
    if response.status >= 400 or not isinstance(answer, dict):
        raise Failure("engine-refused", f"the engine answered {path} with {response.status}: {_said(answer, raw)}")
    return answer


def _said(answer: Any, raw: bytes) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    if isinstance(error, dict) and "message" in error:
        return str(error["message"])
    return raw[:200].decode(errors="replace")
