"""What of a model's weights lies on one GPU under vLLM: its part of each matrix, in the precision it computes with.

Rules of vLLM 0.32: columns and rows of attention and feed-forward matrices are divided by tensor parallelism, keys and
values at most into as many parts as there are heads of them, the vocabulary is padded to a multiple of 64 and then
divided; norms, routers and the latent's own projections are on every GPU (`model_executor/layers/linear.py`,
`vocab_parallel_embedding.py`, `mla.py`); layers of a pipeline are dealt out by `distributed/utils.get_pp_indices`.
"""

from __future__ import annotations

import math
import re

from modelkit.models.anatomy import Anatomy, Weight
from modelkit.planning.fit.serving import Serving

VOCABULARY_STEP = 64
"""The vocabulary is padded to a multiple of it."""

_PLAIN = frozenset(("F64", "F32", "F16", "BF16"))
_LATENT = re.compile(r"q_a_|kv_a_|attn_q_a|attn_kv_a|fused_qkv_a")
_KEY_VALUE = re.compile(r"\b(k_proj|v_proj|attn_k|attn_v|key|value)\b")
_FUSED = re.compile(r"\b(qkv_proj|attn_qkv|query_key_value|c_attn|Wqkv|qkv)\b")
_SCALE = re.compile(r"scale|zero|g_idx|_amax")


def stages(layers: int, parallel: int) -> tuple[range, ...]:
    """The layers of each GPU group of a pipeline: what does not divide goes to the last but one, and those before."""
    counts = [layers // parallel] * parallel
    for at in range(2, layers % parallel + 2):
        counts[-at] += 1
    starts = [sum(counts[:at]) for at in range(parallel)]
    return tuple(range(start, start + count) for start, count in zip(starts, counts, strict=True))


def weight_bytes(anatomy: Anatomy, serving: Serving, stage: int = 0) -> int:
    """Bytes of all weights on each GPU of a pipeline's stage."""
    here = stages(len(anatomy.layers), serving.pipeline_parallel)[stage]
    last = stage == serving.pipeline_parallel - 1
    total = 0.0
    for weight in anatomy.weights:
        if weight.layer is not None and weight.layer < len(anatomy.layers):
            present = weight.layer in here
        elif weight.role == "embedding":
            present = stage == 0 or (last and anatomy.tied)
        elif weight.role == "output":
            present = last and not anatomy.tied
        else:
            present = last
        if present:
            total += loaded(weight, anatomy, serving) * part(weight, anatomy, serving)
    return math.ceil(total)


def loaded(weight: Weight, anatomy: Anatomy, serving: Serving) -> float:
    """Bytes of a whole tensor in memory: plain numbers as the model computes, quantized ones as they are stored."""
    computed = 4 if serving.dtype == "float32" else 2
    if anatomy.form == "gguf":  # vLLM gets its numbers written out
        return weight.elements * computed
    if weight.type not in _PLAIN or _SCALE.search(weight.name):
        return weight.size
    return weight.elements * computed


def part(weight: Weight, anatomy: Anatomy, serving: Serving) -> float:
    """The share of a tensor that one GPU holds; above 1 where padding makes it larger."""
    tensor = serving.tensor_parallel
    if weight.role in ("embedding", "output"):
        padded = math.ceil(anatomy.vocabulary / VOCABULARY_STEP) * VOCABULARY_STEP
        return padded / max(1, anatomy.vocabulary) / tensor
    if weight.role == "experts":
        return 1 / (tensor * serving.data_parallel)
    if tensor == 1 or weight.role in ("norm", "router", "other") or len(weight.shape) < 2:
        return 1.0
    if weight.role == "attention":
        return _attention_part(weight, anatomy, tensor)
    return 1 / tensor


def _attention_part(weight: Weight, anatomy: Anatomy, tensor: int) -> float:
    if _LATENT.search(weight.name):
        return 1.0
    layer = anatomy.layers[weight.layer] if weight.layer is not None and weight.layer < len(anatomy.layers) else None
    heads = layer.kv_heads if layer is not None and layer.kv_heads else anatomy.heads
    shared = 1 / min(tensor, max(1, heads))
    if _KEY_VALUE.search(weight.name):
        return shared
    if _FUSED.search(weight.name) and layer is not None and layer.heads:
        whole = layer.heads + 2 * layer.kv_heads
        return (layer.heads / tensor + 2 * layer.kv_heads * shared) / whole
    return 1 / tensor
