"""The fleet's and the supervisor's hold on the edge: generations in their words, upstreams in the edge's."""

from __future__ import annotations

from collections.abc import Sequence

from modelkit.runtime.edge.sockets import bind
from modelkit.runtime.generation import Generation


class EdgeGate:
    """One address, and which generation is behind it."""

    def __init__(self) -> None:
        self.endpoint = ""

    async def bind(self, host: str, port: int, key_hashes: Sequence[str], hosts: Sequence[str]) -> None:
        self._sockets = bind(host, port, keyed=bool(key_hashes))
        self.endpoint = f"http://{host}:{self._sockets[0].getsockname()[1]}"

    def admit(self, host: str, key_hashes: Sequence[str], hosts: Sequence[str]) -> None:
        pass

    def open(self, generation: Generation) -> None:
        pass

    def shut(self, reason: str) -> None:
        pass

    async def empty(self, generation: Generation, seconds: float) -> None:
        pass

    def in_flight(self, generation: Generation) -> int:
        return 0

    async def close(self, seconds: float) -> None:
        for s in self._sockets:
            s.close()
