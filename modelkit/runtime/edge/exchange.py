"""One request and its answer: relays both ways, and sees to it that each side learns how the other ended."""

from __future__ import annotations

import asyncio
from random import getrandbits
from time import monotonic
from typing import TYPE_CHECKING

from modelkit.runtime.edge.framing import Body, Chunked, ResponseHead, UntilClose
from modelkit.runtime.edge.replies import CONTINUE, Reply, error_event, refusal
from modelkit.runtime.edge.request import Request, too_large
from modelkit.runtime.edge.upstream import Backend, Link

if TYPE_CHECKING:
    from modelkit.runtime.edge.client import ClientConnection
    from modelkit.runtime.edge.slot import Slot

_BLANK_LINES = (b"\n\n", b"\r\n\r\n")
_BLANK_LINES_CHUNKED = tuple(blank + b"\r\n" for blank in _BLANK_LINES)
_LONGEST_END = 6


class Exchange:
    """Made when a request's head is complete. With a `reply` the edge answers itself, else a backend does."""

    # What most exchanges never change; instances stay small and quick to make.
    first_at: float | None = None  # when a stream's first byte passed
    status = 0  # of the answer, once its head went out
    outcome = "ok"  # else the word for why the answer has no end
    bytes_in = bytes_out = 0
    complete = False  # the whole request is here
    backend: Backend | None = None
    link: Link | None = None
    connecting: asyncio.Task[None] | None = None
    body: Body | None = None  # of the answer
    streaming = paused = cutting = False
    gathering = False  # its body is needed whole, to know whose it is
    slot: Slot | None = None  # where it waits for an engine to wake
    spare: tuple[Slot, bytes] | None = None  # what answers instead of a candidate, and the request's body
    _replay: list[bytes] | None = None  # what was sent, while it may have to be sent again
    _tail = b""  # a stream's last bytes

    def __init__(self, client: ClientConnection, request: Request, length: int, reply: Reply | None) -> None:
        self.client = client
        self.request = request
        self.length = length
        self.reply = reply
        self.id = request.given_id or b"req_%024x" % getrandbits(96)
        self.started = monotonic()
        self.close = not request.keep_alive  # the connection ends with this answer
        self._pending: list[bytes] = []  # of the request, not yet sent

    # From the client to the engine.

    def receive_whole(self, body: bytes) -> None:
        """The request's body, when it is all here with the head."""
        self.complete = True
        if body:
            self.bytes_in = len(body)
            self._pending.append(body)

    def receive(self, piece: bytes) -> None:
        """A part of the request's body."""
        if self.reply is not None:
            return
        self.bytes_in += len(piece)
        if not self.request.chunked:
            self._pending.append(piece)
        elif self.bytes_in <= self.client.edge.limits.body_bytes:
            self._pending += (b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self.refuse(too_large(self.client.edge.limits))

    def received(self) -> None:
        """The request is complete."""
        self.complete = True
        if self.request.chunked and self.reply is None:
            self._pending.append(b"0\r\n\r\n")

    @property
    def waiting(self) -> int:
        """How many bytes of the request could not be sent yet."""
        return sum(map(len, self._pending))

    def advance(self) -> None:
        """Send what there is, or find out that the edge has to answer."""
        if self.link is not None:
            if self._pending:
                self._send(self.link)
        elif self.backend is None:
            edge = self.client.edge
            if self.request.route.relayed and edge.serving is not None:
                self.dispatch(edge.serving)
            elif self.slot is None:
                edge.place(self)

    def gathered(self) -> bytes | None:
        """The whole body; None while it is not here, and then the client is asked to go on."""
        if self.complete:
            self.gathering = False
            # A chunk's size, its bytes, its end; and so on.
            return b"".join(self._pending[1::3] if self.request.chunked else self._pending)
        if not self.gathering:
            self.gathering = True
            self._invite()
            self.client.hold(False)
        return None

    def framed(self, body: bytes) -> bytes:
        """A whole body as the engine gets it."""
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if self.request.chunked and body else body

    def dispatch(self, backend: Backend) -> None:
        """Give it to an engine."""
        self.backend = backend
        backend.exchanges.add(self)
        self._invite()
        self._pending.insert(0, self.request.for_engine(self.id, self.length))
        link = backend.take()
        if link is not None:
            self._attach(link)
        else:
            self.connecting = asyncio.get_running_loop().create_task(self._connect(backend))

    def _invite(self) -> None:
        """Ask a client that waits for it to send the body."""
        if not self.complete and not self._pending and b"expect" in self.request.fields and not self.request.plain:
            self.client.transport.write(CONTINUE)

    async def _connect(self, backend: Backend) -> None:
        try:
            link = await backend.connect()
        except OSError:
            self.connecting = None
            self.fail("engine_stopped", "the engine does not answer")
        else:
            self.connecting = None
            self._attach(link)

    def _attach(self, link: Link) -> None:
        self.link, link.exchange = link, self
        if not link.fresh:
            self._replay = []  # a connection that waited in the pool may have been closed unnoticed
        if self.client.blocked:
            self.pause()
        self._send(link)
        if link.blocked is not self.client.held:
            self.client.hold(link.blocked)

    def _send(self, link: Link) -> None:
        pending, self._pending = self._pending, []
        if self._replay is not None:
            if self.bytes_in <= self.client.edge.limits.replay_bytes:
                self._replay += pending
            else:
                self._replay = None
        link.transport.write(b"".join(pending))

    # From the engine to the client.

    def answering(self) -> None:
        """The engine has begun to speak: this request must not reach it twice."""
        self._replay = None

    def begin(self, head: ResponseHead, body: Body | None, data: bytes) -> None:
        """The answer's head, and what came with it of the body; no `body` means that this is all of it."""
        self._replay = self.spare = None
        self.body, self.status, self.streaming = body, head.status, head.event_stream
        self.close = self.close or not self.complete or self.client.edge.closing or isinstance(body, UntilClose)
        request, backend = self.request, self.backend
        assert backend is not None
        out = head.for_client(self.id, backend.header, plain=request.plain, close=self.close)
        if body is None:
            self.bytes_out = len(data)
            if not request.head_only:
                out += data
        elif data and not request.head_only:
            out += self._measured(data)
        self.client.transport.write(out)

    @property
    def unchunks(self) -> bool:
        """Whether the client must get a chunked body without its chunks."""
        return self.request.plain and not self.request.head_only

    def relay(self, data: bytes) -> None:
        """More of the body, in the engine's own framing."""
        if not self.request.head_only:
            self.client.transport.write(self._measured(data))

    def _measured(self, data: bytes) -> bytes:
        """What the client gets for `data`; takes note of the times and of the last bytes."""
        if self.unchunks and isinstance(self.body, Chunked):
            data = self.body.take()
        if self.streaming:
            if self.first_at is None and data:
                self.first_at = monotonic()
            self._tail = (data if len(data) >= _LONGEST_END else self._tail + data)[-_LONGEST_END:]
        self.bytes_out += len(data)
        return data

    def finish(self) -> None:
        """The answer is complete."""
        self.leave()
        self.client.finished(self)

    def pause(self) -> None:
        """The client reads more slowly than the engine writes."""
        if self.link is not None and not self.paused and not self.cutting:
            self.paused = True
            self.link.transport.pause_reading()

    def resume(self) -> None:
        if self.link is not None and self.paused:
            self.paused = False
            self.link.transport.resume_reading()

    # Ends before the end.

    def lost(self) -> None:
        """The connection to the engine broke."""
        if self._replay is not None and self.backend is not None:
            self._pending, self._replay = self._replay + self._pending, None
            self.connecting = asyncio.get_running_loop().create_task(self._connect(self.backend))
        else:
            self.fail("engine_stopped", "the engine stopped before its answer was complete")

    def fail(self, code: str, message: str) -> None:
        """The engine's answer won't be completed: say so in the way that is still open.

        An answer that could be ended leaves the connection as its head promised it: a client that sends its next
        request there would else be met by a reset. Every other one is ended by the connection's end.
        """
        if self.status == 0:
            if self._answered_elsewhere():
                return
            self.refuse(refusal(502, code, message))
            self.client.pump()
            return
        self._drop_link()
        self.outcome, ended = code, False
        if self._between_events:
            event = error_event(code, message, self.request.path)
            ended = isinstance(self.body, Chunked) and not self.request.plain
            self.client.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event) if ended else event)
        self.close = self.close or not ended or self.client.edge.closing
        self.finish()

    def _answered_elsewhere(self) -> bool:
        """What a candidate did not begin to answer, what serves does: no client loses a request to a trial."""
        spare, failed = self.spare, self.backend
        stable = spare[0].serving if spare is not None else None
        if spare is None or failed is None or stable is None or stable is failed or self.client.edge.closing:
            return False
        failed.upstream.tallies.served.note(502, "engine_stopped", 0.0, None)
        self._drop_link()
        failed.done(self)
        self._replay = self.spare = self.backend = None
        self._pending = [self.framed(spare[1])]
        self.dispatch(stable)
        return True

    def hold(self, on: bool) -> None:
        """Whether the engine reads more slowly than the client writes."""
        self.client.hold(on)

    def cut(self) -> None:
        """End this answer now; inside of a stream's chunk, as soon as that has passed."""
        if self.streaming and isinstance(self.body, Chunked) and not self.body.boundary and self.link is not None:
            if not self.cutting:
                self.cutting = True
                self.resume()
                self.client.expire_soon()
            return
        self.fail("engine_stopped", "the engine was stopped before its answer was complete")

    def refuse(self, reply: Reply) -> None:
        """The edge answers after all; the engine is left alone."""
        self._drop_link()
        if self.backend is not None:
            self.backend.done(self)
        if self.status:
            self.outcome, self.close = reply.reason, True
        self.reply = reply

    def abandon(self, outcome: str) -> None:
        """The client is gone: so that the engine stops generating, its connection is closed at once."""
        self._drop_link()
        self.outcome = outcome
        self.leave()

    @property
    def _between_events(self) -> bool:
        if not self.streaming or self.request.head_only or not self.client.writable:
            return False
        if isinstance(self.body, Chunked):
            if not self.body.boundary:
                return False
            if not self.request.plain:
                return not self._tail or self._tail.endswith(_BLANK_LINES_CHUNKED)
        elif not isinstance(self.body, UntilClose):
            return False
        return not self._tail or self._tail.endswith(_BLANK_LINES)

    def _drop_link(self) -> None:
        self._pending.clear()
        if self.connecting is not None:
            self.connecting.cancel()
            self.connecting = None
        if (link := self.link) is not None:
            link.release()
            link.transport.abort()

    def leave(self) -> None:
        """Out of the counts of what is in flight, into the metrics."""
        if self.slot is not None:
            self.slot.waiting.pop(self, None)
            self.slot = None
        if self.backend is not None:
            self.backend.done(self)
        self.client.edge.record(self)
