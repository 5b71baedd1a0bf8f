"""An engine's Unix socket as an address for programs that know TCP only.

Only who sends the key that is made for it gets through, and only on this machine: the socket itself is for this user
alone, and a port is not. The key is asked for once a connection; what follows is relayed as it comes.
"""

from __future__ import annotations

import asyncio
import hmac
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from modelkit.release.client import Target

_MOST_HEAD = 64 * 1024  # bytes of a request's head
_BLOCK = 64 * 1024
_REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


@contextmanager
def bridged(target: Target) -> Iterator[Target]:
    """The target with an address of TCP, for as long as the block lasts; itself where it has one. Relays in a thread
    of its own."""
    if target.socket is None:
        yield target
        return
    key, ready = secrets.token_urlsafe(24), queue.SimpleQueue[_Bridge | OSError]()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(str(target.socket), key, ready)), daemon=True)
    thread.start()
    bridge = ready.get()
    if isinstance(bridge, OSError):
        raise bridge
    try:
        yield replace(target, base_url=f"http://127.0.0.1:{bridge.port}/v1", socket=None, key=key)
    finally:
        bridge.end()
        thread.join()


@dataclass(frozen=True)
class _Bridge:
    port: int
    end: Callable[[], object]


async def _serve(socket: str, key: str, ready: queue.SimpleQueue[_Bridge | OSError]) -> None:
    relays, over, loop = set[asyncio.Task[None]](), asyncio.Event(), asyncio.get_running_loop()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        try:
            await _relay(reader, writer, socket, key)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # either side went away, or it was no HTTP
        finally:
            relays.discard(task)
            writer.close()

    try:
        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_MOST_HEAD)
    except OSError as error:
        ready.put(error)
        return
    ready.put(_Bridge(server.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(over.set)))
    await over.wait()
    server.close()
    for relay in relays:
        relay.cancel()
    await asyncio.gather(*relays, return_exceptions=True)


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, socket: str, key: str) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not _has(head, key):
        writer.write(_REFUSED)
        await writer.drain()
        return
    inside, outside = await asyncio.open_unix_connection(socket)
    outside.write(head)
    ways = [asyncio.create_task(_pump(inside, writer)), asyncio.create_task(_pump(reader, outside))]
    try:  # when either side is gone, nobody needs the other
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        outside.close()


def _has(head: bytes, key: str) -> bool:
    sent = [value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            if name.strip().lower() == b"authorization"]
    return len(sent) == 1 and hmac.compare_digest(sent[0], b"Bearer " + key.encode())


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(_BLOCK):
            writer.write(block)
            await writer.drain()
