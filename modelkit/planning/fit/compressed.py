"""What a model takes once it is compressed for vLLM: each matrix packed, with its scales beside it. Pure.

Layouts are those that modelkit's compressor writes (llmcompressor 0.14, compressed-tensors 0.19; `tests/unit/fit` has
headers of a real one), and of other makers as vLLM 0.32 reads them (`model_executor/layers/quantization`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from modelkit.failure import Failure
from modelkit.models.anatomy.anatomy import Anatomy, Role, Weight

_QUANTIZED: tuple[Role, ...] = ("attention", "mlp", "experts", "shared_experts", "recurrent")
_PLAIN = ("F64", "F32", "F16", "BF16")
_GROUPS = (128, 64, 32)  # as modelkit's compressor tries them: the widest that divides every matrix's columns
_HEADER_BYTES = 110  # of a tensor in a safetensors header, about

Scales = Literal["row", "group", "block"]


@dataclass(frozen=True)
class Layout:
    """How one matrix is kept: `bits` a number, packed into `dtype`; scales for each row, group of columns or block.

    `zeros`: each scale has a zero point of as many bits. `beside` is bytes that each matrix has once.
    """

    bits: int
    dtype: str
    scales: Scales
    scale_type: str = "BF16"
    group: int = 0  # columns; 0: as the compressor chooses
    zeros: bool = False
    shape: bool = False  # compressed-tensors says a packed matrix's own shape
    globals: int = 0  # numbers of four bytes for the whole matrix

    @property
    def packed(self) -> bool:
        return self.dtype in ("I32", "U8")


LAYOUTS: dict[str, Layout] = {
    "int8": Layout(8, "I8", "row"),
    "fp8": Layout(8, "F8_E4M3", "row"),
    "w4a16": Layout(4, "I32", "group", shape=True),
    "gptq": Layout(4, "I32", "group", shape=True),
    "awq": Layout(4, "I32", "group", zeros=True, shape=True),
    "nvfp4": Layout(4, "U8", "group", "F8_E4M3", 16, globals=2),
    # as other makers write them
    "mxfp4": Layout(4, "U8", "group", "U8", 32),
    "fp8-block": Layout(8, "F8_E4M3", "block", "F32", 128),
}
"""By word of QUANTIZE; the last ones are no words of it, and known as what checkpoints are."""

_BYTES = {"I8": 1, "U8": 1, "F8_E4M3": 1, "BF16": 2, "F16": 2, "F32": 4, "I32": 4, "I64": 8}


def compressed(anatomy: Anatomy, word: str) -> Anatomy:
    """The model with the linear layers of its blocks in `word`, a key of LAYOUTS; embedding, output, norms and routers
    stay. Raises Failure: `compress-up` for weights that are packed already, `compress-unfit` as the compressor does.
    """
    layout = LAYOUTS[word]
    chosen = [one for one in anatomy.weights if _is_linear(one)]
    if any(one.type not in _PLAIN for one in chosen):
        raise Failure("compress-up", f"the model is compressed already ({anatomy.quantization})",
                      "take `QUANTIZE none`, or a base that is not")
    group = layout.group or _group(chosen, word) if layout.scales == "group" else layout.group
    weights = tuple(part for one in anatomy.weights
                    for part in (_packed(one, layout, group) if _is_linear(one) else (one,)))
    return replace(anatomy, form="safetensors", quantization=word, weights=weights,
                   file_size=sum(one.size for one in weights) + _HEADER_BYTES * len(weights))


def _is_linear(weight: Weight) -> bool:
    return (weight.role in _QUANTIZED and len(weight.shape) > 1 and min(weight.shape[-2:]) > 1
            and weight.name.endswith(("weight", "_proj")) and "conv1d" not in weight.name)


def _group(weights: list[Weight], word: str) -> int:
    columns = {one.shape[-1] for one in weights}
    group = next((group for group in _GROUPS if all(count % group == 0 for count in columns)), None)
    if group is None:
        odd = min(count for count in columns if count % _GROUPS[-1])
        raise Failure("compress-unfit", f"a matrix of the model has {odd:,} columns, which groups of "
                      f"{', '.join(map(str, _GROUPS))} do not divide: {word} can't be made", "take int8 or fp8")
    return group


def _packed(weight: Weight, layout: Layout, group: int) -> Iterator[Weight]:
    *stack, rows, columns = weight.shape
    stem = weight.name.removesuffix("weight")
    stem = stem if stem != weight.name else f"{weight.name}."

    def part(name: str, type_: str, *shape: int) -> Weight:
        return replace(weight, name=stem + name, shape=(*stack, *shape), type=type_,
                       size=math.prod((*stack, *shape)) * _BYTES[type_])

    scales = {"row": (rows, 1), "group": (rows, -(-columns // max(group, 1))),
              "block": (-(-rows // max(group, 1)), -(-columns // max(group, 1)))}[layout.scales]
    if not layout.packed:
        yield part("weight", layout.dtype, rows, columns)
        yield part("weight_scale_inv" if layout.scales == "block" else "weight_scale", layout.scale_type, *scales)
        return
    each = 8 * _BYTES[layout.dtype] // layout.bits
    yield part("weight_packed", layout.dtype, rows, -(-columns // each))
    yield part("weight_scale", layout.scale_type, *scales)
    if layout.shape:
        yield part("weight_shape", "I64", 2)
    if layout.zeros:
        yield part("weight_zero_point", "I32", -(-rows // each), scales[1])
    for at in range(layout.globals):
        yield part(("weight_global_scale", "input_global_scale")[at], "F32", 1)
