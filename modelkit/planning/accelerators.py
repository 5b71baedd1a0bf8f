"""NVIDIA's GPUs by name, as `SERVE accelerator` says them: what they can compute and how much they hold.

Made from `fit.cards`, the table of all GPUs. Compute capabilities are those of NVIDIA's list
(developer.nvidia.com/cuda-gpus), memory is of the usual model of each GPU in GiB. Where a GPU comes with several
memories, a name with its size (`A100-80GB`) is a name of its own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from modelkit.planning.fit.cards import CARDS


class Accelerator(NamedTuple):
    """One GPU. `capability` is its compute capability times ten (`89`), as compilers say `sm_89`."""

    name: str
    capability: int
    memory_gib: int

    def __str__(self) -> str:
        return f"{self.name} (sm_{self.capability})"


_SIZED = ("V100-32GB", "A100-40GB", "A100-80GB", "H100-80GB")


def _accelerators() -> dict[str, Accelerator]:
    found: dict[str, Accelerator] = {}
    for card in CARDS:
        if card.capability:
            sized = f"{card.name}-{card.size}GB"
            for name in (card.name, *((sized,) if sized in _SIZED else ())):
                found.setdefault(name, Accelerator(name, card.capability, card.size))
    return found


ACCELERATORS: dict[str, Accelerator] = _accelerators()

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


_BY_PLAIN = {_plain(row.name): row for row in ACCELERATORS.values()}
