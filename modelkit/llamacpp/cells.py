"""How full the attention cache is. llama.cpp cannot be asked, so cells are counted as it counts them.

A cell holds one token of one or several sequences. It is *busy* while a sequence that is being computed has it, *idle*
when only finished ones do, which are kept for their prefix.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Cells:
    """The cells of one cache, by numbers of our own."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.busy = 0
        self._free = list(range(total - 1, -1, -1))
        self._holders: NDArray[np.int16] = np.zeros(total, np.int16)
        self._workers: NDArray[np.int16] = np.zeros(total, np.int16)  # of the holders, those being computed

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def used(self) -> int:
        return self.total - len(self._free)

    @property
    def available(self) -> int:
        """Free, or free once every idle sequence is forgotten."""
        return self.total - self.busy

    def take(self, count: int) -> list[int]:
        """Free cells for a sequence that is being computed; `count` is at most `free`."""
        if count == 1:
            taken = [self._free.pop()]
        else:
            taken = self._free[len(self._free) - count:]
            del self._free[len(self._free) - count:]
        self._holders[taken] = 1
        self._workers[taken] = 1
        self.busy += count
        return taken

    def share(self, cells: list[int]) -> None:
        """One more sequence that is being computed has these cells."""
        self._holders[cells] += 1
        self.wake(cells)

    def wake(self, cells: list[int]) -> None:
        """A finished sequence is being computed again."""
        self.busy += self.idle_among(cells)
        self._workers[cells] += 1

    def rest(self, cells: list[int]) -> None:
        """A sequence is finished, and keeps its cells."""
        self._workers[cells] -= 1
        self.busy -= self.idle_among(cells)

    def drop(self, cells: list[int]) -> None:
        """A finished sequence forgets these cells."""
        self._holders[cells] -= 1
        held = self._holders[cells]
        self._free.extend(cell for cell, holders in zip(cells, held.tolist(), strict=True) if not holders)

    def idle_among(self, cells: list[int]) -> int:
        """How many of these no sequence in work has."""
        return len(cells) - int(np.count_nonzero(self._workers[cells]))
