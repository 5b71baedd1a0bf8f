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
    r".*(\.|_)(scales?|qzeros|g_idx|perm|weight_scale(_inv|_2)?|weight_zero_point|weight_g_idx|weight_shape|"
    r"weight_global_scale|(input|output|k|v|q|prob|attn_output)_(global_)?scale|absmax|quant_map|nested_absmax|"
    r"nested_quant_map|quant_state\.\w+|SCB|weight_format|inv_freq|masked_bias|rotary_emb\.\w+)$")
_PACKED = re.compile(r".*(\.|_)(qweight|weight_packed|blocks)$")


class Packing:
    """A checkpoint's own method. `method` is its name, "" where the weights are not quantized."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.method = str(said.get("quant_method") or ("modelopt" if "quant_algo" in said else ""))
        self.bits = _bits(said)

    def elements(self, name: str, dtype: str, elements: int) -> int:
        """Numbers of the model in a tensor with so many elements of a type."""
        if _BESIDE.fullmatch(name):
            return 0
        width = BITS.get(dtype, 8)
        if _PACKED.fullmatch(name) or (self.method and dtype == "U8" and name.endswith(".weight")):
            return elements * max(width // self.bits, 1)
        return elements


def _bits(said: Mapping[str, Any]) -> int:
    """Bits of one weight; 4 where nothing usable is said, as with what is always so: MXFP4, NVFP4."""
    groups = said.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    for place, key in ((weights, "num_bits"), (said, "bits"), (said, "w_bit")):
        if isinstance(place, dict) and isinstance(bits := place.get(key), int) and 1 <= bits <= 32:
            return bits
    return 4
