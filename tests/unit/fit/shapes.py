"""Models of which there is only the header: the shapes of real families, some with fewer layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf

Tensors = Iterator[tuple[str, tuple[int, ...]]]
"""Names, and shapes with the columns first as ggml has them."""


def write(path: Path, architecture: str, metadata: dict[str, Any], tensors: Tensors, *, vocabulary: int,
          kind: str = "Q4_1") -> Path:
    """A GGUF file without weights. Matrices are of `kind`, everything else is F32."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("tokenizer.ggml.model", "no_vocab")
    writer.add_uint32(f"{architecture}.vocab_size", vocabulary)
    for key, value in metadata.items():
        name = f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        else:
            writer.add_uint32(name, value)
    for name, shape in tensors:
        flat = len(shape) == 1 or any(part in name for part in ("norm", "_inp.", "ssm_conv", "ssm_a", "ssm_d"))
        word = gguf.GGMLQuantizationType.F32 if flat else gguf.GGMLQuantizationType[kind]
        block, size = gguf.GGML_QUANT_SIZES[word]
        elements = 1
        for one in shape:
            elements *= one
        rows = shape[::-1]
        raw = rows if word == gguf.GGMLQuantizationType.F32 else (*rows[:-1], rows[-1] // block * size)
        writer.add_tensor_info(name, raw, _np_dtype(word), elements // block * size, raw_dtype=word)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total = sum(gguf.GGUFWriter.ggml_pad(one.nbytes, 32) for one in writer.tensors[0].values())
    writer.close()
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.truncate(gguf.GGUFWriter.ggml_pad(end, 32) + total)
    return path


def _np_dtype(word: gguf.GGMLQuantizationType) -> Any:
    import numpy as np

    return np.dtype(np.float32) if word == gguf.GGMLQuantizationType.F32 else np.dtype(np.uint8)


def _head(width: int, vocabulary: int, tied: bool) -> Tensors:
    yield "token_embd.weight", (width, vocabulary)
    yield "output_norm.weight", (width,)
    if not tied:
        yield "output.weight", (width, vocabulary)


def _attention(at: str, width: int, query: int, key: int, value: int) -> Tensors:
    yield f"{at}.attn_norm.weight", (width,)
    yield f"{at}.attn_q.weight", (width, query)
    yield f"{at}.attn_k.weight", (width, key)
    yield f"{at}.attn_v.weight", (width, value)
    yield f"{at}.attn_output.weight", (query, width)


def _dense(at: str, width: int, inner: int) -> Tensors:
    yield f"{at}.ffn_norm.weight", (width,)
    yield f"{at}.ffn_gate.weight", (width, inner)
    yield f"{at}.ffn_up.weight", (width, inner)
    yield f"{at}.ffn_down.weight", (inner, width)


def _experts(at: str, width: int, inner: int, experts: int) -> Tensors:
    yield f"{at}.ffn_norm.weight", (width,)
    yield f"{at}.ffn_gate_inp.weight", (width, experts)
    yield f"{at}.ffn_gate_exps.weight", (width, inner, experts)
    yield f"{at}.ffn_up_exps.weight", (width, inner, experts)
    yield f"{at}.ffn_down_exps.weight", (inner, width, experts)


def _llama(path: Path, *, layers: int, width: int, inner: int, heads: int, kv_heads: int, vocabulary: int,
           tied: bool = False, experts: int = 0) -> Path:
    head = width // heads
    metadata: dict[str, Any] = {
        "block_count": layers, "context_length": 131072, "embedding_length": width, "feed_forward_length": inner,
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "rope.dimension_count": head,
        "attention.layer_norm_rms_epsilon": 1e-5}
    if experts:
        metadata |= {"expert_count": experts, "expert_used_count": 2}

    def tensors() -> Tensors:
        yield from _head(width, vocabulary, tied)
        for at in (f"blk.{index}" for index in range(layers)):
            yield from _attention(at, width, width, kv_heads * head, kv_heads * head)
            yield from _experts(at, width, inner, experts) if experts else _dense(at, width, inner)

    return write(path, "llama", metadata, tensors(), vocabulary=vocabulary)


def llama_8b(path: Path, layers: int = 32) -> Path:
    """Llama-3.1-8B: grouped queries, an output matrix of its own."""
    return _llama(path, layers=layers, width=4096, inner=14336, heads=32, kv_heads=8, vocabulary=128256)


def mixtral(path: Path, layers: int = 32) -> Path:
    """Mixtral-8x7B: two of eight experts."""
    return _llama(path, layers=layers, width=4096, inner=14336, heads=32, kv_heads=8, vocabulary=32000, experts=8)


def smollm2(path: Path) -> Path:
    """SmolLM2-135M: a small one with tied embeddings."""
    return _llama(path, layers=30, width=576, inner=1536, heads=9, kv_heads=3, vocabulary=49152, tied=True)


def gemma3_4b(path: Path, layers: int = 34) -> Path:
    """Gemma-3-4B: five layers of six look at 1024 tokens; heads that are not width / heads; a huge vocabulary."""
    width, inner, heads, kv_heads, head, vocabulary = 2560, 10240, 8, 4, 256, 262144
    metadata = {
        "block_count": layers, "context_length": 131072, "embedding_length": width, "feed_forward_length": inner,
        "attention.head_count": heads, "attention.head_count_kv": kv_heads, "attention.key_length": head,
        "attention.value_length": head, "attention.sliding_window": 1024, "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e6}

    def tensors() -> Tensors:
        yield from _head(width, vocabulary, True)
        for at in (f"blk.{index}" for index in range(layers)):
            yield from _attention(at, width, heads * head, kv_heads * head, kv_heads * head)
            yield from _dense(at, width, inner)
            yield f"{at}.attn_q_norm.weight", (head,)
            yield f"{at}.attn_k_norm.weight", (head,)
            yield f"{at}.post_attention_norm.weight", (width,)
            yield f"{at}.post_ffw_norm.weight", (width,)

    return write(path, "gemma3", metadata, tensors(), vocabulary=vocabulary)


def deepseek_v2_lite(path: Path, layers: int = 27) -> Path:
    """DeepSeek-V2-Lite: a latent instead of keys and values, 64 small experts, the first layer dense. With fewer layers
    llama.cpp takes it for the large one, whose queries come from a latent, too."""
    width, inner, heads, latent, rotary, vocabulary = 2048, 10944, 16, 512, 64, 102400
    nope, value, expert, experts = 128, 128, 1408, 64
    metadata = {
        "block_count": layers, "context_length": 163840, "embedding_length": width, "feed_forward_length": inner,
        "attention.head_count": heads, "attention.head_count_kv": 1, "attention.key_length": latent + rotary,
        "attention.value_length": latent, "attention.key_length_mla": nope + rotary,
        "attention.value_length_mla": value, "attention.kv_lora_rank": latent, "rope.dimension_count": rotary,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "leading_dense_block_count": 1, "expert_count": experts, "expert_used_count": 6, "expert_shared_count": 2,
        "expert_feed_forward_length": expert, "expert_weights_scale": 1.0}

    lite, rank = layers == 27, 512
    metadata |= {} if lite else {"attention.q_lora_rank": rank}

    def tensors() -> Tensors:
        yield from _head(width, vocabulary, False)
        for index in range(layers):
            at = f"blk.{index}"
            yield f"{at}.attn_norm.weight", (width,)
            if lite:
                yield f"{at}.attn_q.weight", (width, heads * (nope + rotary))
            else:
                yield f"{at}.attn_q_a.weight", (width, rank)
                yield f"{at}.attn_q_a_norm.weight", (rank,)
                yield f"{at}.attn_q_b.weight", (rank, heads * (nope + rotary))
            yield f"{at}.attn_kv_a_mqa.weight", (width, latent + rotary)
            yield f"{at}.attn_kv_a_norm.weight", (latent,)
            yield f"{at}.attn_k_b.weight", (nope, latent, heads)
            yield f"{at}.attn_v_b.weight", (latent, value, heads)
            yield f"{at}.attn_output.weight", (heads * value, width)
            if index == 0:
                yield from _dense(at, width, inner)
                continue
            yield from _experts(at, width, expert, experts)
            yield f"{at}.ffn_gate_shexp.weight", (width, 2 * expert)
            yield f"{at}.ffn_up_shexp.weight", (width, 2 * expert)
            yield f"{at}.ffn_down_shexp.weight", (2 * expert, width)

    return write(path, "deepseek2", metadata, tensors(), vocabulary=vocabulary)


def granite_hybrid(path: Path, layers: int = 40) -> Path:
    """Granite-4.0-H-1B: four attention layers among Mamba2 ones."""
    width, inner, heads, kv_heads, vocabulary = 1536, 4096, 12, 4, 100352
    conv, d_inner, state, rank, group = 4, 3072, 128, 48, 1
    attended = {5, 15, 25, 35}
    metadata = {
        "block_count": layers, "context_length": 131072, "embedding_length": width,
        "feed_forward_length": [inner] * layers, "attention.head_count": heads,
        "attention.head_count_kv": [kv_heads if index in attended else 0 for index in range(layers)],
        "rope.dimension_count": width // heads, "attention.layer_norm_rms_epsilon": 1e-5, "ssm.conv_kernel": conv,
        "ssm.inner_size": d_inner, "ssm.state_size": state, "ssm.time_step_rank": rank, "ssm.group_count": group}

    def tensors() -> Tensors:
        yield from _head(width, vocabulary, True)
        for index in range(layers):
            at, head = f"blk.{index}", width // heads
            if index in attended:
                yield from _attention(at, width, width, kv_heads * head, kv_heads * head)
            else:
                wide = d_inner + 2 * group * state
                yield f"{at}.attn_norm.weight", (width,)
                yield f"{at}.ssm_in.weight", (width, d_inner + wide + rank)
                yield f"{at}.ssm_conv1d.weight", (conv, wide)
                yield f"{at}.ssm_conv1d.bias", (wide,)
                yield f"{at}.ssm_dt.bias", (rank,)
                yield f"{at}.ssm_a", (1, rank)
                yield f"{at}.ssm_d", (1, rank)
                yield f"{at}.ssm_norm.weight", (d_inner // group, group)
                yield f"{at}.ssm_out.weight", (d_inner, width)
            yield from _dense(at, width, inner)

    return write(path, "granitehybrid", metadata, tensors(), vocabulary=vocabulary)


SHAPES: dict[str, Callable[[Path], Path]] = {
    "llama-8b": llama_8b, "gemma3-4b": gemma3_4b, "deepseek-v2-lite": deepseek_v2_lite, "mixtral": mixtral,
    "granite-hybrid": granite_hybrid, "smollm2": smollm2}
