"""The GGUF that llama.cpp's converter would make of a Hugging Face folder, tensor by tensor. Pure.

Names and joins are facts of `gguf-py/gguf/tensor_mapping.py` and `conversion/` of llama.cpp as llama-cpp-python 0.3.36
ships it: experts become one tensor with three dimensions, norms, routers and whatever is no matrix become F32. What a
name does not tell keeps it: such a tensor is counted, and mixed as any other matrix is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

from modelkit.failure import Failure
from modelkit.models.anatomy.anatomy import Anatomy, Layer, Weight

ALIGNMENT = 32
"""Bytes to which tensors are padded in a GGUF, unless it says another number."""

_SIZES = {"F32": 4, "F16": 2, "BF16": 2}
_PLAIN = ("F64", "F32", "F16", "BF16")
_KEY_BYTES = 8 << 10  # of metadata besides the vocabulary, about; a chat template among it
_TOKEN_BYTES = 8 + 7 + 4  # its length, its text, its type
_MERGE_BYTES = 8 + 9

_ATTENTION: tuple[tuple[str, str], ...] = (
    (r"q_a_proj", "attn_q_a"), (r"q_b_proj", "attn_q_b"), (r"kv_a_proj_with_mqa", "attn_kv_a_mqa"),
    (r"kv_b_proj", "attn_kv_b"), (r"qkv_proj|query_key_value|Wqkv|c_attn|W_pack|qkv", "attn_qkv"),
    (r"q_proj|wq|query", "attn_q"), (r"k_proj|wk|key", "attn_k"), (r"v_proj|wv|value", "attn_v"),
    (r"o_proj|out_proj|wo|dense|c_proj", "attn_output"))
_FEED_FORWARD: tuple[tuple[str, str], ...] = (
    (r"gate_up_proj", "ffn_up"), (r"gate_proj|w1|linear_gate", "ffn_gate"),
    (r"down_proj|w2|fc2|dense_4h_to_h|output\.dense|c_proj|wo", "ffn_down"),
    (r"up_proj|w3|fc1|dense_h_to_4h|intermediate\.dense|c_fc|wi(_\d)?", "ffn_up"))
_EXPERT = re.compile(r"experts\.\d+\.")


def as_gguf(anatomy: Anatomy, kind: str = "auto") -> Anatomy:
    """A Hugging Face folder as GGUF of `F32`, `F16`, `BF16`, or of its own 16 bits (`auto`); a GGUF as it is.

    Raises Failure `precision-unknown` for a folder whose weights are packed: the converter does not open all of them.
    """
    if anatomy.form == "gguf":
        return anatomy
    if packed := next((one for one in anatomy.weights if one.type not in _PLAIN and one.role != "vision"), None):
        raise Failure("precision-unknown", f"how large a GGUF of this model would be is not known: it is "
                      f"{anatomy.quantization or packed.type} already", "take a base that is not quantized")
    written = _own(anatomy) if kind == "auto" else kind
    weights = tuple(_joined(one for weight in anatomy.weights if weight.role != "vision"
                            for one in _renamed(weight, anatomy, written)))
    header = _KEY_BYTES + anatomy.vocabulary * _TOKEN_BYTES + anatomy.merges * _MERGE_BYTES + 100 * len(weights)
    return replace(anatomy, form="gguf", quantization=written, weights=weights,
                   file_size=header + sum(padded(one.size) for one in weights))


def padded(size: int, alignment: int = ALIGNMENT) -> int:
    return -(-size // alignment) * alignment


def _own(anatomy: Anatomy) -> str:
    """The converter's `auto`: the first matrix decides, and F32 becomes F16."""
    first = next((one.type for one in anatomy.weights if len(one.shape) > 1), "BF16")
    return first if first in ("F16", "BF16") else "F16"


