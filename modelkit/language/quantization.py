"""`QUANTIZE` words: how precisely weights are kept, and in which form."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple


class Precision(NamedTuple):
    """One way to keep weights. `bits` a weight are approximate; `form` is where the word belongs."""

    name: str
    bits: float
    form: Literal["gguf", "safetensors", "any"]
    doc: str
    needs_imatrix: bool = False  # llama.cpp makes it for most models only with an importance matrix
    effective: bool = True


_NEED_IMATRIX = ("IQ3_XS", "IQ3_XXS", "Q2_K_S", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")


def _gguf(*rows: tuple[str, float]) -> tuple[Precision, ...]:
    return tuple(Precision(name, bits, "gguf", f"llama.cpp's {name}.", name in _NEED_IMATRIX) for name, bits in rows)


_ROWS = (
    Precision("none", 16, "any", "The weights as the base has them."),
    Precision("fp8", 8, "safetensors", "8-bit floating point."),
    Precision("int8", 8, "safetensors", "8-bit integers, weights and activations."),
    Precision("awq", 4.2, "safetensors", "4-bit, activation-aware."),
    Precision("gptq", 4.2, "safetensors", "4-bit, calibrated layer by layer."),
    Precision("w4a16", 4.2, "safetensors", "4-bit weights, 16-bit activations."),
    Precision("nvfp4", 4.5, "safetensors", "4-bit floating point of recent NVIDIA GPUs.", effective=False),
    *_gguf(("F32", 32), ("F16", 16), ("BF16", 16), ("Q8_0", 8.5), ("Q6_K", 6.56), ("Q5_K_M", 5.69), ("Q5_K_S", 5.54),
           ("Q5_1", 6.0), ("Q5_0", 5.5), ("Q4_K_M", 4.85), ("Q4_K_S", 4.58), ("Q4_1", 5.0), ("Q4_0", 4.55),
           ("IQ4_NL", 4.5), ("IQ4_XS", 4.25), ("MXFP4", 4.25), ("Q3_K_L", 4.27), ("Q3_K_M", 3.91), ("Q3_K_S", 3.5),
           ("IQ3_M", 3.66), ("IQ3_S", 3.44), ("IQ3_XS", 3.3), ("IQ3_XXS", 3.06), ("Q2_K", 3.35), ("Q2_K_S", 2.96),
           ("IQ2_M", 2.7), ("IQ2_S", 2.5), ("IQ2_XS", 2.31), ("IQ2_XXS", 2.06), ("IQ1_M", 1.75), ("IQ1_S", 1.56),
           ("TQ2_0", 2.06), ("TQ1_0", 1.69)),
)

PRECISIONS: dict[str, Precision] = {row.name: row for row in _ROWS}

AUTO = "auto"

SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "FP16": "F16", "FP32": "F32"}
"""Spellings that Ollama or llama.cpp take for another word; accepted, any case."""

OTHER_WORDS = {name.lower().replace("_", ""): name for name in PRECISIONS} | {
    "int4": "w4a16", "q4": "Q4_K_M", "q5": "Q5_K_M", "q6": "Q6_K", "q8": "Q8_0", "float8": "fp8", "float16": "F16",
    "bfloat16": "BF16", "float32": "F32",
}
"""What people also write; a hint names ours."""

_CANONICAL = {name.lower(): name for name in PRECISIONS} | {short.lower(): name for short, name in SHORT.items()}


def precision(word: str) -> Precision | None:
    """The row for a word in any case, or for one of its short forms."""
    name = _CANONICAL.get(word.lower())
    return None if name is None else PRECISIONS[name]


def named_in(reference: str) -> str | None:
    """The precision that a reference names, as `…:Q4_K_M` and `….Q4_1.gguf` do; None when it names none, or two."""
    rows = (precision(word) for word in re.findall(r"[A-Za-z0-9_]+", reference))
    found = {row.name for row in rows if row is not None and row.form != "any"}
    return found.pop() if len(found) == 1 else None
