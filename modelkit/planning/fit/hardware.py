"""What a machine has to hold a model and to compute with it: this one, or another by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["cpu", "cuda", "rocm", "metal"]
Link = Literal["none", "pcie", "nvlink", "xgmi", "unified"]


@dataclass(frozen=True)
class Device:
    """One GPU. Bytes; bytes a second; floating point operations a second (dense, without sparsity).

    `memory` is what programs can have of it, `free` what is free now; None where that is not known.
    """

    name: str
    kind: Kind
    memory: int
    free: int | None = None
    bandwidth: float | None = None
    flops: float | None = None  # bfloat16, float32 sums
    flops_fp8: float | None = None
    capability: int | None = None  # compute capability times ten
    link: Link = "none"  # to its neighbours
    link_bandwidth: float | None = None  # in one direction


@dataclass(frozen=True)
class Hardware:
    """A machine. `ram` is what processes may have of it (a control group's limit counts), `ram_free` what is free now.

    `source` says where the figures are from: `measured`, `driver`, `table`.
    """

    name: str
    devices: tuple[Device, ...] = ()
    cpus: int = 1  # physical cores that a process may use
    ram: int | None = None
    ram_free: int | None = None
    cpu_bandwidth: float | None = None  # bytes a second of all cores together
    cpu_flops: float | None = None  # of all cores together, as quantized weights are computed with
    source: str = "table"

    @property
    def gpu(self) -> Device | None:
        """The first GPU; they are taken to be alike."""
        return self.devices[0] if self.devices else None
