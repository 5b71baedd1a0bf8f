"""Models by their published dimensions, in a precision: as many bytes as their files have, without the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelkit.models.anatomy import Anatomy, Layer, Role, Weight

BITS = {"F32": 32, "F16": 16, "BF16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q5_K": 5.5, "Q5_1": 6, "Q5_0": 5.5, "Q4_K": 4.5,
        "Q4_1": 5, "Q4_0": 4.5, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "Q3_K": 3.4375, "Q2_K": 2.625, "I32": 32}


@dataclass(frozen=True)
class Shape:
    """Dimensions of a decoder. `experts` of `expert_width` replace its dense matrices where there are any."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool = False
    experts: int = 0
    used: int = 0
    expert_width: int = 0
    shared_width: int = 0
    latent: int = 0


LLAMA3_8B = Shape(32, 4096, 14336, 32, 8, 128, 128256)
LLAMA2_7B = Shape(32, 4096, 11008, 32, 32, 128, 32000)
SMOLLM2 = Shape(30, 576, 1536, 9, 3, 64, 49152, tied=True)
OLMOE = Shape(16, 2048, 0, 16, 16, 128, 50304, experts=64, used=8, expert_width=1024)
QWEN15_MOE = Shape(24, 2048, 0, 16, 16, 128, 151936, experts=60, used=4, expert_width=1408, shared_width=5632)
DEEPSEEK_V2_LITE = Shape(27, 2048, 0, 16, 16, 128, 102400, experts=64, used=6, expert_width=1408, shared_width=2816,
                         latent=576)
QWEN3_30B = Shape(48, 2048, 0, 32, 4, 128, 151936, experts=128, used=8, expert_width=768)


def anatomy(shape: Shape, default: str, **types: str) -> Anatomy:
    """In one type but for some tensors: `output`, `embedding`, and `more`, which half of the value and down matrices
    have in the mixes that end in `_M`."""
    weights = [_weight("token_embd", "embedding", None, (shape.vocabulary, shape.width),
                       types.get("embedding", default))]
    if not shape.tied:
        weights.append(_weight("output", "output", None, (shape.vocabulary, shape.width),
                               types.get("output", default)))
    for at in range(shape.layers):
        weights += _layer(shape, at, default, types)
    kv = shape.kv_heads * shape.head
    layer = (Layer("mla", shape.heads, 1, shape.latent, 0) if shape.latent
             else Layer("full", shape.heads, shape.kv_heads, kv, kv))
    numbers = sum(one.elements for one in weights)
    return Anatomy("llama", "gguf", default, tuple(weights),
                   (layer,) * shape.layers, shape.vocabulary, shape.width, shape.feed_forward or shape.expert_width,
                   shape.heads, 131072, shape.tied, shape.experts, shape.used, parameters=numbers)


def _layer(shape: Shape, at: int, default: str, types: Mapping[str, str]) -> list[Weight]:
    query, kv = shape.heads * shape.head, shape.kv_heads * shape.head
    eighth = shape.layers // 8
    raised = at < eighth or at >= 7 * eighth or (at - eighth) % 3 == 2
    more = types.get("more", default) if raised else default
    parts: list[tuple[str, Role, tuple[int, ...], str]] = [
        ("attn_q", "attention", (query, shape.width), default), ("attn_k", "attention", (kv, shape.width), default),
        ("attn_v", "attention", (kv, shape.width), more), ("attn_output", "attention", (shape.width, query), default)]
    matrices: list[tuple[int, Role, tuple[int, ...]]] = [
        (shape.feed_forward, "mlp", ()), (shape.shared_width, "shared_experts", ()),
        (shape.expert_width, "experts", (shape.experts,))]
    for width, role, lead in matrices:
        if width:
            parts += [("ffn_gate", role, (*lead, width, shape.width), default),
                      ("ffn_up", role, (*lead, width, shape.width), default),
                      ("ffn_down", role, (*lead, shape.width, width), more)]
    return [_weight(f"blk.{at}.{name}", role, at, size, kind) for name, role, size, kind in parts]


def _weight(name: str, role: Role, layer: int | None, shape: tuple[int, ...], kind: str) -> Weight:
    one = Weight(name, role, layer, shape, kind, 0)
    return Weight(name, role, layer, shape, kind, int(one.elements * BITS[kind] / 8))
