"""How many numbers of the model a tensor of a quantized checkpoint holds: several lie in one element, or none do.

The layouts are those that vLLM 0.32 reads (`vllm/model_executor/layers/quantization/`): AutoAWQ and GPTQ pack into
int32, compressed-tensors into int32 or bytes, MXFP4 and NVFP4 two to a byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from modelkit.models.formats.safetensors_reader import BITS

_BESIDE = re.compile(
    r"(.*_)?(scales?|qzeros|g_idx|perm|weight_scale(_inv|_2)?|weight_zero_point|weight_g_idx|weight_shape|"
    r"weight_global_scale|(input|output|k|v|q|prob|attn_output)_(global_)?scale|absmax|quant_map|nested_absmax|"
    r"nested_quant_map|bitsandbytes__\w+|SCB|weight_format|inv_freq|masked_bias)")
_PACKED = re.compile(r"(.*_)?(qweight|weight_packed|blocks)")


class Packing:
    """A checkpoint's own method. `method` is its name, "" where the weights are not quantized."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.method = str(said.get("quant_method") or ("modelopt" if "quant_algo" in said else ""))
        self.bits = _bits(said)
        self._held: dict[tuple[str, str], int] = {}

    def elements(self, name: str, dtype: str, elements: int) -> int:
        """Numbers of the model in a tensor with so many elements of a type."""
        key = name[name.rfind(".") + 1:], dtype
        if (each := self._held.get(key)) is None:
            each = self._held[key] = self._in_one(*key)
        return elements * each

    def _in_one(self, name: str, dtype: str) -> int:
        """Numbers of the model in one element of a tensor, by the last word of its name."""
        if _BESIDE.fullmatch(name):
            return 0
        packed = _PACKED.fullmatch(name) or (self.method and dtype == "U8" and name == "weight")
        return max(BITS.get(dtype, 8) // self.bits, 1) if packed else 1


def _bits(said: Mapping[str, Any]) -> int:
    """Bits of one weight; 4 where nothing usable is said, as with what is always so: MXFP4, NVFP4."""
    groups = said.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    for place, key in ((weights, "num_bits"), (said, "bits"), (said, "w_bit")):
        if isinstance(place, dict) and isinstance(bits := place.get(key), int) and 1 <= bits <= 32:
            return bits
    return 4
