"""What llama.cpp's log says of the memory that it took.

Lines are `<who>: <buffer> <kind> buffer size = <n> MiB`, with two decimals (llama.cpp b11434: `llama-model.cpp`,
`llama-context.cpp`, `llama-kv-cache.cpp`, `llama-memory-recurrent.cpp`). A cache of which nothing is allocated, for
`no_alloc` asks for sizes alone, says its size in another line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["model", "KV", "RS", "compute", "output"]

_BUFFER = re.compile(rf":\s+(\S+)\s+({'|'.join(get_args(Kind))})\s+buffer size\s*=\s*([\d.]+) MiB")
_CACHE = re.compile(r"llama_kv_cache\w*: size =\s*([\d.]+) MiB \(\s*(\d+) cells,\s*(\d+) layers")
_DEVICE = re.compile(r"[A-Za-z]+(\d+)(?:_(?!Host)\w+)?")


@dataclass(frozen=True)
class Cache:
    """One cache: models with sliding windows have two, of different cells."""

    size: int  # bytes
    cells: int
    layers: int


def read(text: str) -> dict[tuple[str, Kind], int]:
    """Bytes by place (`ram`, `gpu0` …) and kind. What comes several times, as for a draft model, is added up."""
    found: dict[tuple[str, Kind], int] = {}
    for buffer, word, size in _BUFFER.findall(text):
        kind: Kind = word
        found[place(buffer), kind] = found.get((place(buffer), kind), 0) + _bytes(size)
    return found


def caches(text: str) -> list[Cache]:
    """Attention caches, as they would be were they allocated."""
    return [Cache(_bytes(size), int(cells), int(layers)) for size, cells, layers in _CACHE.findall(text)]


def place(buffer: str) -> str:
    """`CUDA0` is `gpu0`; `CPU`, `CPU_Mapped`, `CPU_REPACK`, `CUDA_Host` and what else has no number are `ram`."""
    device = _DEVICE.fullmatch(buffer)
    return f"gpu{device[1]}" if device else "ram"


def _bytes(mebibytes: str) -> int:
    return round(float(mebibytes) * 2**20)
