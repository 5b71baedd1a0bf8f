"""Machines without cards: Apple's chips, processors with their memory, and chips that share one memory with a GPU.

Bandwidth in GB/s, arithmetic in TFLOP/s, memory in GiB. A processor's bandwidth is what its memory can move: transfers
a second times eight bytes times channels.
"""

from __future__ import annotations

from typing import NamedTuple

GPARSER = "gpustack/gguf-parser-go 8dc7a62 (2026-07)"
FIT = "AlexsJones/llmfit 3f44fd3 (2026-08)"
PRESS = "Apple's press releases, as macworld.com tells them"


class Apple(NamedTuple):
    """One of Apple's chips. `bf16` is GPU cores times 128 units times two operations times the clock."""

    name: str
    gpu_cores: int
    cpus: int  # performance cores
    bandwidth: float
    bf16: float
    sizes: tuple[int, ...]  # memory it is sold with, the usual one first
    source: str


APPLE: tuple[Apple, ...] = (
    # name, GPU cores, performance cores, bandwidth, bf16, sizes, source; the first row of a name is what it means alone
    Apple("M1", 8, 4, 68.3, 2.6, (16, 8), GPARSER), Apple("M1-Pro", 16, 8, 204.8, 5.2, (32, 16), GPARSER),
    Apple("M1-Max", 32, 8, 409.6, 10.4, (64, 32), GPARSER), Apple("M1-Ultra", 64, 16, 819.2, 20.8, (128, 64), GPARSER),
    Apple("M2", 10, 4, 102.4, 3.6, (16, 8, 24), GPARSER), Apple("M2-Pro", 19, 8, 204.8, 6.8, (32, 16), GPARSER),
    Apple("M2-Max", 38, 8, 409.6, 13.6, (64, 32, 96), GPARSER),
    Apple("M2-Ultra", 76, 16, 819.2, 27.2, (192, 64, 128), GPARSER),
    Apple("M3", 10, 4, 102.4, 3.5, (16, 8, 24), GPARSER), Apple("M3-Pro", 18, 6, 153.6, 6.4, (36, 18), GPARSER),
    Apple("M3-Max", 40, 12, 409.6, 14.1, (64, 48, 128), GPARSER),
    Apple("M3-Max", 30, 10, 307.2, 10.6, (36, 96), GPARSER),
    Apple("M3-Ultra", 80, 24, 819.2, 28.2, (256, 96, 512), f"{GPARSER}; {PRESS}"),
    Apple("M4", 10, 4, 120, 4.3, (16, 24, 32), GPARSER), Apple("M4-Pro", 20, 10, 273, 9.2, (48, 24, 64), GPARSER),
    Apple("M4-Max", 40, 12, 546, 18.4, (64, 48, 128), f"{GPARSER}; {PRESS}"),
    Apple("M4-Max", 32, 10, 410, 14.7, (36,), PRESS),
    Apple("M5", 10, 4, 153.6, 4.6, (16, 24, 32), FIT), Apple("M5-Pro", 20, 10, 307, 9.2, (48, 24, 64), FIT),
    Apple("M5-Max", 40, 12, 614, 18.4, (64, 36, 48, 128), FIT),
)


def gpu_share(gib: int) -> float:
    """Of an Apple chip's memory, what its GPU may have at the least.

    `recommendedMaxWorkingSetSize` was 10.67 of 16 GiB on one Mac, 11.84 of 16 on another, 107.52 of 128 on a third:
    two thirds up to 36 GiB and three quarters above are on the safe side of all.
    """
    return 2 / 3 if gib <= 36 else 3 / 4


class Processor(NamedTuple):
    """A family of processors and the memory of one socket. `cores` are those of its usual larger model."""

    name: str
    memory: str  # as `memory_bandwidth` reads it
    cores: int
    source: str


CALC = "transfers a second x 8 bytes x channels"

PROCESSORS: tuple[Processor, ...] = (
    Processor("EPYC-7002", "ddr4-3200x8", 64, CALC), Processor("EPYC-7003", "ddr4-3200x8", 64, CALC),
    Processor("EPYC-9004", "ddr5-4800x12", 96, CALC), Processor("EPYC-9005", "ddr5-6000x12", 128, CALC),
    Processor("Xeon-SP-3", "ddr4-3200x8", 40, CALC), Processor("Xeon-SP-4", "ddr5-4800x8", 60, CALC),
    Processor("Xeon-SP-5", "ddr5-5600x8", 64, CALC), Processor("Xeon-6900P", "ddr5-6400x12", 128, CALC),
    Processor("Threadripper-7000", "ddr5-5200x4", 64, CALC),
    Processor("Threadripper-Pro-7000", "ddr5-5200x8", 96, CALC),
    Processor("Ryzen-5000", "ddr4-3200x2", 16, CALC), Processor("Ryzen-7000", "ddr5-5200x2", 16, CALC),
    Processor("Ryzen-9000", "ddr5-5600x2", 16, CALC), Processor("Core-14", "ddr5-5600x2", 8, CALC),
    Processor("Graviton3", "ddr5-4800x8", 64, CALC), Processor("Graviton4", "ddr5-5600x12", 96, CALC),
    Processor("Strix-Halo", "lpddr5x-8000x4", 16, f"256 bits of LPDDR5X-8000; {FIT}"),
)

CORE_FLOPS = 16.8e9
"""What one core computes of quantized weights a second: measured with AVX2 on an EPYC 7003 (SmolLM2-135M Q4_1, one
thread, processor time). Newer instruction sets do more; nobody has told us how much more."""

CORES_A_CHANNEL = 4
"""Where nobody says how many cores a processor has: eight on a desktop's two channels, 48 on a server's twelve."""


def memory_bandwidth(transfers: int, channels: int) -> float:
    """Bytes a second of so many channels, 64 bits each, at so many million transfers a second.

    >>> memory_bandwidth(5600, 2)
    89600000000.0
    """
    return transfers * 1e6 * 8 * channels
