"""What a connection to an engine wants of whom it works for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from modelkit.runtime.edge.framing import Body, ResponseHead

if TYPE_CHECKING:
    from modelkit.runtime.edge.upstream import Link


class Asker(Protocol):
    """A client's request, or a copy of one."""

    link: Link | None

    @property
    def cutting(self) -> bool:
        """Whether the answer is to end with the next chunk."""

    @property
    def paused(self) -> bool:
        """Whether nothing more of the answer can be taken now."""

    @property
    def complete(self) -> bool:
        """Whether the whole request has been sent."""

    @property
    def unchunks(self) -> bool:
        """Whether what the chunks hold is wanted without them."""

    def answering(self) -> None:
        """The engine has begun to speak."""

    def begin(self, head: ResponseHead, body: Body | None, data: bytes) -> None:
        """The answer's head, and what came with it of the body."""

    def relay(self, data: bytes) -> None:
        """More of the body."""

    def finish(self) -> None:
        """The answer is complete."""

    def cut(self) -> None:
        """The answer ends here."""

    def fail(self, code: str, message: str) -> None:
        """The answer won't be completed."""

    def lost(self) -> None:
        """The connection broke."""

    def hold(self, on: bool) -> None:
        """Whether to bring no more of the request for now."""

    def resume(self) -> None:
        """The answer goes on."""
