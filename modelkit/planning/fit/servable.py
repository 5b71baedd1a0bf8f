"""Which precisions vLLM can compute on which hardware, and what of it comes nearest to a GGUF type. Pure."""

from __future__ import annotations

from modelkit.planning.fit.hardware import Hardware


def servable(hardware: Hardware, engine: str = "vllm") -> dict[str, str | None]:
    """Each precision that the engine knows, with why this hardware can't compute it; None where it can."""
    return {}
