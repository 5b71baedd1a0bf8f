"""Families of models that can be converted from GGUF to Hugging Face's form: a table each, and this registry.

A family says which tensors a model has and what conversion to GGUF did to them, and what has to be in `config.json`
for another engine to compute the same. What it does not say is refused: `Failure("architecture-not-yet")`.
"""

from __future__ import annotations

from modelkit.models.convert.families.family import Dimensions, Family, Slot
from modelkit.models.convert.families.gemma import GEMMA, GEMMA2, GEMMA3
from modelkit.models.convert.families.header import dimensions, not_yet
from modelkit.models.convert.families.llama import LLAMA, MIXTRAL
from modelkit.models.convert.families.mistral import MISTRAL3
from modelkit.models.convert.families.qwen import QWEN2, QWEN2MOE, QWEN3, QWEN3MOE
from modelkit.models.formats.gguf import Header

__all__ = ["FAMILIES", "MIXTURES", "Dimensions", "Family", "Slot", "dimensions_of", "family_of", "not_yet"]

FAMILIES: dict[str, Family] = {family.architecture: family for family in (
    LLAMA, MISTRAL3, QWEN2, QWEN2MOE, QWEN3, QWEN3MOE, GEMMA, GEMMA2, GEMMA3)}

MIXTURES: dict[str, Family] = {MIXTRAL.architecture: MIXTRAL}
"""What an architecture of `FAMILIES` is called elsewhere when it has experts."""


def family_of(header: Header) -> Family:
    """The family of a model, or a Failure when modelkit can't convert its architecture yet."""
    family = FAMILIES.get(header.architecture)
    if header.get(f"{header.architecture}.expert_count", int, 0):
        family = MIXTURES.get(header.architecture, family)
    if family is None:
        raise not_yet(header, f"the architecture `{header.architecture}`")
    return family


def dimensions_of(header: Header) -> Dimensions:
    """The shape of the model, or a Failure when modelkit can't convert it yet."""
    return dimensions(header, family_of(header))
