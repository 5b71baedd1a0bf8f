"""Which precisions vLLM can compute on which hardware, and which of them come nearest to a GGUF type. Pure.

Capabilities are those of vLLM 0.32's own classes (`get_min_capability` in `model_executor/layers/quantization` and
`model_executor/kernels/linear`), ROCm's list is `platforms/rocm.py`'s, what CPUs need was measured (vllm#55613,
pytorch#103646). None of it was tried on a GPU by us.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.language.quantization import PRECISIONS, precision
from modelkit.planning.fit.hardware import Hardware

LEAST = {"fp8": 75, "int8": 75, "awq": 75, "gptq": 60, "w4a16": 75, "nvfp4": 75, "mxfp4": 80,
         "compressed-tensors": 75, "modelopt": 75}
"""The least compute capability, times ten, for weights of a precision, ours or a checkpoint's own word for it."""

NATIVE = {"fp8": 89, "int8": 75, "nvfp4": 100, "mxfp4": 100}
"""From which capability on products are computed in that precision; below it weights are unpacked to 16 bits first,
which saves memory and time to read it, and no arithmetic. Four-bit integers are always unpacked."""

KERNELS = {"w4a16": ("avx512f",), "awq": ("avx512f",), "gptq": ("avx512f",), "int8": ("avx512_vnni", "avx_vnni")}
"""What one of a processor's features has to be for vLLM's kernels of a precision."""

_ROCM = ("fp8", "int8", "awq", "gptq", "w4a16", "mxfp4", "compressed-tensors")
_NVIDIA_ALONE = ("nvfp4",)

NEAREST: dict[str, tuple[str, ...]] = {
    "Q8_0": ("fp8", "int8"), **dict.fromkeys(("Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0"), ("fp8", "int8")),
    **dict.fromkeys(("Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS"), ("awq", "gptq", "w4a16")),
    "MXFP4": ("mxfp4", "nvfp4", "w4a16")}
"""What vLLM serves in the place of a GGUF type: the next that has at least as many bits, by the habit of their makers.
Nobody has measured both families on one scale, so none of these is said to be as good."""


@dataclass(frozen=True)
class Servable:
    """One precision on some hardware: `how` it is computed there, or why it is not (`refused`)."""

    precision: str
    how: str = ""
    refused: str = ""

    def __bool__(self) -> bool:
        return not self.refused


def servable(hardware: Hardware, engine: str = "vllm") -> dict[str, Servable]:
    """Every word of QUANTIZE that the engine's form has, by itself, with whether this hardware computes it.

    vLLM's on a CPU depend on its features, which hardware by name does not say: `how` says what is needed.
    """
    if engine != "vllm":
        return {name: Servable(name, "computed by llama.cpp everywhere") for name, row in PRECISIONS.items()
                if row.form == "gguf"}
    return {name: on(name, hardware) for name in (*(name for name, row in PRECISIONS.items()
                                                   if row.form == "safetensors"), "mxfp4")}


def on(word: str, hardware: Hardware) -> Servable:
    """One precision of vLLM's, a key of LEAST."""
    gpu = hardware.gpu
    if gpu is None:
        return _on_cpu(word)
    if gpu.kind == "metal":
        return Servable(word, refused="vLLM has no build for Apple's GPUs")
    if gpu.kind == "rocm":
        return Servable(word, "as vLLM lists it for ROCm; not tried by us") if word in _ROCM else \
            Servable(word, refused=f"vLLM computes {word} on NVIDIA's GPUs only")
    if gpu.capability is None or word not in LEAST:
        return Servable(word, "whether this GPU computes it is not known")
    if gpu.capability < LEAST[word]:
        return Servable(word, refused=f"vLLM computes {word} on GPUs from sm_{LEAST[word]} on, and {gpu.name} is "
                        f"sm_{gpu.capability}")
    native = NATIVE.get(word)
    return Servable(word, f"computed as it is, from sm_{native} on" if native is not None and gpu.capability >= native
                    else "unpacked to 16 bits for each product: less memory to read, as much to compute")


def _on_cpu(word: str) -> Servable:
    if word in _NVIDIA_ALONE or word == "mxfp4":
        return Servable(word, refused=f"vLLM computes {word} on GPUs only")
    needed = KERNELS.get(word, ())
    return Servable(word, f"on processors with {' or '.join(needed)}" if needed else "on every processor")


def instead_of(word: str, hardware: Hardware) -> tuple[Servable, ...]:
    """What vLLM on this hardware could serve where a GGUF stage has `word`, nearest first; none below four bits."""
    row = precision(word)
    return tuple(found for name in NEAREST.get(row.name if row else word, ()) if (found := on(name, hardware)))
