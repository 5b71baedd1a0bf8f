"""How much memory llama.cpp takes to serve a model, line by line."""

from __future__ import annotations

from collections.abc import Iterable

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.llama_cache import cache_lines
from modelkit.planning.fit.serving import Serving


def budget(anatomy: Anatomy, serving: Serving, hardware: Hardware, *, beside: Iterable[Line] = ()) -> Budget:
    """What llama.cpp takes; `beside` are lines of what is loaded with the model."""
    lines = [Line("weights", "ram", anatomy.weight_bytes, "all tensors", "file"), *cache_lines(anatomy, serving)]
    capacity = {} if hardware.ram is None else {"ram": hardware.ram}
    return Budget((*lines, *beside), capacity)
