"""The anatomy of a GGUF model, from its headers alone."""

from __future__ import annotations

from collections.abc import Sequence

from modelkit.models.anatomy.anatomy import Anatomy, Weight
from modelkit.models.anatomy.header_layers import layers_of
from modelkit.models.anatomy.roles import gguf_names, settled
from modelkit.models.anatomy.said import MOST_EXPERTS, MOST_HEADS, MOST_TOKENS, HeaderNumbers
from modelkit.models.formats.gguf import Array, Header
from modelkit.models.formats.gguf_types import FILE_TYPES
from modelkit.models.formats.splits import joined


def anatomy_of_header(headers: Sequence[Header]) -> Anatomy:
    """The anatomy of a model in one GGUF file or several: the headers of all its parts, in order.

    Raises Failure `gguf-invalid` where the header says what no model can be, `gguf-split` where parts are missing.
    """
    model = joined(headers)
    header = model.first
    said = HeaderNumbers(header)
    layers, names = layers_of(said), gguf_names()
    weights = tuple(
        Weight(name, settled(place, layers), place.layer, tuple(reversed(tensor.shape)), tensor.type.name, tensor.size)
        for name, (_, tensor) in model.tensors.items() for place in (names.place(name),))
    experts, used = said.number("expert_count", most=MOST_EXPERTS), said.number("expert_used_count", most=MOST_EXPERTS)
    if used > experts:
        said.refuse("expert_used_count", f"is {used:,} of {experts:,} experts")
    return Anatomy(
        architecture=header.architecture, form="gguf",
        quantization=FILE_TYPES.get(header.get("general.file_type", int, -1), ""),
        weights=weights, layers=layers, vocabulary=_vocabulary(said, weights),
        width=said.number("embedding_length"), feed_forward=feed_forward(weights),
        heads=max((layer.heads for layer in layers), default=0),
        context_length=said.number("context_length", most=MOST_TOKENS) or None,
        tied=not any(one.name == "output.weight" for one in weights), experts=experts, experts_used=used,
        merges=_count(header, "tokenizer.ggml.merges"), file_size=model.size,
        parameters=sum(one.elements for one in weights if not one.name.startswith("rope_f")),
        grouping=_grouping(said),
    )


def feed_forward(weights: Sequence[Weight]) -> int:
    """The width of the widest dense feed-forward net, of models without one that of an expert."""
    for role in ("mlp", "experts"):
        if found := [one.shape[-1] for one in weights if one.role == role and ".ffn_down" in one.name]:
            return max(found)
    return 0


def _grouping(said: HeaderNumbers) -> int:
    """Whether or not that layer has attention: llama.cpp's quantizer goes by what the header says (`n_gqa`)."""
    heads = said.each("attention.head_count", 1, most=MOST_HEADS)[0]
    kv_heads = said.each("attention.head_count_kv", 1, heads, most=MOST_HEADS)[0]
    return heads // kv_heads if kv_heads else 0


def _vocabulary(said: HeaderNumbers, weights: Sequence[Weight]) -> int:
    tokens = _count(said.header, "tokenizer.ggml.tokens") or said.number("vocab_size")
    return tokens or next((one.shape[0] for one in weights if one.name == "token_embd.weight"), 0)


def _count(header: Header, key: str) -> int:
    value = header.metadata.get(key)
    return value.count if isinstance(value, Array) else 0
