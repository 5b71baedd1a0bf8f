"""A model as it would be in another precision, from its shapes alone: what each tensor would be and take. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS, precision
from modelkit.models.anatomy.anatomy import Anatomy, Weight
from modelkit.planning.fit import ggml_mix
from modelkit.planning.fit.as_gguf import as_gguf, padded
from modelkit.planning.fit.compressed import LAYOUTS, compressed

_BLOCK = re.compile(r"^blk\.(\d+)\.")
_OF_80_LAYERS = ("llama", "qwen2", "deci", "olmo")
"""Architectures of which llama.cpp calls a model with 80 layers a 70B (src/models of llama-cpp-python 0.3.36)."""
_LLAMA = ("llama", "mistral", "mixtral", "qwen2", "olmo")


def quantized(anatomy: Anatomy, precision: str, *, imatrix: bool = False) -> Anatomy:
    """The same model in `precision`, a word of QUANTIZE: GGUF for those of GGUF, safetensors for the others; as it is
    for `none`.

    GGUF types are mixed by llama.cpp's rules; sizes are those of its quantizer's own dry run, to the byte. `imatrix`:
    it is made with an importance matrix, which changes some mixtures. A base that is quantized already gives what
    would be made of it; whether it should be is not asked here. Raises Failure `precision-unknown`, `compress-up`,
    `compress-unfit`.
    """
    word = _known(precision)
    if word == "none":
        return anatomy
    if word in LAYOUTS:
        return compressed(anatomy, word)
    base = as_gguf(anatomy, word if word in ("F32", "F16", "BF16") else "auto")
    if base.quantization == word and base is not anatomy:
        return base
    return typed(base, ggml_mix.mixture(base.weights, of(base), word, imatrix=imatrix), word)


def sized_by(word: str) -> str:
    """Whose rules stand behind what `quantized` says of a word."""
    return "the layout that modelkit's compressor writes" if word in LAYOUTS else \
        "llama.cpp's rules of mixing types, as of llama-cpp-python 0.3.36"


def typed(anatomy: Anatomy, types: Mapping[str, str], word: str) -> Anatomy:
    """A GGUF's anatomy with other types for some tensors, by their names: a mixture's, or a dry run's."""
    weights = tuple(_as(one, types.get(one.name, one.type)) for one in anatomy.weights)
    header = max(anatomy.file_size - sum(padded(one.size) for one in anatomy.weights), 0)
    return replace(anatomy, weights=weights, quantization=word,
                   file_size=header + sum(padded(one.size) for one in weights))


def of(anatomy: Anatomy) -> ggml_mix.Model:
    """What llama.cpp's rules ask of a model in GGUF."""
    blocks = 1 + max((int(block[1]) for one in anatomy.weights if (block := _BLOCK.match(one.name))), default=-1)
    large = (len(anatomy.layers) == 80 and anatomy.architecture in (*_OF_80_LAYERS, *_LLAMA)) \
        or (anatomy.architecture == "jais2" and len(anatomy.layers) == 68)
    if anatomy.architecture in ("llama", "mistral", "mixtral"):
        large = large and anatomy.grouping != 1 and anatomy.experts != 8
    return ggml_mix.Model(anatomy.architecture, blocks, anatomy.experts, anatomy.grouping, large)


def _as(weight: Weight, type_: str) -> Weight:
    if type_ == weight.type:
        return weight
    size = math.prod(weight.shape[:-1]) * ggml_mix.row_bytes(type_, weight.shape[-1])
    return Weight(weight.name, weight.role, weight.layer, weight.shape, type_, size)


def _known(word: str) -> str:
    row = precision(word)
    if row is not None:
        return row.name
    if word in LAYOUTS:
        return word
    raise Failure("precision-unknown", f"`{word}` is no precision", f"known are {', '.join(PRECISIONS)}")
