"""This machine as a `Hardware`."""

from __future__ import annotations

from modelkit.llamacpp.cores import usable_cores
from modelkit.planning.fit.hardware import Hardware
from modelkit.runtime.machine import memory


def here() -> Hardware:
    """This machine: what processes of ours may have of it, and what is free now. Never raises, and ends within
    seconds whatever a driver does."""
    return Hardware("this machine", cpus=usable_cores(), ram=memory(), source="measured")
