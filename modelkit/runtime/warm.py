"""What served before and stays ready for a while, without requests: to go back to it takes no start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelkit.runtime.generation import Generation


class Warm:
    """One generation at most; another one's coming ends it, as its time does. `cool` hears which, and its drain."""

    def __init__(self, cool: Callable[[Generation, float], None]) -> None:
        self.generation: Generation | None = None
        self._cool = cool
        self._timer: asyncio.TimerHandle | None = None
        self._drain = 0.0

    def keep(self, generation: Generation, seconds: float, drain: float) -> None:
        """For so long; then it gets `drain` seconds for what is still in flight."""
        self.end()
        self.generation, self._drain = generation, drain
        self._timer = asyncio.get_running_loop().call_later(seconds, self.end)

    def seconds_left(self, generation: Generation) -> float | None:
        """For how long it stays; None for one that is not kept."""
        if generation is not self.generation or self._timer is None:
            return None
        return max(0.0, self._timer.when() - asyncio.get_running_loop().time())

    def release(self, generation: Generation) -> None:
        """It is somebody else's to stop, if it was kept."""
        if generation is self.generation:
            self.generation = None
            if self._timer is not None:
                self._timer.cancel()

    def end(self) -> None:
        """It has been kept for long enough."""
        if (generation := self.generation) is not None:
            self.release(generation)
            self._cool(generation, self._drain)
