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
from functools import lru_cache

from modelkit.failure import Failure
from modelkit.models.anatomy.anatomy import Anatomy, Weight
from modelkit.models.anatomy.converted import layers_as_gguf

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
    (r"gate_up_proj|input_linear", "ffn_up"), (r"gate_proj|w1|linear_gate", "ffn_gate"),
    (r"down_proj|w2|fc2|dense_4h_to_h|output\.dense|c_proj|wo|output_linear", "ffn_down"),
    (r"up_proj|w3|fc1|dense_h_to_4h|intermediate\.dense|c_fc|wi(_\d)?", "ffn_up"))
_RECURRENT: tuple[tuple[str, str], ...] = (
    (r"in_proj_qkvz?", "attn_qkv"), (r"conv1d|conv\.conv", "ssm_conv1d"), (r"out_proj", "ssm_out"))
_EXPERT = re.compile(r"experts\.\d+\.")
_HALVES = re.compile(r"experts\.gate_up_proj|input_linear")  # gate and up in one, which a GGUF has as two
_POSITIONS = re.compile(r"position_embeddings|wpe|embed_positions")
_KINDS_OF_TOKENS = re.compile(r"token_type_embeddings")
_FLOAT32 = re.compile(r"ssm_conv1d|position_embd|token_types|altup.*coefs")
_LEFT_OUT = re.compile(r"pooler\.")
_TRANSPOSED = ("gpt2",)  # their matrices lie columns first
_SAID_ONCE = re.compile(r"qwen3|minimax|falcon")  # one number of key heads, for layers without any, too


@lru_cache(maxsize=8)  # asked for by every precision of a ladder
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
    return replace(anatomy, form="gguf", quantization=written, weights=weights, grouping=_grouping(anatomy),
                   layers=layers_as_gguf(anatomy),
                   file_size=header + sum(padded(one.size) for one in weights))