def _renamed(weight: Weight, anatomy: Anatomy, kind: str) -> Iterator[Weight]:
    """A tensor under its name in a GGUF; two where conversion takes it apart."""
    layer = anatomy.layers[weight.layer] if weight.layer is not None and weight.layer < len(anatomy.layers) else None
    shape = tuple(one for one in weight.shape if one > 1) or (1,)
    for name, part in _parts(weight, shape, anatomy, layer):
        prefix = "" if weight.layer is None else f"blk.{weight.layer}."
        as_it_is = weight.name.rpartition(".")[2] not in ("weight", "gate_up_proj", "down_proj")
        full = prefix + name + ("." + weight.name.rpartition(".")[2] if as_it_is else ".weight")
        whole = len(part) < 2 or weight.role in ("norm", "router") or "conv" in weight.name or as_it_is
        type_ = "F32" if whole else kind
        yield replace(weight, name=full, shape=part, type=type_, size=math.prod(part) * _SIZES[type_])


def _parts(weight: Weight, shape: tuple[int, ...], anatomy: Anatomy, layer: Layer | None,
           ) -> Iterator[tuple[str, tuple[int, ...]]]:
    match weight.role:
        case "embedding" if weight.layer is None and len(shape) == 2 and shape[0] >= anatomy.vocabulary > 0:
            yield "token_embd", shape
        case "output":
            yield "output", shape
        case "norm":
            yield weight.name.removesuffix(".weight").rpartition(".")[2] + "_norm", shape
        case "router":
            yield "ffn_gate_inp", shape
        case "attention":
            name = _named(weight.name, _ATTENTION)
            latent = _latent(shape, anatomy, weight, layer) if name == "attn_kv_b" else None
            yield from latent or ((name, shape),)
        case "mlp":
            yield _named(weight.name, _FEED_FORWARD), shape
        case "shared_experts":
            yield _named(weight.name, _FEED_FORWARD) + "_shexp", shape
        case "experts":
            yield from _experts(weight, shape, anatomy)
        case _:
            yield weight.name.removesuffix(".weight").rpartition(".")[2], shape


def _named(name: str, table: tuple[tuple[str, str], ...]) -> str:
    stem = name.rpartition(".")[0] if name.endswith((".weight", ".bias")) else name
    return next((ours for pattern, ours in table if re.search(rf"(^|\.)({pattern})$", stem)), stem.rpartition(".")[2])


def _latent(shape: tuple[int, ...], anatomy: Anatomy, weight: Weight, layer: Layer | None,
            ) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """Latent attention's way back, which becomes one tensor for keys and one for values, a matrix for each head."""
    sizes = {one.name.split(".")[-2]: one.shape for one in anatomy.in_layer(weight.layer or 0) if "." in one.name}
    out = sizes.get("o_proj")
    if layer is None or not layer.heads or out is None or out[-1] % layer.heads or shape[0] % layer.heads:
        return None
    values = out[-1] // layer.heads
    keys = shape[0] // layer.heads - values
    return (("attn_k_b", (layer.heads, shape[1], keys)), ("attn_v_b", (layer.heads, values, shape[1])))


def _experts(weight: Weight, shape: tuple[int, ...], anatomy: Anatomy) -> Iterator[tuple[str, tuple[int, ...]]]:
    """One expert's matrix, or those of all experts in one, whichever way round they lie."""
    name = _named(weight.name, _FEED_FORWARD)
    if len(shape) != 3 or _EXPERT.search(weight.name):
        yield name + "_exps", shape
        return
    count, first, second = shape
    inner = first if second == anatomy.width else second
    if "gate_up" in weight.name:
        yield "ffn_gate_exps", (count, inner // 2, anatomy.width)
        yield "ffn_up_exps", (count, inner // 2, anatomy.width)
    else:
        yield name + "_exps", (count, anatomy.width, inner)


def _joined(weights: Iterator[Weight]) -> Iterator[Weight]:
    """The same with all experts' matrices of a layer as one tensor."""
    found: dict[str, list[Weight]] = {}
    for one in weights:
        found.setdefault(one.name, []).append(one)
    for same in found.values():
        first = same[0]
        if first.role == "experts" and len(first.shape) == 2 and first.name.endswith("_exps.weight"):
            yield replace(first, shape=(len(same), *first.shape), size=sum(one.size for one in same))
        else:
            yield from same
