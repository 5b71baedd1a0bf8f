"""This machine's hardware, as its kernel and its drivers tell it, and what our processes hold of its GPUs."""

from modelkit.runtime.hardware.here import Machine, here, look
from modelkit.runtime.hardware.use import used_by

__all__ = ["Machine", "here", "look", "used_by"]
