"""What generations get of the requests beside the one that serves: a share of the conversations, or of copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modelkit.runtime.control import Ask
from modelkit.runtime.generation import Generation
from modelkit.runtime.kept import Phase
from modelkit.runtime.wire import Message

Kind = Literal["split", "mirror"]
"""`split`: a share of the conversations is answered there; `mirror`: copies go there, and their answers nowhere."""

Give = Callable[[Generation | None, float], None]


@dataclass(frozen=True)
class Share:
    """A part (0 to 1) of the conversations; of a split, 0 leaves those who ask for the candidate by name."""

    generation: Generation
    part: float
    ask: Ask


class Shares:
    """One share of each kind at most. It ends with its generation's readiness, and with the client who asked for it."""

    def __init__(self, give: dict[Kind, Give], observe: Callable[[Message], None]) -> None:
        self._give, self._observe = give, observe
        self._held: dict[Kind, Share] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def of(self, generation: Generation) -> dict[Kind, float]:
        """What a generation gets."""
        return {kind: share.part for kind, share in self._held.items() if share.generation is generation}

    def part(self, kind: Kind) -> float:
        """How much somebody gets of this kind."""
        return self._held[kind].part if kind in self._held else 0.0

    def set(self, kind: Kind, generation: Generation, part: float, ask: Ask) -> None:
        """From now on, in place of what there was of this kind."""
        share = self._held[kind] = Share(generation, part, ask)
        self._give[kind](generation, part)
        self._say(kind, share, None)
        ask.gone.add_done_callback(lambda _: self._gone(kind, share))

    def end(self, kind: Kind, reason: str) -> None:
        """New requests go only to what serves."""
        if (share := self._held.pop(kind, None)) is not None:
            self._give[kind](None, 0.0)
            self._say(kind, share, reason)

    def _gone(self, kind: Kind, share: Share) -> None:
        if self._held.get(kind) is share:
            self.end(kind, "who asked went away")

    def leave(self, generation: Generation, reason: str) -> None:
        """A generation gets nothing any more."""
        for kind in self.of(generation):
            self.end(kind, reason)

    def clear(self, reason: str) -> None:
        for kind in tuple(self._held):
            self.end(kind, reason)

    def follow(self, generation: Generation) -> None:
        """A generation has a new phase or socket: one that is not ready loses its shares, and gets none back."""
        if generation.phase is not Phase.READY:
            self.leave(generation, f"it is {generation.phase.value}")
            return
        for kind, part in self.of(generation).items():
            self._give[kind](generation, part)

    def _say(self, kind: Kind, share: Share, reason: str | None) -> None:
        event = {"event": kind, "generation": share.generation.id, "stage": share.generation.stage,
                 "share": share.part if reason is None else None, **({"reason": reason} if reason else {})}
        self._observe(event)
        share.ask.say(event)
