"""What vLLM can compute on which hardware: precisions of weights and of the attention cache.

Precisions of weights by capability stand in `planning.fit.servable`; those of the cache are of vLLM 0.32's attention
backends (`v1/attention/backends`) and of what was measured on CPUs.
"""

from __future__ import annotations

from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.accelerators import ACCELERATORS
from modelkit.planning.fit.servable import KERNELS, LEAST
from modelkit.planning.plan import Plan, Setting

_PLAIN = ("", "bfloat16", "float16", "float32", "bf16", "f16", "f32", "half", "float")


def on_cpu(plan: Plan) -> bool:
    """Whether the plan's vLLM is a build for CPUs. Without an engine nothing is known, and most have a GPU."""
    return plan.engine is not None and plan.engine.variant == "cpu"


def capability(plan: Plan) -> int | None:
    """The GPU's compute capability times ten; None on CPUs and where the GPU is not known."""
    if on_cpu(plan) or plan.accelerator is None:
        return None
    return ACCELERATORS[plan.accelerator].capability


def quantized_as(plan: Plan) -> str | None:
    """What the base itself was quantized with (`awq`, `fp8`, `compressed-tensors` …), None for plain weights."""
    said = plan.shape.precision.lower()
    gguf = plan.reference.lower().endswith(".gguf")
    return None if said in _PLAIN or gguf or said.upper() == plan.shape.precision else said


def unfit_processor(precision: str, plan: Plan) -> str | None:
    """Why vLLM on this machine's processor can't compute with weights of a precision, None when it can.

    Measured on vLLM 0.32 for CPUs with AVX2 alone: 4-bit weights fail at the first request (their kernel is written
    for AVX-512, vllm#55613), int8 answers nonsense (it overflows without VNNI, pytorch#103646).
    """
    kernels = KERNELS.get(precision, ())
    if not kernels or not _processor_known(plan) or set(kernels) & set(plan.cpu_flags):
        return None
    return f"vLLM computes {precision} on processors with {' or '.join(kernels)} only, and this one has neither" \
        if len(kernels) > 1 else f"vLLM computes {precision} on processors with {kernels[0]} only"


def cpu_dtype(plan: Plan) -> str:
    """What vLLM computes plain weights with on the plan's processor.

    Measured on vLLM 0.32 and an x86 processor with AVX2 alone, 8 streams of a 135M model: 96 ms of processor time a
    token in bfloat16, which it has to emulate, 26 ms in float32. Quantized weights are written for 16 bits.
    """
    said = plan.setting("quantize")
    row = PRECISIONS.get(str(said.value)) if said is not None else None
    plain = quantized_as(plan) is None and (row is None or row.form != "safetensors")
    if plain and plan.task != "chat":  # vectors are compared with those of other engines
        return "float32"
    x86 = _processor_known(plan) and "avx2" in plan.cpu_flags
    emulated = x86 and not any(flag.startswith(("avx512", "amx")) for flag in plan.cpu_flags)
    return "float32" if plain and emulated else "bfloat16"


def presume_hardware(plan: Plan) -> None:
    """Raise Failure for a precision of weights or cache that the plan's processor or GPU can't compute with."""
    said, cache = plan.setting("quantize"), plan.setting("serve.kv_cache")
    if said is not None and (reason := unfit_processor(str(said.value), plan)) is not None:
        raise Failure("precision-not-here", f"{reason} ({_place(said)})",
                      hint="take `QUANTIZE fp8` or `none` for this machine, or run the stage on another one")
    if cache is not None and cache.value in ("fp8", "q8_0", "q4_0") and _processor_known(plan) \
            and not any(flag.startswith(("avx512f", "amx")) for flag in plan.cpu_flags):
        raise Failure("precision-not-here", f"vLLM keeps its cache in 8 bits on processors with AVX-512 or AMX only "
                      f"({_place(cache)})", hint="write `SERVE kv_cache bf16` for this machine")
    sm = capability(plan)
    if sm is None:
        return
    gpu = f"{plan.accelerator} is sm_{sm}"
    for word, where in ((str(said.value), _place(said)) if said else ("", ""), (quantized_as(plan) or "", "the base")):
        if LEAST.get(word, 0) > sm:
            raise Failure("precision-not-there", f"vLLM computes {word} on GPUs from sm_{LEAST[word]} on, and "
                          f"{gpu} ({where})", hint="take weights of another precision, or `SERVE accelerator L4`")
    if cache is not None and cache.value in ("fp8", "q8_0", "q4_0", "bf16") and sm < 80:
        raise Failure("precision-not-there", f"vLLM keeps a cache of {cache.value} on GPUs from sm_80 on, and {gpu} "
                      f"({_place(cache)})", hint="write `SERVE kv_cache f16`, or take a newer GPU")


def _processor_known(plan: Plan) -> bool:
    return on_cpu(plan) and plan.image is None and bool(plan.cpu_flags)


def _place(setting: Setting) -> str:
    return str(setting.origin.where or setting.origin)
