"""What one maker's driver was found to have."""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.planning.fit.hardware import Device


@dataclass(frozen=True)
class Looked:
    """GPUs that a process of ours sees. `problem` says in words what keeps us from them, or from some of them."""

    devices: tuple[Device, ...] = ()
    driver: str = ""
    problem: str = ""
    processes: tuple[tuple[int, int | None], ...] | None = None
    """Who computes on any of the machine's GPUs, each with the bytes that it holds; None where that is not told."""