def padded(size: int, alignment: int = ALIGNMENT) -> int:
    return -(-size // alignment) * alignment


def _own(anatomy: Anatomy) -> str:
    """The converter's `auto`: the first matrix decides, and F32 becomes F16."""
    first = next((one.type for one in anatomy.weights if len(one.shape) > 1), "BF16")
    return first if first in ("F16", "BF16") else "F16"


def _grouping(anatomy: Anatomy) -> int:
    """Query heads of each key head in the first layer, as the header would say: latent attention has one key head."""
    first = next(iter(anatomy.layers), None)
    if first is None:
        return 0
    if first.attention == "mla":
        return first.heads
    if not first.kv_heads and _SAID_ONCE.match(anatomy.architecture):
        first = next((layer for layer in anatomy.layers if layer.kv_heads), first)
    return first.heads // first.kv_heads if first.kv_heads else 0


def _renamed(weight: Weight, anatomy: Anatomy, kind: str) -> Iterator[Weight]:
    """A tensor under its name in a GGUF; two where conversion takes it apart."""
    if _LEFT_OUT.search(weight.name):
        return
    shape = tuple(one for one in weight.shape if one > 1) or (1,)
    if anatomy.architecture in _TRANSPOSED and weight.role in ("attention", "mlp"):
        shape = shape[::-1]
    last = weight.name.rpartition(".")[2]
    prefix = "" if weight.layer is None else f"blk.{weight.layer}."
    for name, part in _parts(weight, shape, anatomy):
        full = f"{prefix}{name}.{'weight' if last in ('weight', 'gate_up_proj', 'down_proj') else last}"
        whole = len(part) < 2 or weight.role in ("norm", "router") or not full.endswith("weight") \
            or _FLOAT32.search(full)
        type_ = "F32" if whole else kind
        yield replace(weight, name=full, shape=part, type=type_, size=math.prod(part) * _SIZES[type_])


def _parts(weight: Weight, shape: tuple[int, ...], anatomy: Anatomy) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names without their prefix, and shapes."""
    match weight.role:
        case "embedding" if _POSITIONS.search(weight.name):
            yield "position_embd", shape
        case "embedding" if _KINDS_OF_TOKENS.search(weight.name):
            yield "token_types", shape
        case "embedding" if len(shape) == 2 and "per_layer" in weight.name:
            yield "per_layer_token_embd", shape
        case "embedding" if len(shape) == 2:
            yield "token_embd", shape
        case "output":
            yield "output", shape
        case "norm":
            yield _stem(weight.name) + "_norm", shape
        case "router":
            yield "ffn_gate_inp", shape
        case "attention":
            name = _named(weight.name, _ATTENTION)
            yield from (_latent(shape, anatomy, weight) if name == "attn_kv_b" else None) or ((name, shape),)
        case "mlp":
            yield _named(weight.name, _FEED_FORWARD), shape
        case "shared_experts" | "experts":
            yield from _experts(weight, shape, anatomy)
        case "recurrent":
            yield from _recurrent(weight, shape, anatomy)
        case _:
            yield _stem(weight.name), shape


def _stem(name: str) -> str:
    """What of a name is not about where it is."""
    inner = re.sub(r"^.*?(layers|layer|h|blocks)\.\d+\.|^(model|transformer|language_model)\.", "", name)
    return re.sub(r"\.(weight|bias)$", "", inner).replace(".", "_")


def _named(name: str, table: tuple[tuple[str, str], ...]) -> str:
    stem = name.rpartition(".")[0] if name.endswith((".weight", ".bias")) else name
    return next((ours for pattern, ours in table if re.search(rf"(^|\.)({pattern})$", stem, re.I)), _stem(name))


def _latent(shape: tuple[int, ...], anatomy: Anatomy, weight: Weight) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """Latent attention's way back, which becomes one tensor for keys and one for values, a matrix for each head."""
    at = weight.layer if weight.layer is not None and weight.layer < len(anatomy.layers) else 0
    heads = anatomy.layers[at].heads if anatomy.layers else 0
    out = next((one.shape for one in anatomy.in_layer(at) if one.name.endswith("o_proj.weight")), None)
    if not heads or not out or len(shape) != 2 or out[-1] % heads or shape[0] % heads:
        return None
    values = out[-1] // heads
    if shape[0] // heads <= values:
        return None
    return (("attn_k_b", (heads, shape[1], shape[0] // heads - values)), ("attn_v_b", (heads, values, shape[1])))


def _experts(weight: Weight, shape: tuple[int, ...], anatomy: Anatomy) -> Iterator[tuple[str, tuple[int, ...]]]:
    """One expert's matrix, or those of all experts in one, whichever way round they lie."""
    name, end = _named(weight.name, _FEED_FORWARD), "shexp" if weight.role == "shared_experts" else "exps"
    stacked = len(shape) == 3 and not _EXPERT.search(weight.name)
    if _HALVES.search(weight.name) and len(shape) > 1 and not weight.name.endswith("bias"):
        inner = shape[-2] if shape[-1] == anatomy.width else shape[-1]
        for half in ("ffn_gate", "ffn_up"):
            yield f"{half}_{end}", (*shape[:-2], inner // 2, anatomy.width)
    elif stacked and name == "ffn_down":
        yield f"{name}_{end}", (shape[0], anatomy.width, shape[1] if shape[2] == anatomy.width else shape[2])
    else:
        yield f"{name}_{end}", shape


def _recurrent(weight: Weight, shape: tuple[int, ...], anatomy: Anatomy) -> Iterator[tuple[str, tuple[int, ...]]]:
    name = _named(weight.name, _RECURRENT)
    out = next((one.shape for one in anatomy.in_layer(weight.layer or 0) if one.name.endswith("out_proj.weight")), None)
    if weight.name.endswith("in_proj_qkvz.weight") and len(shape) == 2 and out and out[-1] < shape[0]:
        yield name, (shape[0] - out[-1], shape[1])
        yield "attn_gate", (out[-1], shape[1])
    else:
        yield name, shape


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
