"""What the attention cache holds, sequence by sequence, and what of it a new prompt can use again.

A slot is a sequence number of llama.cpp with the tokens whose keys and values are there. A finished sequence keeps its
slot until room lacks; the one unused for longest goes first and from its end, since what prompts share is at their
beginning. Sharing copies nothing: all sequences live in one cache, and a cell can belong to several.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelkit.llamacpp.cells import Cells
from modelkit.llamacpp.computing import Memory

_WORTH_KEEPING = 1024
"""Tokens of a finished sequence that are not forgotten for the sake of an answer that repeats itself bit by bit."""

_CUT = 256
"""Tokens that a slot loses at least when room is made: fewer calls, and a prefix of any worth remains."""


class Slot:
    """One sequence number: its tokens by position, as far as they are computed, and their cells."""

    __slots__ = ("adapter", "busy", "cells", "first", "group", "id", "images", "lone", "tokens", "used")

    def __init__(self, number: int) -> None:
        self.id = number
        self.adapter: str | None = None
        self.group = 0  # of the job that computed it; slots of one job share even when nothing else is shared
        self.tokens: list[int] = []
        self.cells: list[int] = []
        self.images: list[tuple[int, int, int]] = []  # first token, the one behind, positions not taken
        self.busy = False
        self.first = False  # it is computed alone in a cache that has nothing else
        self.lone = 0  # its first tokens that were computed so: they lie where they would in an empty cache
        self.used = 0  # when, in counted uses

    def position(self, length: int) -> int:
        """llama.cpp's position of the token behind the first `length`, which no image has on both sides."""
        return length - sum(spare for _, end, spare in self.images if end <= length)

    def floor(self, length: int) -> int:
        """The most tokens up to `length` that leave no part of an image: it is used as a whole."""
        return next((start for start, end, _ in self.images if start < length < end), length)

    def shorten(self, length: int) -> list[int]:
        """Forgets the tokens behind the first `length`; their cells."""
        gone = self.cells[length:]
        del self.tokens[length:], self.cells[length:]
        self.images = [one for one in self.images if one[1] <= length]
        self.lone = min(self.lone, length)
        return gone


