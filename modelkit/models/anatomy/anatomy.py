"""A model's parts: every tensor with its role and its bytes, every layer with what it keeps for a token."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

Role = Literal["embedding", "output", "attention", "mlp", "experts", "shared_experts", "router", "recurrent", "norm",
               "vision", "draft", "other"]
"""What a tensor is for. `vision` is all that reads pictures or sounds; `draft` predicts further tokens at once (MTP):
both engines leave it out where nothing is drafted. Text alone reads neither."""

Attention = Literal["full", "sliding", "chunked", "mla", "recurrent", "none"]
"""What a layer keeps of the past: everything, a window, a chunk, a latent, a state of fixed size, or nothing."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor. `shape` has its rows first (the columns, ggml's `ne0`, last); `size` is bytes in the file."""

    name: str
    role: Role
    layer: int | None
    shape: tuple[int, ...]
    type: str  # GGUF's word (`Q4_K`) or safetensors' (`BF16`, `I32`)
    size: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Layer:
    """One block. Widths are numbers that a token adds to the cache, all heads together; 0 where it has no own cache."""

    attention: Attention
    heads: int = 0
    kv_heads: int = 0
    key_width: int = 0  # kv_heads * head dimension of keys; of `mla` the latent and its rotary part
    value_width: int = 0  # kv_heads * head dimension of values; of `mla` 0: keys and values are one
    window: int = 0  # tokens, of `sliding` and `chunked`
    state_bytes: int = 0  # of one sequence, as llama.cpp keeps it (float32): of `recurrent`, or beside attention
    index_width: int = 0  # numbers that a token adds to a cache beside it, of which sparse attention chooses
    conv_bytes: int = 0  # the part of `state_bytes` that its convolution keeps


@dataclass(frozen=True)
class Anatomy:
    """A model's parts. Counts are of the model itself, sizes in bytes."""

    architecture: str
    form: Literal["gguf", "safetensors"]
    quantization: str  # a word of QUANTIZE, a dtype, or a checkpoint's own method; "" when not said
    weights: tuple[Weight, ...]
    layers: tuple[Layer, ...]
    vocabulary: int
    width: int  # of the residual stream: n_embd, hidden_size
    feed_forward: int  # of the widest dense layer; of models of experts only, of one expert
    heads: int  # of the layer that has most
    context_length: int | None  # tokens it was trained for
    tied: bool  # the output matrix is the embedding's
    experts: int = 0
    experts_used: int = 0
    merges: int = 0  # of the tokenizer
    file_size: int = 0  # of all its weight files, headers included
    parameters: int = 0  # numbers of the model, however they are packed
    notes: tuple[str, ...] = ()  # what of this is taken to be so and not known
    grouping: int = 0  # query heads of each key head of the first layer, as a GGUF says it; 0: not said
    state_type: str = ""  # what its config wants states kept in (`float32`); "": as it computes

    def __hash__(self) -> int:
        """Cheap, for caches: a model of experts has a hundred thousand tensors."""
        return hash((self.architecture, self.quantization, self.file_size, self.parameters))

    def bytes_of(self, *roles: Role) -> int:
        return sum(one.size for one in self.merged if one.role in roles)

    @cached_property
    def weight_bytes(self) -> int:
        """Of all tensors."""
        return sum(one.size for one in self.weights)

    @cached_property
    def merged(self) -> tuple[Weight, ...]:
        """Its tensors for sums over them: those of one role, layer, type and width as one, embeddings apart."""
        found: dict[tuple[Role, int | None, str, int], list[Weight]] = {}
        for one in self.weights:
            apart = -len(found) - 1 if one.role == "embedding" else one.shape[-1] if len(one.shape) > 1 else 0
            found.setdefault((one.role, one.layer, one.type, apart), []).append(one)
        return tuple(same[0] if len(same) == 1 else _merged(same) for same in found.values())

    def in_layer(self, layer: int) -> Iterable[Weight]:
        return (one for one in self.weights if one.layer == layer)


def _merged(same: list[Weight]) -> Weight:
    """One tensor below the other."""
    elements, last = sum(one.elements for one in same), same[0].shape[-1:] if len(same[0].shape) > 1 else ()
    rows = elements // math.prod(last) if math.prod(last) else 0
    return replace(same[0], shape=(rows, *last), size=sum(one.size for one in same))
