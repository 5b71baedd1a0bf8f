"""How much one client may ask of the edge, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EdgeLimits:
    """Sizes are in bytes, times in seconds. There is no limit on how long an engine may think."""

    body_bytes: int = 8 * 1024 * 1024  # beyond it: 413
    head_bytes: int = 32 * 1024  # request line and headers; beyond it: 431
    headers: int = 100  # how many; beyond it: 431
    connections: int = 2048  # open at once; beyond it: 503
    pipelined: int = 16  # requests read ahead of the one that is being answered
    replay_bytes: int = 64 * 1024  # a request this small can be sent again when a pooled connection was stale
    head_seconds: float = 10.0  # from a request's first byte to the end of its headers
    body_seconds: float = 60.0  # between two reads of a body
    idle_seconds: float = 75.0  # a kept-alive connection without a request
    stall_seconds: float = 300.0  # a client that reads nothing of its answer
    linger_seconds: float = 1.0  # from a refusal to the close, so that the client can read it
    connect_seconds: float = 5.0  # to get into an engine's accept queue
    pool_seconds: float = 4.0  # an unused engine connection; the engines' own limit is 5
    pooled: int = 128  # unused engine connections that are kept
    mirrored: int = 16  # copies of requests under way to a candidate; the next ones are left out
    mirror_seconds: float = 600.0  # a copy whose answer takes longer counts as failed
    retry_after: int = 2  # what a 503 tells the client to wait

    @property
    def tick(self) -> float:
        """How often deadlines are looked at: often enough for the shortest of them."""
        return min(0.5, min(self.head_seconds, self.body_seconds, self.idle_seconds, self.stall_seconds,
                            self.linger_seconds, self.pool_seconds) / 4)
