"""A file on a server, read at any place by range requests: for the headers of files that are too big to fetch for them.
"""

from __future__ import annotations

from collections import OrderedDict
from types import TracebackType

from modelkit.failure import Failure
from modelkit.models.sources.ranges import State, ask
from modelkit.models.sources.transport import PassingTrouble, Remote, patiently, trouble

_BLOCK = 256 << 10
_MOST_BLOCKS = 16  # asked for at once, when it is read from its start to its end
_KEPT_BLOCKS = 128


class RemoteFile:
    """`size` bytes at `remote`, of which `read_at` gives any. Raises Failure where the server can't give parts.

    All that it gives is of one state of the file: it raises Failure `changed-meanwhile` when that ends.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._state = State()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._ahead = 1
        self._expected = 0
        self.size = remote.size if remote.size is not None else -1
        self._load(0, 1)

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @property
    def name(self) -> str:
        return self._remote.shown

    def close(self) -> None:
        self._blocks.clear()

    def read_at(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer at the end of the file."""
        if offset < 0 or count < 0:
            raise ValueError(f"there are no bytes {offset}+{count}")
        end = min(offset + count, self.size)
        parts = []
        while offset < end:
            number, skip = divmod(offset, _BLOCK)
            part = self._block(number, end)[skip:skip + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _block(self, number: int, end: int) -> bytes:
        if number not in self._blocks:
            self._ahead = min(2 * self._ahead, _MOST_BLOCKS) if number == self._expected else 1
            needed = min(-(-end // _BLOCK) - number, _MOST_BLOCKS)
            self._load(number, max(self._ahead, needed))
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _load(self, number: int, count: int) -> None:
        """Have `count` blocks from the one with this number on, with one request."""
        start = number * _BLOCK
        end = (number + count) * _BLOCK if self.size < 0 else min((number + count) * _BLOCK, self.size)
        body = patiently(lambda: self._ask(start, end)) if end > start else b""
        for at in range(0, len(body), _BLOCK):
            self._blocks[number + at // _BLOCK] = body[at:at + _BLOCK]
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        self._expected = number + count

    def _ask(self, start: int, end: int) -> bytes:
        remote = self._remote
        answer, offer = ask(remote, start, end, self._state)
        try:
            known = self._state.url != ""
            if not offer.ranges or offer.state.size is None:
                if known and offer.state.validator != self._state.validator:
                    raise self._changed()
                raise Failure("ranges-unsupported", f"{remote.shown} can't be read in parts: the server sends it whole "
                              "or not at all", "fetch it", data={"url": remote.shown})
            if known and offer.state != self._state:
                raise self._changed()
            if self.size not in (-1, offer.state.size):
                raise Failure("size-mismatch", f"{remote.shown} has {offer.state.size} bytes, and {self.size} are "
                              "promised", "the server is broken or hostile; don't use it", data={"url": remote.shown})
            self._state, self.size = offer.state, offer.state.size
            end = min(end, self.size)
            with trouble(remote):
                body = answer.read(end - start, decode_content=False)
            if len(body) != end - start:
                raise PassingTrouble(Failure("network", f"{remote.shown} can't be fetched: the connection was cut"))
            return body
        finally:
            answer.close()

    def _changed(self) -> Failure:
        return Failure("changed-meanwhile", f"{self._remote.shown} changes while it is read", "run it again")
