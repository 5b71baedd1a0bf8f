"""What llama.cpp itself says that it would allocate for a setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sizes:
    """Bytes. `problem` is why nothing is known: what llama.cpp refuses (`refused`), or that it could not be asked."""

    kv: int = 0  # of all places
    recurrent: int = 0
    compute: Mapping[str, int] = field(default_factory=dict)  # by place
    output: int = 0
    problem: str = ""
    refused: bool = False
