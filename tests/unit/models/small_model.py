"""A llama model small enough for a test: random weights in a real GGUF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, quants

from tests.unit.models.gguf_files import TensorOf, gguf, pair, vocabulary_pairs

LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS, HEAD = 2, 64, 96, 4, 2, 16
SAID: dict[str, Any] = json.loads((Path(__file__).parent / "token_ids.json").read_text())
TOKENS = len(SAID["tokens"])

SHAPES = {  # by llama.cpp's name, rows first
    "token_embd.weight": (TOKENS, WIDTH), "output_norm.weight": (WIDTH,),
    **{f"blk.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in {
        "attn_norm": (WIDTH,), "attn_q": (HEADS * HEAD, WIDTH), "attn_k": (KV_HEADS * HEAD, WIDTH),
        "attn_v": (KV_HEADS * HEAD, WIDTH), "attn_output": (WIDTH, HEADS * HEAD), "ffn_norm": (WIDTH,),
        "ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN)}.items()},
}
KINDS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "F16", "BF16", "F32")


def values(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    source = np.random.default_rng(len(name) * 1000 + sum(map(ord, name)))
    return source.standard_normal(shape).astype(np.float32)


def tensor(name: str, shape: tuple[int, ...], kind: str) -> TensorOf:
    number = GGMLQuantizationType[kind]
    data = quants.quantize(values(name, shape), number).tobytes()
    return TensorOf(name, tuple(reversed(shape)), int(number), data)


def tensors(**more: tuple[int, ...]) -> list[TensorOf]:
    """All tensors, the matrices in turn in every type that Python can make."""
    shapes = SHAPES | {name.replace("__", "."): shape for name, shape in more.items()}
    return [tensor(name, shape, "F32" if len(shape) == 1 else KINDS[place % len(KINDS)])
            for place, (name, shape) in enumerate(shapes.items())]


def pairs(architecture: str = "llama", pre: str = "smollm", **hyperparameters: Any) -> list[bytes]:
    said = {"block_count": LAYERS, "embedding_length": WIDTH, "feed_forward_length": HIDDEN, "context_length": 128,
            "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS, "rope.dimension_count": HEAD,
            "rope.freq_base": 10000.0, "attention.layer_norm_rms_epsilon": 1e-5, "vocab_size": TOKENS,
            **{name.replace("__", "."): value for name, value in hyperparameters.items()}}
    kinds = {bool: "bool", int: "uint32", float: "float32", str: "string"}
    types = [3, 3, 3, 4, 4, *[1] * (TOKENS - 5)]
    return [pair("general.architecture", "string", architecture), pair("general.file_type", "uint32", 3),
            *(pair(f"{architecture}.{name}", f"[{kinds[type(value[0])]}]" if isinstance(value, list)
                   else kinds[type(value)], value) for name, value in said.items()),
            *vocabulary_pairs(SAID["tokens"], SAID["merges"], types, pre, bos=1, eos=2, unknown=0, padding=2),
            pair("tokenizer.chat_template", "string", "{% for m in messages %}{{ m.content }}{% endfor %}")]


def small_model(path: Path, *, more: dict[str, tuple[int, ...]] | None = None, without: str = "",
                **hyperparameters: Any) -> Path:
    """Write the model; `more` tensors, one left out, other metadata."""
    chosen = [one for one in tensors(**(more or {})) if one.name != without]
    path.write_bytes(gguf(pairs(**hyperparameters), chosen))
    return path
