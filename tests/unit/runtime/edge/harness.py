"""Real sockets around an edge: an engine that follows a script, and clients that send bytes as they are."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from modelkit.runtime.edge import Access, Edge, EdgeLimits, Upstream, bind

JSON = b"Content-Type: application/json\r\n"
VERSION = "0123456789ab"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def event(text: str) -> bytes:
    """One server-sent event as one chunk."""
    data = b"data: " + text.encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def post(body: bytes = b"{}", *headers: bytes, path: bytes = b"/v1/chat/completions", host: bytes = b"localhost",
         length: int | None = None) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: " + host, b"Content-Type: application/json",
             b"Content-Length: %d" % (len(body) if length is None else length), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(path: bytes, *headers: bytes, method: bytes = b"GET", host: bytes = b"localhost",
        version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, path, version), b"Host: " + host, *headers]) + b"\r\n\r\n"


class Call:
    """One connection that the engine accepted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: list[bytes]) -> None:
        self.reader, self.writer, self.requests = reader, writer, requests

    async def request(self) -> bytes:
        """The next request, whole; also kept in `Engine.requests`. Raises IncompleteReadError at the end."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        body = b""
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            while not body.endswith(b"0\r\n\r\n"):
                body += await self.reader.readuntil(b"\r\n")
        elif b"\r\ncontent-length: " in lower:
            body = await self.reader.readexactly(int(lower.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]))
        self.requests.append(head + body)
        return head + body

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def gone(self) -> None:
        """Returns when the edge has closed this connection."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script = Callable[[Call], Awaitable[None]]


def always(*pieces: bytes) -> Script:
    """Answers each request with these bytes."""
    async def script(call: Call) -> None:
        while True:
            await call.request()
            await call.say(*pieces)
    return script


class Engine:
    """A Unix socket whose connections follow a script."""

    def __init__(self, script: Script, path: str, version: str = VERSION) -> None:
        self.script = script
        self.upstream = Upstream(path, version, "dev", "stub")
        self.requests: list[bytes] = []
        self.connections = 0
        self._calls: set[asyncio.Task[Any]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await self.script(Call(reader, writer, self.requests))
        finally:
            self._calls.discard(task)
            writer.close()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.upstream.socket_path, limit=2**18)

    async def stop(self) -> None:
        self._server.close()
        for task in tuple(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)


class Client:
    """A TCP connection to the edge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def response(self, method: bytes = b"GET") -> Response:
        """The next response, whole."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        response = Response(head)
        if method == b"HEAD" or response.status < 200 or response.status in (204, 304):
            return response
        if response.headers.get("transfer-encoding") == "chunked":
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                response.chunks.append((await self.reader.readexactly(size + 2))[:-2])
            await self.reader.readexactly(2)
            response.body = b"".join(response.chunks)
        elif "content-length" in response.headers:
            response.body = await self.reader.readexactly(int(response.headers["content-length"]))
        else:
            response.body = await self.reader.read()
        return response

    async def ask(self, request: bytes) -> Response:
        await self.send(request)
        return await self.response(request.split(b" ")[0])

    async def rest(self) -> bytes:
        """Everything until the edge closes."""
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def ending(self) -> bytes:
        """The rest of a chunked answer: to its end, else to the close."""
        try:
            return await self.reader.readuntil(END)
        except asyncio.IncompleteReadError as closed:
            return closed.partial
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError, TimeoutError):
            await asyncio.wait_for(self.writer.wait_closed(), 1)
        self.writer.transport.abort()


class Response:
    """A response's head, parsed; its body, once read."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.names = [line.partition(":")[0].lower() for line in lines]
        self.headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        self.chunks: list[bytes] = []
        self.body = b""

    @property
    def error(self) -> dict[str, Any]:
        """The envelope's inside."""
        value = json.loads(self.body)
        assert set(value) == {"error"} and set(value["error"]) == {"message", "type", "param", "code"}
        return dict(value["error"])


class Bench:
    """An edge with its address, its log, and the engines behind it."""

    def __init__(self, edge: Edge, port: int, folder: str, log: list[str]) -> None:
        self.edge, self.port, self.folder, self.log = edge, port, folder, log
        self.engines: list[Engine] = []

    async def engine(self, script: Script, version: str = VERSION) -> Engine:
        """Start an engine; it is not routed yet."""
        engine = Engine(script, f"{self.folder}/{len(self.engines)}.sock", version)
        await engine.start()
        self.engines.append(engine)
        return engine

    @asynccontextmanager
    async def client(self, receive_buffer: int | None = None) -> AsyncIterator[Client]:
        opened = socket.socket()
        if receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", self.port))
        limit = 2**16 if receive_buffer is None else receive_buffer
        client = Client(*await asyncio.open_connection(sock=opened, limit=limit))
        try:
            yield client
        finally:
            await client.close()

    async def ask(self, request: bytes) -> Response:
        """One request on a connection of its own."""
        async with self.client() as client:
            return await client.ask(request)


@asynccontextmanager
async def bench(script: Script | None = None, *, access: Access | None = None,
                limits: EdgeLimits | None = None) -> AsyncIterator[Bench]:
    """An edge on loopback, routed to an engine that follows `script` (None: nothing is routed)."""
    folder = tempfile.mkdtemp(prefix="mk")
    sockets = bind("127.0.0.1", 0)
    log: list[str] = []
    edge = Edge(sockets=sockets, access=access or Access(), limits=limits, log=log.append)
    made = Bench(edge, sockets[0].getsockname()[1], folder, log)
    try:
        await edge.start()
        if script is not None:
            edge.route((await made.engine(script)).upstream, models=frozenset({"tiny"}))
        yield made
    finally:
        await edge.close(0)
        for engine in made.engines:
            await engine.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true; the test's own timeout is the limit."""
    while not condition():  # noqa: ASYNC110 (what is watched knows nothing of events)
        await asyncio.sleep(0.002)
