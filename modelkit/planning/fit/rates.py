"""How near engines come to what hardware could do: the constants of `speed`, and where each is from.

Each is the middle of what was seen, and `SPREAD_GPU` and `SPREAD_CPU` say how far machines, builds and drivers lie
around it. A machine's own benchmarks replace that by knowledge (`calibration`).

GPUs: chosen so that published measurements lie around them, of llama.cpp (pull requests 6766, 7860, 15802, 17505; the
tables dmatora, normiebench; llmfit's of a RX 6900 XT) and of vLLM 0.21 and 0.23 (A100, H100), builds of 2024-04 to
2026-08. Processors: measured in one thread of an EPYC 7003 (AVX2, processor time) with llama.cpp of llama-cpp-python
0.3.36, a decoder of 12 layers and 1024 columns in every type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelkit.planning.fit.hardware import Device, Kind, Link


@dataclass(frozen=True)
class Rates:
    """Of one engine on one kind of GPU. Times in seconds; shares of what the GPU can do."""

    step: float  # of any step: scheduling, sampling, the answer's way out
    user: float  # more for each conversation in it
    layer: float  # of each layer: launches that nothing hides
    routed: float  # more for each layer with experts
    moved: float  # share of the bandwidth
    vector: float  # share of the arithmetic while few tokens are computed at once
    matrix: float  # share of it with many, as while a prompt is read
    few: int = 0  # tokens that are still computed one by one
    tile: int = 1  # tokens that a product of matrices computes at least


_LLAMA: Mapping[Kind, Rates] = {
    "cuda": Rates(2e-4, 2e-5, 1.5e-5, 8e-5, 0.82, 0.28, 0.75, 8, 32),
    "rocm": Rates(3e-4, 2e-5, 2.5e-5, 9e-5, 0.76, 0.25, 0.40, 8, 32),
    "metal": Rates(4e-4, 2e-5, 3.0e-5, 1e-4, 0.74, 1.50, 0.75, 8, 32),
}
_VLLM: Mapping[Kind, Rates] = {
    "cuda": Rates(8e-4, 1.5e-4, 8.0e-6, 5e-5, 0.84, 0.50, 0.55),
    "rocm": Rates(1e-3, 1.5e-4, 1.2e-5, 6e-5, 0.76, 0.40, 0.40),
}

UNGRAPHED = 3.0
"""How many times as long llama.cpp's layers take to be launched for more tokens than `few`: it has no CUDA graphs
for those. A guess; it counts for small models only."""

LINKS: Mapping[Link, float] = {"none": 3e-5, "pcie": 3e-5, "nvlink": 8e-6, "xgmi": 1.2e-5, "unified": 3e-5}
"""Seconds until a sum over GPUs begins to move: a rule (5 to 10 us by NVLink, 20 to 40 by PCIe without peer access)."""

LINK_MOVED = 0.8
"""Share of a link's bandwidth: 77 to 81 % were measured of NCCL on four H100."""

SLOWEST_LINK = 15.8e9

SPREAD_GPU = {"fixed": 0.22, "memory": 0.135, "vector": 0.30, "matrix": 0.17, "link": 0.30}
SPREAD_CPU = {"fixed": 0.40, "memory": 0.20, "vector": 0.20, "matrix": 0.25, "link": 0.30}
"""Standard deviation of each factor's logarithm before anything is measured."""

NOISE_CPU = 0.075
"""Standard deviation of what is left on a processor after calibration: the table below is of one processor."""

UNPACKED: Mapping[str, float] = {"Q3_K": 1.3, "Q2_K": 1.25, "IQ4_XS": 1.1, "IQ3_S": 1.35, "IQ3_XXS": 1.35,
                                 "IQ2_S": 1.35, "IQ2_XS": 1.35, "IQ2_XXS": 1.35, "IQ1_S": 1.3, "IQ1_M": 1.4}
"""How much longer than their bytes weights take whose unpacking costs more than moving them, on GPUs: Q3_K and Q2_K by
llama.cpp's own table of Llama-3-8B (tools/quantize/README), of the IQ types taken to be alike."""

CPU_STEP, CPU_USER, CPU_LAYER = 2e-4, 1e-4, 2e-5
"""Seconds of a step, of each conversation in it, and of each layer: threads that wait for each other, sampling."""

VLLM_CPU_STEP, VLLM_CPU_LAYER = 2e-2, 1.5e-3
"""The same of vLLM's build for processors: SmolLM2-135M in float32 took 0.21 s of processor time a step of 8 users and
0.22 of 16, on two cores (vLLM 0.32)."""

CPU_MOVED = 0.85
"""Share of the bandwidth."""

CPU_CORE_MOVES = 0.5
"""Share of the bandwidth that one core can use."""

CPU_ATTENDED_ONE, CPU_ATTENDED_MANY = 0.25, 1.5
"""What a core computes of attention, as a multiple of `Hardware.cpu_flops`: for one token and for many."""

_CPU: Mapping[str, tuple[float, float]] = {
    "F32": (1.0, 3.4), "F16": (1.0, 3.9), "BF16": (0.75, 2.8), "Q8_0": (1.25, 2.9), "Q6_K": (1.25, 3.2),
    "Q5_K": (1.15, 3.8), "Q5_1": (0.95, 1.2), "Q5_0": (1.15, 2.0), "Q4_K": (1.35, 3.5), "Q4_1": (1.25, 1.7),
    "Q4_0": (2.1, 3.7), "IQ4_NL": (2.1, 3.4), "IQ4_XS": (1.15, 3.8), "MXFP4": (1.9, 2.9), "Q3_K": (1.2, 3.0),
    "IQ3_S": (0.5, 3.4), "Q2_K": (1.8, 3.6), "TQ2_0": (3.0, 4.0),
}


def of_device(engine: str, device: Device) -> Rates:
    return (_VLLM if engine == "vllm" else _LLAMA).get(device.kind, _LLAMA["cuda"])


def cpu_vector(kind: str) -> float:
    """Operations a second that one core computes of weights of this type, few tokens at once, as a multiple of
    `Hardware.cpu_flops`."""
    return _CPU.get(kind, (1.0, 2.5))[0]


def cpu_matrix(kind: str) -> float:
    """The same of many tokens at once."""
    return _CPU.get(kind, (1.0, 2.5))[1]
