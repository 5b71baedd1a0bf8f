"""GPUs of this machine: what they are called, and which of them a replica sees: copies must not share them."""

from __future__ import annotations

from collections.abc import Mapping

from modelkit.failure import Failure
from modelkit.runtime.asking import run

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_name() -> str | None:
    """This machine's first NVIDIA GPU as its driver names it; None where there is none, or nobody answers."""
    code, said = run(("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"))
    return next((name.strip() for name in said.splitlines() if name.strip()), None) if code == 0 else None


def share(environment: Mapping[str, str], gpus: int, replica: int, *, alone: bool) -> Mapping[str, str]:
    """The environment of a replica that takes `gpus` GPUs for itself, of those that the user lets us see.

    The first one alone sees them all, and takes the first of them. Raises Failure when the user's list is too short.

    >>> share({"CUDA_VISIBLE_DEVICES": "2,3,5,7"}, 2, 2, alone=False)
    {'CUDA_VISIBLE_DEVICES': '5,7'}
    >>> share({}, 1, 3, alone=False)
    {'CUDA_VISIBLE_DEVICES': '2'}
    """
    if not gpus or (alone and replica == 1):
        return environment
    first, last = (replica - 1) * gpus, replica * gpus
    said = environment.get(_VISIBLE)
    named = [str(n) for n in range(last)] if said is None else [word for word in said.split(",") if word.strip()]
    if len(named) < last:
        raise Failure("too-few-gpus", f"replica {replica} needs {gpus} GPUs of its own, and {_VISIBLE} names "
                      f"{len(named)} for all", f"SERVE replicas {len(named) // gpus}" if len(named) >= gpus else None)
    return {**environment, _VISIBLE: ",".join(named[first:last])}
