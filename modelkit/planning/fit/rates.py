"""How near engines come to what hardware could do: the constants of `speed`, and where each is from.

Nothing here is a promise: each is the middle of what was seen, and `SPREAD` says how far machines, builds and drivers
lie around it. A machine's own benchmarks replace that by knowledge (`calibration`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelkit.planning.fit.hardware import Device, Hardware, Kind


@dataclass(frozen=True)
class Rates:
    """Of one engine on one kind of device. Shares are of what the device can do; times in seconds."""

    step: float  # of any step: scheduling, sampling, the answer's way out
    layer: float  # of each layer: launches that nothing hides
    routed: float  # more for each layer with experts
    user: float  # more for each conversation in a step
    moved: float  # share of the bandwidth
    vector: float  # share of the arithmetic while few tokens are computed at once
    matrix: float  # share of it with many, as while a prompt is read
    few: int  # tokens that are still computed one by one; 0: never


_LLAMA: Mapping[Kind, Rates] = {
    "cuda": Rates(2e-4, 2.0e-5, 1.0e-4, 2e-5, 0.84, 0.28, 0.45, 8),
    "rocm": Rates(4e-4, 4.0e-5, 1.2e-4, 2e-5, 0.72, 0.20, 0.35, 8),
    "metal": Rates(4e-4, 3.0e-5, 1.0e-4, 2e-5, 0.72, 0.30, 0.60, 8),
}
_VLLM: Mapping[Kind, Rates] = {
    "cuda": Rates(8e-4, 8e-6, 5e-5, 1.2e-4, 0.84, 0.5, 0.5, 0),
    "rocm": Rates(1e-3, 1.2e-5, 6e-5, 1.2e-4, 0.76, 0.4, 0.4, 0),
    "metal": Rates(2e-3, 5e-5, 1e-4, 2e-4, 0.65, 0.4, 0.5, 0),
}

CPU_STEP, CPU_LAYER, CPU_MOVED = 3e-4, 2e-5, 0.85
"""A processor's own: seconds of a step and of a layer (threads that wait for each other), share of the bandwidth."""

SPREAD_GPU = {"fixed": 0.40, "memory": 0.11, "vector": 0.30, "matrix": 0.17, "link": 0.30}
SPREAD_CPU = {"fixed": 0.40, "memory": 0.20, "vector": 0.22, "matrix": 0.25, "link": 0.30}
"""Standard deviation of each factor's logarithm before anything is measured."""

DECODING_BOUND: Mapping[str, float] = {"Q3_K": 1.3, "Q2_K": 1.25, "IQ4_XS": 1.1, "IQ3_S": 1.35, "IQ3_XXS": 1.35,
                                       "IQ2_S": 1.35, "IQ2_XS": 1.35, "IQ2_XXS": 1.35, "IQ1_S": 1.3, "IQ1_M": 1.4}
"""How much longer than their bytes take weights take whose unpacking costs more than moving them, on GPUs."""

CPU_VECTOR: Mapping[str, float] = {}
CPU_MATRIX: Mapping[str, float] = {}


def of_device(engine: str, device: Device) -> Rates:
    return (_VLLM if engine in ("vllm", "sglang") else _LLAMA).get(device.kind, _LLAMA["cuda"])


def spread(hardware: Hardware, on_gpu: bool) -> Mapping[str, float]:
    """Of a machine's factors."""
    return SPREAD_GPU if on_gpu else SPREAD_CPU


def cpu_vector(kind: str) -> float:
    """Operations a second that one core computes of weights of this type, few tokens at once, as a multiple of
    `Hardware.cpu_flops`, which is Q4_1's."""
    return CPU_VECTOR.get(kind, 1.0)


def cpu_matrix(kind: str) -> float:
    """The same of many tokens at once."""
    return CPU_MATRIX.get(kind, 2.4)
