"""The supervisor's ear: requests over the control socket, from the same user only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from modelkit.failure import Failure
from modelkit.runtime.probe import peer_uid
from modelkit.runtime.wire import LINE, Message, decode, encode, failure_as_json

_BEHIND = 1024 * 1024  # unread bytes; beyond it a client misses events that are only worth seeing now
_LOST = 16 * LINE


class Ask:
    """One request under way, and the one who waits for it. `gone` resolves when they do not wait any more."""

    def __init__(self, connection: Connection, request: Message) -> None:
        self.connection, self.request = connection, request
        self.op = str(request.get("op"))

    @property
    def gone(self) -> asyncio.Future[None]:
        return self.connection.gone

    def say(self, event: Message) -> None:
        self.connection.send({"id": self.request.get("id"), **event})


class Connection:
    """One client of the control socket."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer = writer

    def send(self, message: Message) -> None:
        """Never waits: a client that does not read loses log lines first, and its connection in the end."""
        waiting = self._writer.transport.get_write_buffer_size()
        if self.gone.done() or (message.get("event") == "log" and waiting > _BEHIND):
            return
        if waiting > _LOST:
            self._writer.transport.abort()
            return
        self._writer.write(encode(message))

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()
            async with asyncio.timeout(2):  # the last event should arrive
                await self._writer.wait_closed()

    def lost(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class Control:
    """Listens on the control socket and gives each request to `handle`, which returns its result or raises Failure."""

    def __init__(self, handle: Callable[[Ask], Awaitable[Message]]) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: set[Connection] = set()
        self.ever = False  # somebody has connected

    async def listen(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._connected, sock=_bind(path), limit=LINE, backlog=256)

    async def close(self) -> None:
        """Stop listening; let everybody read their last event."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)
        await asyncio.gather(*(connection.close() for connection in self.connections), return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer_uid(writer.get_extra_info("socket")) not in (None, os.getuid()):
            writer.close()
            return
        connection = Connection(writer)
        self.connections.add(connection)
        self.ever = True
        try:
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(Ask(connection, decode(line))))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (OSError, ValueError):  # gone, or not our language
            pass
        finally:
            self.connections.discard(connection)
            connection.lost()
            writer.close()

    async def _answer(self, ask: Ask) -> None:
        try:
            ask.say({"event": "done", "result": await self._handle(ask)})
            return
        except Failure as known:
            failure = known
        except asyncio.CancelledError:
            failure = Failure("going-down", "the project is being shut down", "run it again in a moment")
        except Exception as bug:
            with contextlib.suppress(OSError):
                traceback.print_exc(file=sys.stderr)
            failure = Failure("internal", f"the supervisor has a bug: {type(bug).__name__}: {bug}",
                              "its log has the details", tuple(traceback.format_exc().splitlines()[-8:]))
        ask.say({"event": "failed", "failure": failure_as_json(failure)})


def _bind(path: Path) -> socket.socket:
    """A private socket at `path`: what may lie there is a dead supervisor's, for we hold the lock."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        path.chmod(0o600)
    except OSError:
        listening.close()
        raise
    return listening
