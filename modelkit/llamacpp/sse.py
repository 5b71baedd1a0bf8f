"""Answers on the wire: server-sent events as vLLM frames them, and clients that go away.

    data: {...}\n\n        one chunk; several that are ready go out in one write
    data: [DONE]\n\n       the end of a stream that came to its end; one that failed ends with an error's event instead
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from starlette.responses import Response

from modelkit.contract.errors import ContractError, of_status

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

DONE = b"data: [DONE]\n\n"

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # made once: json.dumps would make one a call
_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]

log = logging.getLogger("modelkit.llamacpp")


def dumps(value: Any) -> bytes:
    return _ENCODER.encode(value).encode()


class Chunks:
    """The chunks of one stream. What all of them share is written once.

    No pydantic here: readers make small dictionaries, and `json` writes one in half the time (8 µs of 17) that its
    models take to be made and dumped.
    """

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = b"data: " + dumps(head)[:-1] + b',"choices":['

    def choice(self, choice: dict[str, Any]) -> bytes:
        return self._head + dumps(choice) + b"]}\n\n"

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The chunk without choices that ends a stream whose client asked for its usage."""
        return self._head + b'],"usage":' + dumps(usage) + b"}\n\n"


class ClientGone(Exception):
    """Nobody is there to read the answer."""


async def disconnected(receive: Receive) -> None:
    """Returns when the client is gone. The request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns. Raises ClientGone, with the work cancelled, as soon as the client leaves."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        await _end(working, leaving)


class EventStream(Response):
    """A stream of events, each a whole number of them as bytes.

    It begins with the first event, so that what fails before has a status of its own. `close` is called at its end,
    when the client leaves, and when it fails.
    """

    def __init__(self, events: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        self.status_code, self.background = 200, None
        self._events, self._close = events, close
        self._ready: list[bytes] = []
        self._wake = asyncio.Event()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        reading, leaving = asyncio.ensure_future(self._read()), asyncio.ensure_future(disconnected(receive))
        for task in (reading, leaving):
            task.add_done_callback(lambda _: self._wake.set())
        try:
            await self._write(reading, leaving, send)
        finally:
            self._close()
            await _end(reading, leaving)

    async def _read(self) -> None:
        async for event in self._events:
            self._ready.append(event)
            self._wake.set()

    async def _write(self, reading: asyncio.Future[None], leaving: asyncio.Future[None], send: Send) -> None:
        started, more = False, True
        while more:
            await self._wake.wait()
            self._wake.clear()
            if leaving.done():
                return
            more = not reading.done()
            if failure := None if more else reading.exception():
                error = presented(failure)
                if not started and not self._ready:
                    raise error
                self._ready.append(b"data: " + error.body() + b"\n\n")
            block = b"".join(self._ready)
            self._ready.clear()
            if not started:
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if block or not more:
                await send({"type": "http.response.body", "body": block, "more_body": more})


def presented(failure: BaseException) -> ContractError:
    """What a client is told; a failure that is not its own is told to the log."""
    if isinstance(failure, ContractError):
        return failure
    log.error("an answer failed", exc_info=failure)
    return of_status(500, "the engine failed on this request; its log says why")


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
