"""The body of a remote file in order, received by one connection or by several.

One connection begins. If it brings less than a fast link would and the server takes ranges, others join: each takes the
next segment, and the blocks of segments that are ahead wait in memory for their turn, so nothing is read twice.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.sources.ranges import Offer, ask
from modelkit.models.sources.transport import PassingTrouble, Patience, Remote, trouble

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

CONNECTIONS = 4
SEGMENT = 16 << 20
_FAST = 200 << 20  # bytes a second that one connection is enough for
_JUDGE_AFTER = 32 << 20, 1.0  # bytes or seconds after which the first connection is judged
_ROOM, _ROOM_FOR_ALL = 8 << 20, (CONNECTIONS + 1) * SEGMENT  # bytes that may wait in memory, for one connection or all
_SMALLEST_BLOCK, _LARGEST_BLOCK = 1 << 14, 1 << 18  # larger ones leave the processor's cache before they are hashed


class Changed(Exception):
    """The server has another state of the file than the one we have the beginning of."""


@dataclass
class _Segment:
    start: int
    end: int | None
    blocks: deque[bytes] = field(default_factory=deque)
    done: bool = False


class Receiving:
    """Blocks of a file from `offer.start` on, in order, until its end. Iterate in one thread; leave to stop it all."""

    def __init__(self, remote: Remote, answer: BaseHTTPResponse, offer: Offer) -> None:
        self._remote, self._offer = remote, offer
        self._change = threading.Condition()
        self._first = _Segment(offer.start, offer.state.size if offer.ranges else None)
        self._segments = deque([self._first])
        self._next = offer.state.size or 0  # where the next segment that nobody has begins
        self._waiting, self._room = 0, _ROOM
        self._judged = not offer.ranges
        self._direct = _led_to(remote, answer)
        self._error: BaseException | None = None
        self._stopped = False
        self._answers: dict[threading.Thread, BaseHTTPResponse] = {}
        self._threads: list[threading.Thread] = []
        self._start(lambda: self._receive_first(answer))

    def __enter__(self) -> Receiving:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        with self._change:
            self._stopped = True
            self._change.notify_all()
            for answer in self._answers.values():
                with suppress(OSError, ValueError, RuntimeError):
                    answer.shutdown()
        for thread in self._threads:
            thread.join(1.0)  # one that is in the middle of a connect ends by itself

    def __iter__(self) -> Iterator[bytes]:
        while (blocks := self._received()) is not None:
            while blocks:
                block = blocks.popleft()
                yield block
                with self._change:
                    self._waiting -= len(block)
                    self._change.notify_all()

    def _received(self) -> deque[bytes] | None:
        """The blocks that are here and next, at least one unless a segment has just ended; None at the end of all."""
        with self._change:
            self._change.wait_for(self._has_news)
            if self._error is not None:
                raise self._error
            if not self._segments:
                return None
            segment = self._segments[0]
            blocks, segment.blocks = segment.blocks, deque()
            if segment.done:
                self._segments.popleft()
            return blocks

    def _has_news(self) -> bool:
        if self._error is not None:
            return True
        if not self._segments:
            return self._next >= (self._offer.state.size or 0)
        return bool(self._segments[0].blocks) or self._segments[0].done

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guarded, args=(work,), name="receive", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            with self._change:
                self._error = self._error or error
                self._change.notify_all()

    def _receive_first(self, answer: BaseHTTPResponse) -> None:
        self._receive(self._first, answer)
        self._help()

    def _help(self) -> None:
        """Receive segments until there are no more."""
        while (segment := self._take()) is not None:
            self._receive(segment, None)

    def _take(self) -> _Segment | None:
        with self._change:
            size = self._offer.state.size or 0
            self._change.wait_for(lambda: self._stopped or self._waiting < self._room)
            if self._stopped or self._next >= size:
                return None
            segment = _Segment(self._next, min(self._next + SEGMENT, size))
            self._next = segment.end or 0
            self._segments.append(segment)
            return segment

    def _receive(self, segment: _Segment, answer: BaseHTTPResponse | None) -> None:
        """Receive all of a segment, with as many requests as it takes."""
        position, patience = segment.start, Patience(self._pause)
        while not self._stopped:
            try:
                if answer is None:
                    answer = self._ask_again(position, segment)
                for block in self._blocks(answer, segment, position):
                    position += len(block)
                    patience.progressed()
                    self._deliver(segment, block)
                with self._change:
                    segment.done = not self._stopped
                    self._change.notify_all()
                return
            except PassingTrouble as passing:
                if not self._offer.ranges:
                    raise
                patience.wait(passing)
            finally:
                with self._change:
                    self._answers.pop(threading.current_thread(), None)
                if answer is not None:
                    answer.close()
                answer = None

    def _ask_again(self, position: int, segment: _Segment) -> BaseHTTPResponse:
        direct, state = self._direct, self._offer.state
        try:
            answer, offer = ask(self._remote, position, segment.end, state, direct=direct)
        except Failure as failure:
            if not direct or failure.code not in ("unauthorized", "not-found"):
                raise
            answer, offer = ask(self._remote, position, segment.end, state)  # a signed address that has run out
            self._direct = _led_to(self._remote, answer)
        if offer.state != self._offer.state or not offer.ranges:
            answer.close()
            raise Changed
        return answer

    def _blocks(self, answer: BaseHTTPResponse, segment: _Segment, position: int) -> Iterator[bytes]:
        """What an answer brings of a segment. The blocks are as large as what comes in a moment."""
        with self._change:
            self._answers[threading.current_thread()] = answer
        amount, begun, came = 1 << 16, time.monotonic(), 0
        while not self._stopped and (segment.end is None or position < segment.end):
            at = time.monotonic()
            wanted = amount if segment.end is None else min(amount, segment.end - position)
            with trouble(self._remote):
                block = answer.read(wanted, decode_content=False)
            if not block:
                if segment.end is None or self._stopped:
                    return
                raise PassingTrouble(_cut_short(self._remote))
            now = time.monotonic()
            amount = min(2 * amount, _LARGEST_BLOCK) if now - at < 0.02 else max(amount // 2, _SMALLEST_BLOCK)
            position, came = position + len(block), came + len(block)
            yield block
            if not self._judged and (came >= _JUDGE_AFTER[0] or now - begun >= _JUDGE_AFTER[1]):
                self._judged = True
                self._judge(segment, position, came / max(now - begun, 1e-9))

    def _judge(self, segment: _Segment, position: int, speed: float) -> None:
        """Let others help when one connection is slow and much is left: this one then ends where they begin.

        They are no help where it is the disk or the hash that does not follow.
        """
        size = self._offer.state.size or 0
        with self._change:
            if speed >= _FAST or size - position < 2 * SEGMENT or self._waiting > self._room // 2:
                return
            segment.end = self._next = position + SEGMENT
            self._room = _ROOM_FOR_ALL
        for _ in range(CONNECTIONS - 1):
            self._start(self._help)

    def _deliver(self, segment: _Segment, block: bytes) -> None:
        with self._change:
            self._change.wait_for(lambda: self._stopped or self._waiting < self._room
                                  or (segment is self._segments[0] and not segment.blocks))
            segment.blocks.append(block)
            self._waiting += len(block)
            self._change.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._change:
            self._change.wait_for(lambda: self._stopped, seconds)


def _led_to(remote: Remote, answer: BaseHTTPResponse) -> str:
    """Where redirects led, empty when there were none."""
    return answer.url if answer.url and answer.url != remote.url else ""


def _cut_short(remote: Remote) -> Failure:
    return Failure("network", f"{remote.shown} can't be fetched: the connection was cut", "run it again: it goes on "
                   "where it stopped", data={"url": remote.shown})
