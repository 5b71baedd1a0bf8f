"""Is it ready? Only when the engine that *we* started has answered one real request of its task.

`/health` alone has been seen to lie (a vLLM that was healthy until its first request killed it), and an orphan has
been seen to answer for the engine that could not bind. So: the peer of the socket must be our process, and it must
generate a token, or make an embedding, or rank a document.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from modelkit.contract import effective
from modelkit.engines.expected import differences
from modelkit.failure import Failure
from modelkit.runtime.identity import LINUX, command_of, in_session

_HEALTH = 5.0  # seconds for one look; an engine that is loading may accept and not answer
_REPLY = 4 * 1024 * 1024
_LOCAL_PEERPID = 2  # macOS


class _Question(NamedTuple):
    """The smallest request of a task, and the field of its answer that must have something in it."""

    path: str
    body: dict[str, Any]
    answer: str


_QUESTIONS = {
    "chat": _Question("/v1/chat/completions", {"max_tokens": 1, "messages": [{"role": "user", "content": "ping"}]},
                      "choices"),
    "embed": _Question("/v1/embeddings", {"input": "ping"}, "data"),
    "rerank": _Question("/v1/rerank", {"query": "ping", "documents": ["pong"]}, "results"),
}


class NotYet(Exception):
    """It may still become ready; the text says what is missing."""


@dataclass
class Probe:
    """Asks one starting engine until it answers; `waiting_for` says what it waits for."""

    socket: Path
    leader: int
    model: str
    logprobs: bool = False
    task: str = "chat"
    expected: Mapping[str, Any] = field(default_factory=dict)  # see `engines.expected`
    waiting_for: str = "it does not listen yet"

    async def ready(self, every: float) -> None:
        """Returns after the first real answer, by an engine that is as planned.

        Raises Failure when the engine answers that one with an error, or has something else than was planned.
        """
        while True:
            try:
                async with asyncio.timeout(_HEALTH):
                    status, _ = await self._ask("GET", "/health")
                if status != 200:
                    raise NotYet(f"/health answers {status}")
                await self._answers()
                await self._presume_as_planned()
                return
            except NotYet as reason:
                self.waiting_for = str(reason)
            except TimeoutError:
                self.waiting_for = "it accepts connections, but does not answer"
            except OSError as error:
                self.waiting_for = f"it does not listen yet ({error.strerror or error})"
            except http.client.HTTPException:
                self.waiting_for = "it does not speak HTTP"
            await asyncio.sleep(every)

    async def _answers(self) -> None:
        asked = _QUESTIONS[self.task]
        body = {"model": self.model, **asked.body} | ({"logprobs": True} if self.logprobs else {})
        status, reply = await self._ask("POST", asked.path, json.dumps(body).encode())
        if status in (429, 503):
            raise NotYet(f"a request is answered with {status}")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if status == 200 and json.loads(reply)[asked.answer]:
                return
        raise Failure("engine-not-working", f"the engine answered its first request with {status}",
                      detail=tuple(reply.decode(errors="replace").splitlines()[:20]))

    async def _presume_as_planned(self) -> None:
        if not self.expected:
            return
        status, reply = await self._ask("GET", effective.PATH)
        try:
            found = effective.Effective.from_json(json.loads(reply))
        except (ValueError, AttributeError):
            raise Failure("engine-not-as-planned", f"the engine does not say what it has: it answers {status}",
                          detail=tuple(reply.decode(errors="replace").splitlines()[:5])) from None
        if wrong := differences(self.expected, found):
            raise Failure("engine-not-as-planned", f"the engine runs, but not as planned: {wrong[0]}",
                          "a FLAG or the engine's own configuration overrides the Modelfile; `modelkit logs` may say "
                          "which", detail=tuple(str(one) for one in wrong[1:]))

    async def _ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        return await ask(self.socket, method, target, body, leader=self.leader)


async def ask(path: Path, method: str, target: str, body: bytes = b"", *, leader: int | None = None
              ) -> tuple[int, bytes]:
    """One request on a Unix socket: the answer's status and body. `leader` is the process that has to answer.

    Raises NotYet, OSError or HTTPException.
    """
    reader, writer = await _connect(path, leader)
    try:
        writer.write(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        received = bytearray()
        while chunk := await reader.read(65536):
            received += chunk
            if len(received) > _REPLY:
                raise NotYet("its answer has no end")
    finally:
        writer.close()
    response = http.client.HTTPResponse(_Received(bytes(received)), method=method)  # type: ignore[arg-type]
    response.begin()
    return response.status, response.read()


async def _connect(path: Path, leader: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, str(path))
        peer = peer_pid(connection)
        if peer is not None and leader is not None and not in_session(peer, leader):
            raise NotYet(f"another process answers on its socket: pid {peer} `{command_of(peer)[:120]}`")
        return await asyncio.open_unix_connection(sock=connection)
    except BaseException:
        connection.close()
        raise


class _Received:
    """What http.client needs of a socket, once everything has arrived."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._text)


def peer_pid(connection: socket.socket) -> int | None:
    """Who listens at the other end of a Unix socket; None where the system does not say."""
    with contextlib.suppress(OSError):
        if LINUX:
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(pid) or None
        return int.from_bytes(connection.getsockopt(0, _LOCAL_PEERPID, 4), "little") or None
    return None


def peer_uid(connection: socket.socket) -> int | None:
    """The user at the other end of a Unix socket; None where the system does not say."""
    if not LINUX:
        return None
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