class Prefixes:
    """The slots of one context.

    `across` says whether jobs share, `whole` that this memory can only forget a sequence as a whole (recurrent
    models): what is shared there is a whole slot, and only by the one who goes on from its end.
    """

    def __init__(self, memory: Memory, cells: Cells, slots: int, *, across: bool = True, whole: bool = False) -> None:
        self.cells = cells
        self._memory = memory
        self._slots = [Slot(number) for number in range(slots)]
        self._across, self._whole = across, whole
        self._uses = 0

    def match(self, tokens: list[int], adapter: str | None, group: int) -> tuple[Slot | None, int]:
        """The slot that shares most with these tokens, and how many. The last token is never among them: its logits
        are wanted, and no cache keeps those.
        """
        best: Slot | None = None
        most = 0
        for slot in self._slots:
            if slot.adapter != adapter or not slot.tokens or not (self._across or slot.group == group):
                continue
            length = slot.floor(min(common(slot.tokens, tokens), len(tokens) - 1))
            if self._whole and (slot.busy or length != len(slot.tokens)):
                continue
            if length > most or (length == most and best is not None and best.busy and not slot.busy):
                best, most = slot, length
        return best, most

    def alone(self, match: Slot | None, shared: int) -> tuple[Slot | None, int]:
        """What a sequence shares that is computed while no other one is.

        Sums depend on where in the cache a sequence lies, and with quantized weights the last bit of a sum can decide
        a token. So a lone sequence gets the place that it would have in an empty cache: short ones that are finished
        are forgotten, but for what it goes on from that has that place already. A request that comes again gets the
        same answer then, as long as nothing of `_WORTH_KEEPING` tokens is kept.
        """
        if match is not None and match.lone < shared < _WORTH_KEEPING:
            match, shared = self._in_place(match, shared)
        for slot in self._slots:
            if slot is not match and slot.tokens and len(slot.tokens) < _WORTH_KEEPING:
                self._forget(slot, 0)
        if match is not None and len(match.tokens) - shared < _WORTH_KEEPING:
            self._forget(match, shared)
        if not self.cells.used:
            self._memory.clear()  # the next tokens begin at its first cell
        return match, shared

    def _in_place(self, match: Slot, shared: int) -> tuple[Slot | None, int]:
        """The slot with most of these tokens where they would be in an empty cache, and how many; see `match`."""
        if self._whole:
            return None, 0
        tokens, best, most = match.tokens[:shared], None, 0
        for slot in self._slots:
            if slot.lone > most and slot.adapter == match.adapter:
                length = slot.floor(min(slot.lone, common(slot.tokens, tokens)))
                if length > most:
                    best, most = slot, length
        return best, most

    def shares(self, sibling: bool) -> bool:
        """Whether a sequence can go on from what another one is computing; `sibling`: both are of one job."""
        return not self._whole and (self._across or sibling)

    def cost(self, length: int, slot: Slot | None, shared: int) -> int:
        """Cells that become unavailable to others when a sequence of `length` tokens starts on this match."""
        return length - shared + (self.cells.idle_among(slot.cells[:shared]) if slot else 0)

    def open(self, adapter: str | None, group: int, match: Slot | None, shared: int) -> Slot | None:
        """A busy slot that begins with `shared` tokens of `match`, and has no others. None: all slots are busy."""
        idle = [slot for slot in self._slots if not slot.busy and slot is not match]
        if match is not None and not match.busy and (shared == len(match.tokens) or not idle):
            self._forget(match, shared)
            self.cells.wake(match.cells)
            slot = match
        elif idle:
            slot = min(idle, key=lambda slot: (bool(slot.tokens), slot.used))
            self._forget(slot, 0)
            if match is not None and shared:
                self._memory.copy(match.id, slot.id, match.position(shared))
                slot.tokens, slot.cells = match.tokens[:shared], match.cells[:shared]
                slot.images = [one for one in match.images if one[1] <= shared]
                slot.lone = min(match.lone, shared)
                self.cells.share(slot.cells)
                self._touch(match)
        else:
            return None
        slot.adapter, slot.group, slot.busy = adapter, group, True
        for other in self._slots:
            other.first = False
        slot.first = self.cells.used == len(slot.cells) and slot.lone == len(slot.tokens)
        self._touch(slot)
        return slot

    def grow(self, slot: Slot, tokens: Sequence[int], positions: int | None = None) -> None:
        """These tokens of a busy slot are computed now; they are one image if they take `positions` of their own."""
        if positions is not None:
            start = len(slot.tokens)
            slot.images.append((start, start + len(tokens), len(tokens) - positions))
        slot.tokens.extend(tokens)
        slot.cells.extend(self.cells.take(len(tokens)))
        if slot.first:
            slot.lone = len(slot.tokens)

    def cut(self, slot: Slot, length: int) -> int:
        """Forgets a busy slot's tokens from `length` on; how many it has then, which is none where memory is whole."""
        length = self._removed(slot, length)
        gone = slot.shorten(length)
        self.cells.rest(gone)
        self.cells.drop(gone)
        return length

    def undo(self, slot: Slot) -> None:
        """Forgets what a step that was stopped may have left behind the slot's tokens."""
        if not self._memory.remove(slot.id, slot.position(len(slot.tokens))):
            self.cut(slot, 0)

    def close(self, slot: Slot) -> None:
        """The sequence is finished or put off; its tokens stay as long as there is room."""
        slot.busy = False
        self.cells.rest(slot.cells)
        self._touch(slot)
        if not self._across:
            self._forget(slot, 0)

    def make_room(self, count: int) -> bool:
        """Forgets idle tokens until `count` cells are free. False: there are not enough."""
        while self.cells.free < count:
            idle = [slot for slot in self._slots if slot.cells and not slot.busy]
            if not idle:
                return False
            slot = min(idle, key=lambda slot: slot.used)
            self._forget(slot, max(0, len(slot.tokens) - max(_CUT, count - self.cells.free)))
        return True

    def _forget(self, slot: Slot, length: int) -> None:
        if length == len(slot.tokens):
            return
        self.cells.drop(slot.shorten(self._removed(slot, slot.floor(length))))

    def _removed(self, slot: Slot, length: int) -> int:
        """Takes all but the first tokens of a slot out of the memory; how many it has left."""
        if self._memory.remove(slot.id, slot.position(length)):
            return length
        self._memory.remove(slot.id)
        return 0

    def _touch(self, slot: Slot) -> None:
        self._uses += 1
        slot.used = self._uses


def common(one: list[int], other: list[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> common([1, 2, 3, 4], [1, 2, 9])
    2
    """
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low < high - 1:  # alike up to `low`, not up to `high`
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low
