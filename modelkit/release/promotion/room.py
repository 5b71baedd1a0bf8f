"""Is there room for the candidate beside what serves? If not, what serves has to stop first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelkit.planning.plan import Plan
from modelkit.release.promotion.flow import Mode

Asked = Literal["auto", "side-by-side", "swap"]

_GPU_SHARE = 0.9  # of a GPU that a stage on vLLM takes when nobody says how much: the language's default
_SLACK = 1.1  # what is estimated may be so much too little
_OVERHEAD = 512 << 20  # bytes of an engine without its model


@dataclass(frozen=True)
class Room:
    """How the candidate comes, and why. `downtime` in seconds, as far as it is known: 0 side by side."""

    mode: Mode
    why: str
    downtime: float | None = 0.0


def room(asked: Asked, target: Plan, serving: Plan | None, *, held: int = 0, free: int | None = None,
         loaded: float = 0.0, need: int | None = None) -> Room:
    """Decide from what serves, the bytes that it holds (`held`), those that are `free`, and its time to load. `need`
    is what the candidate was planned with, where that is known."""
    if serving is None:
        return Room("side-by-side", "nothing serves yet")
    downtime = loaded if loaded else None
    if asked == "swap":
        return Room("swap", "asked for", downtime)
    if asked == "side-by-side":
        return Room("side-by-side", "asked for")
    if _on_gpu(target) and _on_gpu(serving):
        shares = _gpu_share(target) + _gpu_share(serving)
        if shares > 1:
            return Room("swap", f"both would take {shares:.0%} of the same GPU's memory", downtime)
        return Room("side-by-side", f"both together take {shares:.0%} of the GPU's memory")
    need = need or estimate(target, serving, held)
    if free is not None and need is not None and need > free:
        return Room("swap", f"it needs about {_gib(need)} GiB, and {_gib(free)} are free", downtime)
    known = need is not None and free is not None
    return Room("side-by-side", f"it needs about {_gib(need)} of {_gib(free)} GiB that are free" if known
                else "how much memory it needs is not known")


def estimate(target: Plan, serving: Plan, held: int = 0) -> int | None:
    """Bytes that the candidate will hold: what its like holds now, else its weights and its cache; None: unknown."""
    if target.weights is None:
        return None
    cache = (target.kv_bytes_per_token or 0) * target.context_length * target.max_concurrency
    computed = int((target.weights.size + cache) * _SLACK) + _OVERHEAD
    alike = target.engine_name == serving.engine_name and serving.weights is not None
    if alike and held and serving.weights is not None:
        return max(0, int(held * _SLACK) + target.weights.size - serving.weights.size)
    return computed


def _on_gpu(plan: Plan) -> bool:
    return plan.engine is not None and plan.engine.variant == "cuda"


def _gpu_share(plan: Plan) -> float:
    said = plan.setting("serve.gpu_memory")
    return float(said.value) if said is not None and isinstance(said.value, int | float) else _GPU_SHARE


def _gib(size: int | None) -> str:
    return f"{(size or 0) / 2**30:.1f}"
