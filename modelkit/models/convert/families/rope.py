"""How a header stretches positions, in Hugging Face's words (`rope_scaling`)."""

from __future__ import annotations

import math
from typing import Any

from modelkit.models.convert.families.family import Dimensions
from modelkit.models.convert.families.header import not_yet, number, shortest, whole
from modelkit.models.formats.gguf import Header

FREQUENCIES = "rope_freqs.weight"


def rope_scaling(header: Header, shape: Dimensions, *, slopes: bool = False) -> dict[str, Any] | None:
    """How positions are stretched, None if they are not. `slopes`: does llama.cpp read YaRN's for this architecture?"""
    kind = header.get(f"{header.architecture}.rope.scaling.type", str, "linear")
    factor = number(header, "rope.scaling.factor", number(header, "rope.scale_linear", 0.0))
    stretched = factor not in (0.0, 1.0) and kind != "none"
    if FREQUENCIES in header.tensors:
        if stretched:
            raise not_yet(header, f"positions stretched by `{kind}` and by factors of its own")
        return _llama3(header, shape)
    if not stretched:
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        return _yarn(header, factor, slopes)
    raise not_yet(header, f"positions stretched by `{kind}`")


def _yarn(header: Header, factor: float, slopes: bool) -> dict[str, Any]:
    """YaRN as llama.cpp computes it: slopes of 32 and 1, all of the extrapolation, the usual magnitude.

    The keys that say otherwise are read for few architectures only (src/models/*.cpp); elsewhere they are refused.
    """
    fast, slow = number(header, "rope.scaling.yarn_beta_fast", 32.0), number(header, "rope.scaling.yarn_beta_slow", 1.0)
    said = {"yarn_ext_factor": number(header, "rope.scaling.yarn_ext_factor", 1.0) in (1.0, -1.0),
            "yarn_attn_factor": number(header, "rope.scaling.yarn_attn_factor", 1.0)
            in (1.0, shortest(0.1 * math.log(factor) + 1.0)),
            "yarn_beta_fast": slopes or fast == 32.0, "yarn_beta_slow": slopes or slow == 1.0}
    if unusual := [key for key, usual in said.items() if not usual]:
        raise not_yet(header, f"an unusual `{header.architecture}.rope.scaling.{unusual[0]}`")
    trained = whole(header, "rope.scaling.original_context_length", whole(header, "context_length", 2048))
    return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained,
            "beta_fast": fast, "beta_slow": slow}


def _llama3(header: Header, shape: Dimensions) -> dict[str, Any]:
    """Llama 3.1's rule, recovered from the divisors it leaves in the file and checked against all of them."""
    import numpy as np

    tensor = header.tensors[FREQUENCIES]
    found = np.frombuffer(header.access.read_at(tensor.offset, tensor.size),
                          "<f4" if tensor.type.name == "F32" else np.uint8)
    rule = {"rope_type": "llama3", "factor": float(found.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}
    theta = header.get(f"{header.architecture}.rope.freq_base", float, 10000.0)
    if found.shape != (shape.head_width // 2,) or not np.allclose(found, _divisors(rule, theta, shape), rtol=1e-3):
        raise not_yet(header, "positions stretched by factors of its own")
    return rule


def _divisors(rule: dict[str, Any], theta: float, shape: Dimensions) -> Any:
    import numpy as np

    length = 2 * np.pi * theta ** (np.arange(0, shape.head_width, 2) / shape.head_width)
    turns = rule["original_max_position_embeddings"] / length
    low, high, factor = rule["low_freq_factor"], rule["high_freq_factor"], rule["factor"]
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return 1.0 / ((1.0 - smooth) / factor + smooth)
