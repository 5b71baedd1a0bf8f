"""Copies of requests for a candidate. Its answers are read to their end, counted, and thrown away."""

from __future__ import annotations

import asyncio
from time import monotonic

from modelkit.runtime.edge.framing import Body, ResponseHead
from modelkit.runtime.edge.upstream import Backend, Link


def mirror(backend: Backend, request: bytes) -> None:
    """Send a copy, if there are not too many under way: the client whose request it is must not notice."""
    if len(backend.shadows) < backend.limits.mirrored:
        Shadow(backend, request)
    else:
        backend.upstream.tallies.skipped += 1


class Shadow:
    """One copy and its answer. It is in `backend.shadows` until that is over."""

    # What a link wants to know of whom it works for.
    cutting = paused = unchunks = False
    complete = True
    link: Link | None = None

    def __init__(self, backend: Backend, request: bytes) -> None:
        self.started = monotonic()
        self._backend = backend
        self._first: float | None = None
        self._status = 0
        self._streaming = False
        backend.shadows.add(self)
        self._asking = asyncio.get_running_loop().create_task(self._ask(request))

    async def _ask(self, request: bytes) -> None:
        try:
            link = await self._backend.connect()
        except OSError:
            self.lost()
            return
        self.link, link.exchange = link, self
        link.transport.write(request)

    def cut(self) -> None:
        """It is not wanted any more, and not counted."""
        self._asking.cancel()
        self._backend.shadows.discard(self)
        if (link := self.link) is not None:
            link.release()
            link.transport.abort()

    def expire(self) -> None:
        """It has taken so long that it counts as failed."""
        if self in self._backend.shadows:
            self._count("engine_stopped")
            self.cut()

    # What a link reports.

    def answering(self) -> None:
        """The candidate has begun to speak."""

    def begin(self, head: ResponseHead, body: Body | None, data: bytes) -> None:
        self._status, self._streaming = head.status, head.event_stream
        self._see(data)

    def relay(self, data: bytes) -> None:
        self._see(data)

    def _see(self, data: bytes) -> None:
        if self._streaming and data and self._first is None:
            self._first = monotonic() - self.started

    def finish(self) -> None:
        self._count("ok")

    def lost(self) -> None:
        self._count("engine_stopped")

    def fail(self, code: str, message: str) -> None:
        self._count(code)

    def hold(self, on: bool) -> None:
        """There is nobody to be held back."""

    def resume(self) -> None:
        """Nor to go on."""

    def _count(self, outcome: str) -> None:
        if self in self._backend.shadows:
            self._backend.shadows.discard(self)
            self._backend.upstream.tallies.mirrored.note(self._status, outcome, monotonic() - self.started,
                                                         self._first)
