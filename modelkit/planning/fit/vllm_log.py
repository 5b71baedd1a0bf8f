"""What vLLM says in its log of the memory that it really took (0.32, and the forms of before it)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VllmLog:
    """Figures of one start, bytes and tokens; None for what the log does not say. Of several GPUs the first's."""

    kv_tokens: int | None = None
    concurrency: float | None = None  # conversations of `context_length`
    context_length: int | None = None
    kv_bytes: int | None = None
    weights: int | None = None
    activation: int | None = None
    graphs: int | None = None
    graphs_estimated: int | None = None
    non_torch: int | None = None
    block_size: int | None = None


def read(text: str) -> VllmLog:
    """What the log says."""
    return VllmLog()
