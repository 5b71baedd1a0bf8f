"""Streams on the wire: who reads slowly, who leaves before anything is ready, and what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from modelkit.contract.errors import ContractError, of_status
from modelkit.llamacpp.sse import Chunks, ClientGone, EventStream, disconnected, unless_gone


class Client:
    """Takes what is sent, when `takes` is set; leaves when `leaves` is."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.takes, self.leaves, self.blocked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.takes.set()

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if not self.takes.is_set():
            self.blocked.set()
        await self.takes.wait()

    @property
    def bodies(self) -> list[bytes]:
        return [message["body"] for message in self.sent if message["type"] == "http.response.body"]


async def events(*said: bytes | Exception | asyncio.Event) -> AsyncIterator[bytes]:
    for one in said:
        if isinstance(one, asyncio.Event):
            await one.wait()
        elif isinstance(one, Exception):
            raise one
        else:
            yield one


async def test_who_reads_slowly_gets_all_that_came_meanwhile_at_once() -> None:
    client, more, closed = Client(), asyncio.Event(), asyncio.Event()
    client.takes.clear()
    stream = EventStream(events(b"a", more, b"b", b"c", b"d"), closed.set)
    running = asyncio.ensure_future(stream({}, client.receive, client.send))
    await client.blocked.wait()  # the head is on its way
    more.set()
    await asyncio.sleep(0)
    client.takes.set()
    await running
    assert b"".join(client.bodies) == b"abcd" and client.bodies[-1].endswith(b"bcd")
    assert [message.get("more_body", True) for message in client.sent][-1] is False
    assert closed.is_set()


async def test_who_leaves_before_anything_is_ready_is_sent_nothing() -> None:
    client, closed = Client(), asyncio.Event()
    client.leaves.set()
    async with asyncio.timeout(5):
        await EventStream(events(asyncio.Event(), b"a"), closed.set)({}, client.receive, client.send)
    assert client.sent == [] and closed.is_set()


async def test_what_fails_first_is_raised_and_what_fails_later_is_an_event() -> None:
    client, fault = Client(), of_status(400, "no")
    with pytest.raises(ContractError):
        await EventStream(events(fault), lambda: None)({}, client.receive, client.send)
    assert client.sent == []
    await EventStream(events(b"a", fault), lambda: None)({}, client.receive, client.send)
    assert b"".join(client.bodies) == b"a" + b"data: " + fault.body() + b"\n\n"


async def test_work_ends_when_its_client_leaves() -> None:
    client, begun, cancelled = Client(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.ensure_future(unless_gone(client.receive, work()))
    await begun.wait()
    client.leaves.set()
    with pytest.raises(ClientGone):
        await waiting
    assert cancelled.is_set()


async def test_a_client_is_gone_when_it_says_so_and_not_before() -> None:
    said = iter(({"type": "http.request", "body": b""}, {"type": "http.disconnect"}))

    async def receive() -> Any:
        return next(said)

    await disconnected(receive)
    assert next(said, None) is None


def test_chunks_share_their_head() -> None:
    chunks = Chunks({"id": "x", "model": "naïve"})
    assert chunks.choice({"index": 0}) == 'data: {"id":"x","model":"naïve","choices":[{"index":0}]}\n\n'.encode()
    assert chunks.usage({"n": 1}) == 'data: {"id":"x","model":"naïve","choices":[],"usage":{"n":1}}\n\n'.encode()
