"""One question, whatever the engine: how much memory does it take to serve a model in this way on that hardware. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.llama_sizes import Sizes
from modelkit.planning.fit.serving import Serving


def budget(anatomy: Anatomy, serving: Serving, hardware: Hardware, *, beside: Iterable[Line] = (),
           asked: Sizes | None = None) -> Budget:
    """Line by line. `beside` are lines of what llama.cpp loads with the model; `asked` is what it says itself of this
    serving, else there are formulas.

    SGLang and TensorRT-LLM divide a GPU's memory as vLLM does, and their own overheads were not measured: a note says
    so.
    """
    if serving.engine in ("llama.cpp", "llama-server"):
        from modelkit.planning.fit import llama_cpp

        return llama_cpp.budget(anatomy, serving, hardware, beside=tuple(beside), asked=asked)
    from modelkit.planning.fit import vllm

    found = vllm.budget(anatomy, serving, hardware)
    if serving.engine == "vllm":
        return found
    return replace(found, notes=(*found.notes, f"by vLLM's formulas: {serving.engine} was not measured"))


def at_context(serving: Serving, tokens: int) -> Serving:
    """The same with conversations of another length, and cells for as many of them as before."""
    grown = tokens / serving.context_length
    return replace(serving, context_length=tokens, kv_tokens=round(serving.kv_tokens * grown),
                   draft=(round(serving.draft[0] * grown), serving.draft[1]))


def weights_of(found: Budget) -> int:
    """Bytes of the model's own weights, in all places."""
    return sum(line.size for line in found.lines if line.name.startswith("weights"))


def cache_of(found: Budget) -> int:
    """Bytes of what is kept of conversations, in all places."""
    return sum(line.size for line in found.lines if "cache" in line.name or line.name.startswith(("KV", "state")))
