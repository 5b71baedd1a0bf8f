"""GPUs by name: what they can compute and how much they hold.

Compute capabilities are those of NVIDIA's list (developer.nvidia.com/cuda-gpus), memory is of the usual model of each
GPU in GiB. Where a GPU comes with several memories, a name with its size (`A100-80GB`) is a row of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Accelerator(NamedTuple):
    """One GPU. `capability` is its compute capability times ten (`89`), as compilers say `sm_89`."""

    name: str
    capability: int
    memory_gib: int

    def __str__(self) -> str:
        return f"{self.name} (sm_{self.capability})"


_ROWS = (
    Accelerator("P4", 61, 8), Accelerator("P40", 61, 24), Accelerator("P100", 60, 16),
    Accelerator("V100", 70, 16), Accelerator("V100-32GB", 70, 32),
    Accelerator("T4", 75, 16), Accelerator("RTX-2080-Ti", 75, 11), Accelerator("RTX-6000", 75, 24),
    Accelerator("A2", 86, 16), Accelerator("A10", 86, 24), Accelerator("A10G", 86, 24), Accelerator("A16", 86, 16),
    Accelerator("A30", 80, 24), Accelerator("A40", 86, 48), Accelerator("A100", 80, 40),
    Accelerator("A100-40GB", 80, 40), Accelerator("A100-80GB", 80, 80),
    Accelerator("RTX-A4000", 86, 16), Accelerator("RTX-A5000", 86, 24), Accelerator("RTX-A6000", 86, 48),
    Accelerator("RTX-3060", 86, 12), Accelerator("RTX-3080", 86, 10), Accelerator("RTX-3090", 86, 24),
    Accelerator("L4", 89, 24), Accelerator("L40", 89, 48), Accelerator("L40S", 89, 48),
    Accelerator("RTX-4000-Ada", 89, 20), Accelerator("RTX-5000-Ada", 89, 32), Accelerator("RTX-6000-Ada", 89, 48),
    Accelerator("RTX-4060-Ti", 89, 16), Accelerator("RTX-4070", 89, 12), Accelerator("RTX-4080", 89, 16),
    Accelerator("RTX-4090", 89, 24),
    Accelerator("H20", 90, 96), Accelerator("H100", 90, 80), Accelerator("H100-80GB", 90, 80),
    Accelerator("H200", 90, 141), Accelerator("GH200", 90, 96),
    Accelerator("B100", 100, 192), Accelerator("B200", 100, 180), Accelerator("GB200", 100, 186),
    Accelerator("B300", 103, 288), Accelerator("GB300", 103, 288),
    Accelerator("RTX-5060-Ti", 120, 16), Accelerator("RTX-5070", 120, 12), Accelerator("RTX-5080", 120, 16),
    Accelerator("RTX-5090", 120, 32), Accelerator("RTX-PRO-6000", 120, 96), Accelerator("GB10", 121, 128),
)

ACCELERATORS: dict[str, Accelerator] = {row.name: row for row in _ROWS}

_MAKER = re.compile(r"^(nvidia|tesla|geforce|quadro)[ _-]+", re.I)
_FORM = re.compile(r"[ _-](pcie|sxm\d?|nvl|hbm\w*|generation|blackwell|workstation|server|edition|laptop|gpu)\b", re.I)


def accelerator(word: str) -> Accelerator | None:
    """The GPU that a word means, however its maker, its form and its case are written; None for an unknown one."""
    exact = _plain(word)
    if exact in _BY_PLAIN:
        return _BY_PLAIN[exact]
    return _BY_PLAIN.get(_plain(re.sub(r"[ _-]?\d+ ?GB$", "", word.strip(), flags=re.I)))


def nearest(word: str) -> str | None:
    """The name that was probably meant."""
    from difflib import get_close_matches

    near = get_close_matches(_plain(word), list(_BY_PLAIN), 1, 0.6)
    return _BY_PLAIN[near[0]].name if near else None


def _plain(word: str) -> str:
    bare, before = word.strip(), ""
    while bare != before:
        bare, before = _MAKER.sub("", bare), bare
    return re.sub(r"[ _-]", "", _FORM.sub("", bare)).lower()


_BY_PLAIN = {_plain(row.name): row for row in _ROWS}
