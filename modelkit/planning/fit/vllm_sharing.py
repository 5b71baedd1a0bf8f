"""Why vLLM cannot deal a model to so many GPUs, and what it costs where it can.

Rules of vLLM 0.32: heads of attention (`config/model.py`), the padded vocabulary (`vocab_parallel_embedding.py`),
feed-forward widths and the groups of quantized ones (`layers/linear.py`, `layers/quantization`) must divide by tensor
parallelism; a pipeline wants as many layers as it has stages.
"""

from __future__ import annotations

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.hardware import Device
from modelkit.planning.fit.vllm_weights import Tally, padded

_FAST = ("nvlink", "xgmi", "unified")


def refusal(weighed: Tally, tensor: int, pipeline: int, data: int = 1) -> str:
    """Why a model cannot be dealt out like this; "" where it can."""
    anatomy = weighed.anatomy
    for heads in sorted({layer.heads for layer in anatomy.layers if layer.heads % tensor}):
        return f"{heads} attention heads do not divide by {tensor}"
    for kv_heads in sorted({layer.kv_heads for layer in anatomy.layers if layer.kv_heads and layer.attention != "mla"}):
        if kv_heads % tensor and tensor % kv_heads:
            return f"{kv_heads} heads of keys and values neither divide by {tensor} nor divide it"
    if (words := padded(anatomy.vocabulary)) % tensor:
        return f"the vocabulary of {words:,} (padded) does not divide by {tensor}"
    if anatomy.feed_forward % tensor:
        return f"feed-forward layers {anatomy.feed_forward:,} wide do not divide by {tensor}"
    for name, groups in sorted(weighed.cuts):  # numbers that share a scale stay together
        if groups > 1 and groups % tensor:
            return (f"{name} has a scale for each of {groups:,} groups of columns ({anatomy.quantization}), which do "
                    f"not divide by {tensor}")
    if anatomy.experts and weighed.expert_width % (tensor * data):
        return f"experts {weighed.expert_width:,} wide do not divide by {tensor * data}"
    if pipeline > len(anatomy.layers):
        return f"{len(anatomy.layers)} layers are too few for {pipeline} groups of GPUs"
    return ""


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
