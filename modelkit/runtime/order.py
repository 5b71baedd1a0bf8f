"""One wish for a bundle, and what those who wait for it are told of the generations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from modelkit.runtime.control import Ask
from modelkit.runtime.generation import Generation
from modelkit.runtime.kept import Kept, Phase
from modelkit.runtime.wire import Message, failure_as_json

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle


class Order:
    """One `apply` under way. Whoever asks for the same meanwhile joins it."""

    def __init__(self, bundle: Bundle, *, allow_switch: bool, drain: float, restoring: bool) -> None:
        self.bundle, self.allow_switch, self.drain = bundle, allow_switch, drain
        self.restoring = restoring  # only if nothing serves when its turn comes
        self.key = (bundle.digest, bundle.replicas, allow_switch, restoring)
        self.asks: list[Ask] = []
        self.kept = False  # goes on when nobody waits for it any more
        self.decided = False  # the address has changed hands
        self.task: asyncio.Task[Message]
        self._last: Message | None = None

    def say(self, event: Message) -> None:
        self._last = event if event["event"] != "log" else self._last
        for ask in self.asks:
            ask.say(event)

    def join(self, ask: Ask, keep: bool) -> None:
        """One more waits for it; they are told where it is."""
        self.kept |= keep
        self.asks.append(ask)
        if self._last is not None:
            ask.say(self._last)


def phase_event(generation: Generation) -> Message:
    """What listeners are told about a change of phase."""
    event: Message = {"event": "phase", "generation": generation.id, "stage": generation.stage,
                      "phase": generation.phase.value, "restarts": generation.restarts}
    if generation.failure is not None and generation.phase in (Phase.BACKOFF, Phase.FAILED):
        event["failure"] = failure_as_json(generation.failure)
    return event


def process_event(generation: Generation, kept: Kept) -> Message:
    """What they are told about one of several; replica 0 is what stands before them."""
    event: Message = {"event": "replica", "generation": generation.id, "stage": generation.stage,
                      "replica": kept.number, "phase": kept.phase.value, "restarts": kept.restarts,
                      "ready": generation.ready, "replicas": len(generation.replicas)}
    if kept.failure is not None and kept.phase in (Phase.BACKOFF, Phase.FAILED):
        event["failure"] = failure_as_json(kept.failure)
    return event
