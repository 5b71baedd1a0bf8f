"""docs/reference/hardware.md, made from the tables of machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from modelkit.planning.fit.cards import CARDS, PCIE, SOURCES, Card
from modelkit.planning.fit.machines import APPLE, CORE_FLOPS, CORES_A_CHANNEL, PROCESSORS, gpu_share
from modelkit.planning.fit.profiles import profile

_BEGIN = """# Hardware by name

Made from the tables: `make golden` rewrites it.

`--hardware` takes a name of these tables, however its maker and its case are written: `rtx4090`, `RTX 4090`, `4090` and
`NVIDIA GeForce RTX 4090` are one. Without it, modelkit looks at this machine, and `modelkit doctor` shows what it sees:
NVIDIA's GPUs through NVML or `nvidia-smi`, AMD's through `amd-smi` or `rocm-smi`, a Mac's through `sysctl`; as many of
them as `CUDA_VISIBLE_DEVICES` or `HIP_VISIBLE_DEVICES` leave; memory up to the limits of control groups and `ulimit`;
and what its cores read from memory a second, measured once for a twentieth of a second and kept.

| word | machine |
|---|---|
| `2xh100`, `h100x2` | two of them; up to 64 |
| `h100`, `h100-pcie`, `h100-nvl` | the form; alone, a name is its first row |
| `a100-80gb` | the memory, where a GPU is sold with several |
| `2x3090-nvlink` | joined by a bridge, where one has to be put on |
| `rtx4090+64gb` | with so much memory beside it; else that is not known |
| `rtx4090+64gb+ddr5-5600x2+16c` | and two channels of that kind, and 16 cores |
| `m4-max`, `m4-max-36gb`, `m4-max-32c` | a Mac with its usual memory, with so much, with so many GPU cores |
| `cpu:ddr5-5600x2+64gb` | no GPU: two channels of memory, 64 GiB of it |
| `epyc-9004`, `2xepyc-9004+768gb` | no GPU: a processor's own memory channels, one socket or two |
"""

_GPUS = """## GPUs

*Memory* is what programs can have, in GiB: what CUDA tells them (`cudaMemGetInfo`), as out-of-memory messages of
PyTorch repeat it; a `~` marks 97.5 % of what the GPU is sold with, where we know no such message. *16 bits* and
*8 bits* are TFLOP/s, dense and with float32 sums: data sheets print twice as much "with sparsity", and of a GeForce
twice as much again with float16 sums. A GPU before Ampere has no bfloat16: the figure is float16's, before Volta
float32's. *Links* are GB/s in one direction, of all links of a GPU together; data sheets add both directions. In
brackets: only with a bridge. What a driver tells of a GPU goes before the table.
"""

_APPLE = """## Apple

A GPU may have two thirds of the memory up to 36 GiB, and three quarters of more: the least that was seen (10.67 of 16,
11.84 of 16 and 107.5 of 128 GiB were). `sudo sysctl iogpu.wired_limit_mb=…` gives it more; here, modelkit reads that.
Arithmetic is GPU cores x 128 units x 2 x clock, in TFLOP/s of 16 or 32 bits.
"""

_PROCESSORS = """## Processors

Bandwidth is {sum}, in GB/s of one socket. Without a number of cores, {cores} are taken for each channel. One core
computes {flops:.1f} GFLOP/s of quantized weights: measured with AVX2 on an EPYC 7003, a guess for all others, and
better known after a `modelkit bench` on the machine itself.
"""


def page() -> str:
    """The page as a whole."""
    pcie = ", ".join(f"{generation}: {speed / 1e9:g}" for generation, speed in PCIE.items())
    sold = _table(("name", "GPU cores", "GB/s", "TFLOP/s", "memory, GiB", "of it the GPU's", "source"),
                  ((one.name, str(one.gpu_cores), f"{one.bandwidth:g}", f"{one.bf16:g}", _list(one.sizes),
                    _list(round(size * gpu_share(size), 1) for size in one.sizes), one.source) for one in APPLE))
    sockets = _table(("name", "memory", "GB/s", "cores", "source"),
                     ((one.name, one.memory, f"{(profile(one.name).cpu_bandwidth or 0) / 1e9:g}", str(one.cores),
                       one.source) for one in PROCESSORS))
    processors = _PROCESSORS.format(sum="transfers a second x 8 bytes x channels", cores=CORES_A_CHANNEL,
                                    flops=CORE_FLOPS / 1e9)
    sources = (f"- *{word}*: {what}" for word, what in SOURCES.items())
    generations = f"PCIe, sixteen lanes, GB/s in one direction by generation: {pcie}."
    return "\n".join((_BEGIN, _GPUS, *_gpus(), "", *sources, "", generations, "", _APPLE, *sold, "", processors,
                      *sockets, ""))


def _gpus() -> list[str]:
    return _table(("name", "sm", "sold with", "memory", "GB/s", "16 bits", "8 bits", "links", "PCIe", "source"),
                  (_gpu(one) for one in CARDS))


def _gpu(one: Card) -> tuple[str, ...]:
    link = f"{one.link:g}" if one.link else ""
    return (one.full_name, str(one.capability or ""), f"{one.size}",
            f"{one.seen:g}" if one.seen else f"~{one.memory / 2**30:.1f}", f"{one.bandwidth:g}", f"{one.bf16:g}",
            f"{one.fp8:g}" if one.fp8 else "", f"({link})" if one.bridged else link, str(one.pcie or ""), one.source)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
