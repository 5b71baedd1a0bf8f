"""A projector for SmolLM2-135M in mtmd's form, random: a small vision transformer, and images of a few tokens.

`janus_pro` is computed causally, `gemma3` is not, and `qwen2vl` has as many tokens as the image has room for, which
models place in two dimensions.
"""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Literal

import gguf
import numpy as np

WIDTH = 576  # of the model's embeddings
SIDE, PATCH, EMBEDDING, HIDDEN, HEADS = 32, 8, 16, 32, 2
SIZES = {"janus_pro": 16, "gemma3": 4}
"""Tokens of an image of any size."""

Kind = Literal["janus_pro", "gemma3", "qwen2vl"]


def write(path: Path, kind: Kind = "janus_pro", width: int = WIDTH, patches: int = SIDE // PATCH) -> Path:
    source = np.random.default_rng(7)

    def rows(*shape: int, strength: float = 0.5) -> np.ndarray:
        return source.normal(0, strength, shape).astype("float32")

    side = patches * PATCH
    tensors = {"v.patch_embd.weight": rows(EMBEDDING, 3, PATCH, PATCH),
               "v.post_ln.weight": 1 + rows(EMBEDDING), "v.post_ln.bias": rows(EMBEDDING)}
    for name in ("ln1", "ln2"):
        tensors |= {f"v.blk.0.{name}.weight": 1 + rows(EMBEDDING), f"v.blk.0.{name}.bias": rows(EMBEDDING)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        tensors |= {f"v.blk.0.{name}.weight": rows(EMBEDDING, EMBEDDING), f"v.blk.0.{name}.bias": rows(EMBEDDING)}
    tensors |= {"v.blk.0.ffn_up.weight": rows(HIDDEN, EMBEDDING), "v.blk.0.ffn_up.bias": rows(HIDDEN),
                "v.blk.0.ffn_down.weight": rows(EMBEDDING, HIDDEN), "v.blk.0.ffn_down.bias": rows(EMBEDDING)}
    if kind == "janus_pro":
        tensors |= {"mm.0.weight": rows(HIDDEN, EMBEDDING), "mm.0.bias": rows(HIDDEN),
                    "mm.1.weight": rows(width, HIDDEN, strength=0.1), "mm.1.bias": rows(width, strength=0.1)}
    elif kind == "gemma3":
        tensors |= {"mm.input_projection.weight": rows(EMBEDDING, width, strength=0.1),
                    "mm.soft_emb_norm.weight": 1 + rows(EMBEDDING)}
    if kind == "qwen2vl":
        tensors |= {"v.patch_embd.weight.1": rows(EMBEDDING, 3, PATCH, PATCH),
                    "mm.0.weight": rows(HIDDEN, 4 * EMBEDDING), "mm.0.bias": rows(HIDDEN),
                    "mm.2.weight": rows(width, HIDDEN), "mm.2.bias": rows(width)}
    else:
        tensors |= {"v.patch_embd.bias": rows(EMBEDDING), "v.position_embd.weight": rows(patches * patches, EMBEDDING)}
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.use_gelu", True)
    writer.add_string("clip.projector_type", "qwen2vl_merger" if kind == "qwen2vl" else kind)
    for name, value in (("embedding_length", EMBEDDING), ("attention.head_count", HEADS), ("block_count", 1),
                        ("feed_forward_length", HIDDEN), ("projection_dim", width), ("image_size", side),
                        ("patch_size", PATCH), ("projector.scale_factor", 2)):
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def png(seed: int, width: int = 40, height: int = 30) -> bytes:
    """A picture of large spots, another one for each seed."""
    spots = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    pixels = spots[np.arange(height)[:, None] * 4 // height, np.arange(width)[None, :] * 4 // width]
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(raw)),
            (b"IEND", b"")))


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
