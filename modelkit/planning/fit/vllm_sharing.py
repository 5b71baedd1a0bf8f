"""Why vLLM cannot deal a model to so many GPUs, and what it costs where it can.

Rules of vLLM 0.32: heads of attention (`config/model.py`), the padded vocabulary (`vocab_parallel_embedding.py`),
feed-forward widths and the groups of quantized ones (`layers/linear.py`, `layers/quantization`) must divide by tensor
parallelism; a pipeline wants as many layers as it has stages.
"""

from __future__ import annotations

import re

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.hardware import Device
from modelkit.planning.fit.vllm_weights import padded

_CUT = re.compile(r"(?:^|\.)(down_proj|o_proj|w2|fc2|out_proj)\.(weight_scale(?:_inv)?|scales)$")
"""Scales of matrices whose columns are dealt to GPUs. AutoAWQ and GPTQ have groups as rows of `scales`, others as
columns; MXFP4's are padded by vLLM itself."""

_FAST = ("nvlink", "xgmi", "unified")


def refusal(anatomy: Anatomy, tensor: int, pipeline: int) -> str:
    """Why a model cannot be dealt out like this; "" where it can."""
    for heads in sorted({layer.heads for layer in anatomy.layers if layer.heads % tensor}):
        return f"{heads} attention heads do not divide by {tensor}"
    for kv_heads in sorted({layer.kv_heads for layer in anatomy.layers if layer.kv_heads and layer.attention != "mla"}):
        if kv_heads % tensor and tensor % kv_heads:
            return f"{kv_heads} heads of keys and values neither divide by {tensor} nor divide it"
    if (words := padded(anatomy.vocabulary)) % tensor:
        return f"the vocabulary of {words:,} (padded) does not divide by {tensor}"
    if anatomy.feed_forward % tensor:
        return f"feed-forward layers {anatomy.feed_forward:,} wide do not divide by {tensor}"
    if (cut := _cut_group(anatomy, tensor)) is not None:
        return cut
    if pipeline > len(anatomy.layers):
        return f"{len(anatomy.layers)} layers are too few for {pipeline} groups of GPUs"
    return ""


def _cut_group(anatomy: Anatomy, tensor: int) -> str | None:
    """Why quantized weights cannot be dealt so: numbers that share a scale stay together."""
    if tensor == 1:
        return None
    for weight in anatomy.weights:
        if len(weight.shape) < 2 or (found := _CUT.search(weight.name)) is None:
            continue
        groups = weight.shape[-2] if found[2] == "scales" else weight.shape[-1]
        if groups > 1 and groups % tensor:
            return (f"{found[1]} has a scale for each of {groups:,} groups of columns ({anatomy.quantization}), which "
                    f"do not divide by {tensor}")
    return None


def warning(anatomy: Anatomy, device: Device, tensor: int, pipeline: int) -> str:
    """What a way costs that can be had; "" where nothing is known against it."""
    kv_heads = min((layer.kv_heads for layer in anatomy.layers if layer.kv_heads and layer.attention != "mla"),
                   default=0)
    latent = any(layer.attention == "mla" for layer in anatomy.layers)
    if tensor > 1 and device.link not in _FAST:
        return ("over PCIe two sums a layer wait for each other: pipeline parallelism, or a copy on each GPU, is "
                "faster where the model fits so")
    if tensor > 1 and latent:
        return f"the latent of attention is kept on each of {tensor} GPUs: the cache does not grow with them"
    if 0 < kv_heads < tensor:
        return f"{kv_heads} heads of keys and values are kept more than once by {tensor} GPUs"
    return "one user is served no faster by it, more users are" if pipeline > 1 else ""
