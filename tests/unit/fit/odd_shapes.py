"""Models of which there is only the header, with what a quantizer's rules turn on beside the usual families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.fit.shapes import Tensors, write


def _plain(path: Path, architecture: str, *, layers: int, width: int, inner: int, heads: int, kv_heads: int,
           vocabulary: int, more: dict[str, Any] | None = None, fused: bool = False, gated: bool = True,
           tied: bool = False) -> Path:
    head = width // heads
    metadata: dict[str, Any] = {
        "block_count": layers, "context_length": 8192, "embedding_length": width, "feed_forward_length": inner,
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "rope.dimension_count": head,
        "attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5} | (more or {})

    def tensors() -> Tensors:
        yield "token_embd.weight", (width, vocabulary)
        yield "output_norm.weight", (width,)
        if not tied:
            yield "output.weight", (width, vocabulary)
        for at in (f"blk.{index}" for index in range(layers)):
            yield f"{at}.attn_norm.weight", (width,)
            if fused:
                yield f"{at}.attn_qkv.weight", (width, width + 2 * kv_heads * head)
                yield f"{at}.attn_qkv.bias", (width + 2 * kv_heads * head,)
            else:
                yield f"{at}.attn_q.weight", (width, width)
                yield f"{at}.attn_k.weight", (width, kv_heads * head)
                yield f"{at}.attn_v.weight", (width, kv_heads * head)
            yield f"{at}.attn_output.weight", (width, width)
            yield f"{at}.ffn_up.weight", (width, inner)
            yield f"{at}.ffn_down.weight", (inner, width)
            if gated:
                yield f"{at}.ffn_gate.weight", (width, inner)

    return write(path, architecture, metadata, tensors(), vocabulary=vocabulary, kind="BF16")


def llama_70b(path: Path) -> Path:
    """Llama-3.3-70B: eighty layers, eight query heads to a key head."""
    return _plain(path, "llama", layers=80, width=8192, inner=28672, heads=64, kv_heads=8, vocabulary=128256)


def falcon_7b(path: Path) -> Path:
    """Falcon: queries, keys and values in one; rules of its own."""
    return _plain(path, "falcon", layers=32, width=4544, inner=18176, heads=71, kv_heads=1, vocabulary=65024,
                  fused=True, gated=False)


def phi3_mini(path: Path) -> Path:
    """Phi-3-mini: queries, keys and values in one, as many key heads as query heads."""
    return _plain(path, "phi3", layers=32, width=3072, inner=8192, heads=32, kv_heads=32, vocabulary=32064,
                  fused=True, gated=False, more={"attention.sliding_window": 2047})


def qwen2_ungrouped(path: Path) -> Path:
    """As many layers as make no eighth a whole number, and every query head with a key head of its own."""
    return _plain(path, "qwen2", layers=23, width=1024, inner=2816, heads=16, kv_heads=16, vocabulary=151936, tied=True)


def odd_columns(path: Path) -> Path:
    """Rows that no block divides: 16 bits stay."""
    return _plain(path, "llama", layers=9, width=1000, inner=2736, heads=10, kv_heads=5, vocabulary=4000)


ODD: dict[str, Callable[[Path], Path]] = {
    "llama-70b": llama_70b, "falcon-7b": falcon_7b, "phi3-mini": phi3_mini, "qwen2-ungrouped": qwen2_ungrouped,
    "odd-columns": odd_columns}
