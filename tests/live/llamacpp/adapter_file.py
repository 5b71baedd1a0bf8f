"""A LoRA adapter for SmolLM2-135M in llama.cpp's own form, random and strong, written without a library."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

LAYERS, WIDTH, RANK = 30, 576, 4
_STRING, _FLOAT = 8, 6  # GGUF's types of values


def write(path: Path, seed: int, strength: float = 0.1) -> Path:
    source, tensors = np.random.default_rng(seed), {}
    for layer in range(LAYERS):
        for half, shape in (("lora_a", (RANK, WIDTH)), ("lora_b", (WIDTH, RANK))):
            tensors[f"blk.{layer}.attn_q.weight.{half}"] = source.normal(0, strength, shape).astype("<f4")
    said: list[tuple[str, str | float]] = [("general.architecture", "llama"), ("general.type", "adapter"),
                                           ("adapter.type", "lora"), ("adapter.lora.alpha", 8.0)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(said))
    for key, value in said:
        head += _text(key) + (struct.pack("<If", _FLOAT, value) if isinstance(value, float)
                              else struct.pack("<I", _STRING) + _text(value))
    offset = 0
    for name, rows in tensors.items():
        head += _text(name) + struct.pack("<IQQIQ", 2, *reversed(rows.shape), 0, offset)
        offset += rows.nbytes + -rows.nbytes % 32
    body = b"".join(rows.tobytes() + bytes(-rows.nbytes % 32) for rows in tensors.values())
    path.write_bytes(head + bytes(-len(head) % 32) + body)
    return path


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()
