"""What of a model's weights lies on one GPU under vLLM: its part of each matrix, in the precision it computes with.

Rules of vLLM 0.32: columns and rows of attention and feed-forward matrices are divided by tensor parallelism, keys and
values at most into as many parts as there are heads of them; the vocabulary is padded to a multiple of 64 and then
divided; norms, routers and the projections to a latent are on every GPU (`model_executor/layers/linear.py`,
`vocab_parallel_embedding.py`, `mla.py`). Experts are dealt over tensor and data parallelism together
(`layers/fused_moe/config.py`), layers over the stages of a pipeline (`distributed/utils.get_pp_indices`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from modelkit.models.anatomy import Anatomy, Weight
from modelkit.planning.fit.serving import Serving

VOCABULARY_STEP = 64
"""The vocabulary is padded to a multiple of it."""

Deal = Literal["split", "whole", "experts", "keys", "fused", "embedding", "output"]
"""How a tensor is dealt to GPUs that share the model: in parts, to all of them, experts by the GPU, by heads of keys
and values, queries with keys and values in one, and by words of the vocabulary."""

_PLAIN = frozenset(("F64", "F32", "F16", "BF16"))
_LATENT = re.compile(r"q_a_|kv_a_|attn_q_a|attn_kv_a|fused_qkv_a")
_KEYS = re.compile(r"\b(?:k_proj|v_proj|attn_k|attn_v|wk|wv|key|value)\b")
_FUSED = re.compile(r"\b(?:qkv_proj|attn_qkv|query_key_value|c_attn|Wqkv|qkv)\b")
_CUT = re.compile(r"(?:^|\.)(down_proj|o_proj|w2|fc2|out_proj)\.(weight_scale(?:_inv)?|scales)$")
"""Scales of matrices whose columns are dealt to GPUs. AutoAWQ and GPTQ have groups as rows of `scales`, others as
columns; MXFP4's are padded by vLLM itself."""
_SCALE = re.compile(r"scale|zero|g_idx|_amax")


@dataclass(frozen=True)
class Tally:
    """Bytes of all tensors as vLLM holds them, by layer (None: outside of layers) and by how they are dealt."""

    anatomy: Anatomy
    bytes: Mapping[tuple[int | None, Deal], int]
    expert_width: int = 0  # of one expert's middle; 0 where no matrix says it
    cuts: frozenset[tuple[str, int]] = frozenset()  # matrices that are cut by columns: name, and groups with one scale

    def on(self, serving: Serving, stage: int = 0) -> int:
        """Bytes on each GPU of a pipeline's stage."""
        here = stages(len(self.anatomy.layers), serving.pipeline_parallel)[stage]
        first, last = stage == 0, stage == serving.pipeline_parallel - 1
        total = 0.0
        for (layer, deal), size in self.bytes.items():
            if layer is not None:
                present = layer in here
            elif deal == "embedding":
                present = first or (last and self.anatomy.tied)
            else:
                present = last
            if present:
                total += size * self._part(layer, deal, serving)
        return math.ceil(total)

    def _part(self, layer: int | None, deal: Deal, serving: Serving) -> float:
        """The share of such tensors that one GPU holds; above 1 where padding makes them larger."""
        tensor = serving.tensor_parallel
        if deal in ("embedding", "output"):
            words = self.anatomy.vocabulary
            return padded(words) / words / tensor if words else 1 / tensor
        if deal == "experts":
            return 1 / (tensor * serving.data_parallel)
        if deal == "whole" or tensor == 1:
            return 1.0
        one = self.anatomy.layers[layer] if layer is not None else None
        if one is None or deal == "split":
            return 1 / tensor
        keys = 1 / min(tensor, max(1, one.kv_heads))
        if deal == "keys":
            return keys
        return (one.heads / tensor + 2 * one.kv_heads * keys) / max(1, one.heads + 2 * one.kv_heads)


@lru_cache(maxsize=32)
def tally(anatomy: Anatomy, dtype: str) -> Tally:
    """What there is to deal. `dtype` is what vLLM computes plain weights with."""
    found: Counter[tuple[int | None, Deal]] = Counter()
    cuts: set[tuple[str, int]] = set()
    width = 0
    for weight in anatomy.weights:
        if weight.role == "draft" or (weight.role == "output" and anatomy.tied):
            continue
        layer = weight.layer if weight.layer is not None and weight.layer < len(anatomy.layers) else None
        found[layer, _deal(weight)] += _loaded(weight, anatomy, dtype)
        if len(weight.shape) > 1 and (cut := _CUT.search(weight.name)) is not None:
            cuts.add((cut[1], weight.shape[-2] if cut[2] == "scales" else weight.shape[-1]))
        if weight.role == "experts":
            width = max(width, _expert_width(weight, anatomy.width))
    return Tally(anatomy, found, width, frozenset(cuts))


def weight_bytes(anatomy: Anatomy, serving: Serving, stage: int = 0) -> int:
    """Bytes of all weights on each GPU of a pipeline's stage."""
    return tally(anatomy, serving.dtype).on(serving, stage)


def padded(words: int) -> int:
    """Of a vocabulary, as vLLM holds it."""
    return math.ceil(words / VOCABULARY_STEP) * VOCABULARY_STEP


def stages(layers: int, parallel: int) -> tuple[range, ...]:
    """The layers of each stage of a pipeline: what does not divide goes to the last but one, and those before."""
    counts = [layers // parallel] * parallel
    for at in range(2, layers % parallel + 2):
        counts[-at] += 1
    starts = [sum(counts[:at]) for at in range(parallel)]
    return tuple(range(start, start + count) for start, count in zip(starts, counts, strict=True))


def _loaded(weight: Weight, anatomy: Anatomy, dtype: str) -> int:
    """Bytes of a whole tensor in memory: plain numbers as the model computes, quantized ones as they are stored."""
    computed = 4 if dtype == "float32" else 2
    if anatomy.form == "gguf":  # vLLM gets its numbers written out
        return weight.elements * computed
    if weight.type not in _PLAIN or _SCALE.search(weight.name):
        return weight.size
    return weight.elements * computed


def _expert_width(weight: Weight, width: int) -> int:
    """Of an expert's middle: what is not the residual stream's. 0 where the matrix is packed, or is none."""
    rows, columns = weight.shape[-2:] if len(weight.shape) > 1 else (0, 0)
    if width not in (rows, columns) or weight.type in ("I32", "U8"):
        return 0
    middle = rows if columns == width else columns
    return middle // 2 if "gate_up" in weight.name else middle


def _deal(weight: Weight) -> Deal:
    if weight.role == "embedding" and len(weight.shape) > 1:
        return "embedding"
    if weight.role in ("output", "experts"):
        return "output" if weight.role == "output" else "experts"
    if weight.role in ("norm", "router", "other", "embedding") or len(weight.shape) < 2:
        return "whole"
    if weight.role == "attention":
        if _LATENT.search(weight.name):
            return "whole"
        return "keys" if _KEYS.search(weight.name) else "fused" if _FUSED.search(weight.name) else "split"
    return "split"
