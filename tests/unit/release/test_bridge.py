"""A Unix socket as an address of TCP, for who has the key."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelkit.release.bridge import bridged
from modelkit.release.client import Target


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """Echoes each request's path, in a thread."""
    socket, loop, ready = str(tmp_path / "e.sock"), asyncio.new_event_loop(), threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1]
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(path), path))
        except asyncio.IncompleteReadError:
            writer.close()

    async def serve() -> asyncio.Server:
        return await asyncio.start_unix_server(answer, socket)

    def work() -> None:
        server = loop.run_until_complete(serve())
        ready.set()
        loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait(10)
    yield socket
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_who_has_the_key_gets_through(engine: str) -> None:
    with bridged(Target("http://engine/v1", "m", socket=engine)) as there:
        assert there.socket is None and there.base_url.startswith("http://127.0.0.1:") and there.key
        with httpx.Client(headers={"Authorization": f"Bearer {there.key}"}, trust_env=False) as client:
            assert [client.get(f"{there.base_url}/{n}").text for n in range(3)] == ["/v1/0", "/v1/1", "/v1/2"]
    with pytest.raises(httpx.ConnectError):
        httpx.get(there.base_url, trust_env=False)


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer no"}, {"Authorization": ""}])
def test_nobody_else_does(engine: str, sent: dict[str, str]) -> None:
    with bridged(Target("http://engine/v1", "m", socket=engine)) as there:
        assert httpx.get(there.base_url, headers=sent, trust_env=False).status_code == 401


def test_an_address_stays_what_it_is() -> None:
    target = Target("http://somewhere/v1", "m")
    with bridged(target) as there:
        assert there is target
