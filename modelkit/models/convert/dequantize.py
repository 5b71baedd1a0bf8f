"""A GGUF's tensors as a Hugging Face model has them: other names, bfloat16, Q and K rows back in their own order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.models.formats.gguf import Header, Tensor, refuse
from modelkit.models.formats.safetensors_writer import SafetensorsWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUPPORTED = ("llama",)
_CHUNK = 1 << 22  # elements at a time: 16 MiB as float32

_OUTER = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
          "output.weight": "lm_head.weight"}
_INNER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
          "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
          "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_IGNORED = ("rope_freqs.weight",)  # said in config.json instead, see `folder.rope`


@dataclass(frozen=True)
class Dimensions:
    """What the header of a `llama` model says about its shape."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int


@dataclass(frozen=True)
class Part:
    """One tensor to write: where it comes from and what it becomes."""

    name: str
    source: Tensor
    shape: tuple[int, ...]  # Hugging Face's order: rows first
    heads: int = 0  # not 0: rows are interleaved inside that many heads


def dimensions(header: Header) -> Dimensions:
    """The shape of the model, or a Failure when modelkit can't convert this architecture yet."""
    if header.architecture not in SUPPORTED:
        raise _not_yet(header, f"the architecture `{header.architecture}`")
    if header.get("llama.expert_count", int, 0):
        raise _not_yet(header, "a mixture of experts in the architecture `llama`")
    if not header.get("llama.attention.causal", bool, True):
        raise _not_yet(header, "attention in both directions")
    layers, width, hidden, heads = (_whole(header, key) for key in (
        "block_count", "embedding_length", "feed_forward_length", "attention.head_count"))
    kv_heads = _whole(header, "attention.head_count_kv", heads)
    head_width = _whole(header, "attention.key_length", width // heads)
    if _whole(header, "attention.value_length", head_width) != head_width:
        raise _not_yet(header, "keys and values of different widths")
    if _whole(header, "rope.dimension_count", head_width) != head_width:
        raise _not_yet(header, "a rotary embedding over a part of each head")
    if heads % kv_heads or head_width % 2:
        refuse(header.path, "heads", 0, f"{heads} heads can't share {kv_heads} key heads of width {head_width}")
    return Dimensions(layers, width, hidden, heads, kv_heads, head_width)


def parts(header: Header, shape: Dimensions, vocabulary: int) -> list[Part]:
    """What to write, in order; every tensor of the file is used, every one that is needed is there."""
    expected = dict(_shapes(shape, vocabulary))
    named = {}
    for name, tensor in header.tensors.items():
        if name in _IGNORED:
            continue
        target = _target(name)
        if target is None or target not in expected:
            raise _not_yet(header, f"the tensor `{name}`")
        if tuple(reversed(tensor.shape)) != expected[target] or (tensor.type.block > 1 and len(tensor.shape) == 1):
            refuse(header.path, "tensor-shape", tensor.offset,
                   f"tensor `{name}` is {tensor.shape} of {tensor.type.name}, not {tuple(reversed(expected[target]))}")
        heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(target.split(".")[-2], 0)
        named[target] = Part(target, tensor, expected[target], heads)
    for block in ("self_attn", "mlp"):  # Hugging Face's configuration has one switch for a block's biases
        biases = {name for name in expected if name.endswith(".bias") and block in name}
        if not biases <= named.keys() and biases & named.keys():
            raise _not_yet(header, f"biases on a part of `{block}` only")
    optional = {name for name in expected if name.endswith(".bias") or name == "lm_head.weight"}
    if missing := expected.keys() - named.keys() - optional:
        refuse(header.path, "tensor-missing", header.data_offset, f"the tensor for `{min(missing)}` is missing")
    return [named[name] for name in expected if name in named]


def size(chosen: list[Part]) -> int:
    """Bytes of all tensors as bfloat16."""
    return sum(2 * part.source.elements for part in chosen)


def write(header: Header, chosen: list[Part], path: Path, on_bytes: Callable[[int], None]) -> tuple[str, int]:
    """Write `path` and return its sha256 and size. `on_bytes` hears how many bytes are there so far."""
    with SafetensorsWriter(path, {part.name: ("BF16", part.shape) for part in chosen}) as out, \
            header.path.open("rb") as file:
        for part in chosen:
            for rows in _chunks(header, part, file):
                out.write(bfloat16(rows).tobytes())
                on_bytes(out.written)
    return out.sha256, out.size


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16s, ties to even, as their bits; a NaN stays one."""
    import numpy as np

    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where((bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000), quiet, rounded).astype("<u2")


def _chunks(header: Header, part: Part, file: Any) -> Iterator[NDArray[np.float32]]:
    """A tensor's values some rows at a time, whole heads where their rows have to change places."""
    import numpy as np

    width = part.source.shape[0] if len(part.shape) > 1 or not part.heads else 1
    rows = part.source.elements // width
    head = rows // part.heads if part.heads else 1
    step = max(_CHUNK // width // head, 1) * head
    row_bytes = part.source.size // rows
    file.seek(part.source.offset)
    for begin in range(0, rows, step):
        count = min(step, rows - begin)
        raw = file.read(count * row_bytes)
        if len(raw) != count * row_bytes:
            refuse(header.path, "changed", part.source.offset, "the file became shorter while it was read")
        values = _dequantized(np.frombuffer(raw, np.uint8).reshape(count, row_bytes), part.source.type.name, header)
        # llama.cpp pairs neighbours in its rotary embedding where Hugging Face pairs halves: conversion to GGUF
        # interleaved the two halves of each head's rows, and this takes them apart again.
        yield values.reshape(-1, head // 2, 2, width).swapaxes(1, 2).reshape(count, width) if part.heads else values


def _dequantized(raw: NDArray[np.uint8], kind: str, header: Header) -> NDArray[np.float32]:
    import numpy as np
    from gguf import GGMLQuantizationType, quants

    if kind in ("F32", "F16"):
        return raw.view({"F32": "<f4", "F16": "<f2"}[kind]).astype(np.float32)
    try:
        values: NDArray[np.float32] = quants.dequantize(raw, GGMLQuantizationType[kind])
    except (KeyError, NotImplementedError):
        raise _not_yet(header, f"tensors of type {kind}") from None
    return values


def _shapes(shape: Dimensions, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, hidden = shape.width, shape.hidden
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    rows = {"self_attn.q_proj": (query, width), "self_attn.k_proj": (key, width), "self_attn.v_proj": (key, width),
            "self_attn.o_proj": (width, query), "mlp.gate_proj": (hidden, width), "mlp.up_proj": (hidden, width),
            "mlp.down_proj": (width, hidden)}
    yield "model.embed_tokens.weight", (vocabulary, width)
    for layer in range(shape.layers):
        for inner in _INNER.values():
            matrix = rows.get(inner)
            yield f"model.layers.{layer}.{inner}.weight", matrix or (width,)
            if matrix is not None:
                yield f"model.layers.{layer}.{inner}.bias", matrix[:1]
    yield "model.norm.weight", (width,)
    yield "lm_head.weight", (vocabulary, width)


def _target(name: str) -> str | None:
    """Hugging Face's name of a llama.cpp tensor, None for one that it does not have."""
    if name in _OUTER:
        return _OUTER[name]
    match name.split("."):
        case ["blk", layer, inner, kind] if inner in _INNER:
            return f"model.layers.{layer}.{_INNER[inner]}.{kind}"
    return None


def _whole(header: Header, key: str, default: int = 0) -> int:
    value: int = header.get(f"llama.{key}", int, default)
    if not 1 <= value < 1 << 31:
        refuse(header.path, "hyperparameter", 0, f"`llama.{key}` is {value or 'missing'}")
    return value


def _not_yet(header: Header, what: str) -> Failure:
    return Failure("architecture-not-yet",
                   f"{header.path.name} has {what}, which can't be converted to safetensors yet",
                   f"converted so far: {', '.join(SUPPORTED)}; serve this one with `ENGINE llama.cpp`, or name a "
                   f"model in safetensors in the stage's FROM", data={"supported": list(SUPPORTED)})
