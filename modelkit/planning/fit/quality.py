"""What a precision costs in quality, as far as somebody measured it: figures with their source and their model."""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.models.anatomy.anatomy import Anatomy


@dataclass(frozen=True)
class Quality:
    """One measurement. None where it was not measured."""

    precision: str
    model: str
    source: str
    perplexity: float | None = None  # added to that of the model in 16 bits
    divergence: float | None = None  # mean Kullback-Leibler divergence from it
    same_top: float | None = None  # share of tokens whose most probable next one stays the same
    imatrix: bool = False


def quality(precision: str, anatomy: Anatomy) -> Quality | None:
    return None
