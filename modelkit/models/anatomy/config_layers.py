"""What each layer of a Hugging Face model keeps of the past, as vLLM decides it from config.json."""

from __future__ import annotations

from collections.abc import Mapping

from modelkit.models.anatomy.anatomy import Layer
from modelkit.models.anatomy.config import Config
from modelkit.models.formats.safetensors_reader import TensorInfo


def layers_of(config: Config, tensors: Mapping[str, TensorInfo]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers, and what of them is only taken to be so."""
    heads = config.heads
    kv_heads = config.kv_heads or heads
    head = config.number("head_dim") or (config.width // heads if heads else 0)
    return tuple(Layer("full", heads, kv_heads, kv_heads * head, kv_heads * head)
                 for _ in range(config.layers)), ()
