"""A model whose latencies are a script, on whatever clock the loop has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from modelkit.release.client import Answer


class Scripted:
    """Answers the nth request after `first(n)` seconds, then `tokens` of them with `gap(n)` seconds between two.

    `servers` requests are worked on at a time, the others wait. `failing` says which fail.
    """

    def __init__(self, *, first: Callable[[int], float] = lambda n: 0.1, gap: Callable[[int], float] = lambda n: 0.01,
                 tokens: int = 5, servers: int = 10_000, failing: Callable[[int], bool] = lambda n: False,
                 ignore_eos: bool = True) -> None:
        self.first, self.gap, self.tokens, self.failing = first, gap, tokens, failing
        self.ignore_eos, self.bodies = ignore_eos, list[dict[str, Any]]()
        self._free = asyncio.Semaphore(servers)
        self._asked = 0

    async def chat(self, body: dict[str, Any]) -> Answer:
        if "ignore_eos" in body and not self.ignore_eos:
            return Answer(status=400, error="400: unknown field")
        words = len(body["messages"][-1]["content"].split())
        usage = {"prompt_tokens": 10 + 2 * words, "completion_tokens": self.tokens}
        if body.get("max_tokens") == 1:  # a probe is no request of the script
            return Answer("a", status=200, usage=usage, finish_reason="length")
        self.bodies.append(body)
        number, loop = self._asked, asyncio.get_running_loop()
        self._asked += 1
        begun = loop.time()
        async with self._free:
            if self.failing(number):
                return Answer(status=503, error="503: busy")
            await asyncio.sleep(self.first(number))
            first = loop.time() - begun
            gaps = (self.gap(number),) * (self.tokens - 1)
            await asyncio.sleep(sum(gaps))
        return Answer("a " * self.tokens, status=200, usage=usage, finish_reason="length", first=first, gaps=gaps,
                      seconds=loop.time() - begun)
