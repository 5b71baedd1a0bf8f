"""Hugging Face folders of which the weights are holes, made of an anatomy: small models that have every part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelkit.models.anatomy import Anatomy, anatomy_of_folder
from modelkit.models.formats.checkpoint import local_files

CONFIG: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "hidden_size": 256,
    "intermediate_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 4096, "torch_dtype": "bfloat16", "tie_word_embeddings": False}


def llama_tensors(config: dict[str, Any] = CONFIG, dtype: str = "BF16") -> dict[str, tuple[str, tuple[int, ...]]]:
    width, inner, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    key = width // config["num_attention_heads"] * config["num_key_value_heads"]
    block = {"self_attn.q_proj": (width, width), "self_attn.k_proj": (key, width), "self_attn.v_proj": (key, width),
             "self_attn.o_proj": (width, width), "mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width),
             "mlp.down_proj": (width, inner), "input_layernorm": (width,), "post_attention_layernorm": (width,)}
    tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, width),
                                           "model.norm.weight": (width,), "lm_head.weight": (vocabulary, width)}
    tensors |= {f"model.layers.{at}.{name}.weight": shape for at in range(config["num_hidden_layers"])
                for name, shape in block.items()}
    return {name: (dtype, shape) for name, shape in tensors.items()}


def safetensors(tensors: dict[str, tuple[str, tuple[int, ...]]], sizes: dict[str, int]) -> bytes:
    """A file whose numbers are all zero."""
    header, at = {}, 0
    for name, (dtype, shape) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + sizes[name]]}
        at += sizes[name]
    raw = json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + bytes(at)


def files_of(anatomy: Anatomy, config: dict[str, Any], quantization: dict[str, Any] | None = None) -> dict[str, bytes]:
    """A folder that has the tensors of an anatomy."""
    said = config | ({"quantization_config": quantization} if quantization else {})
    return {"config.json": json.dumps(said).encode(), "tokenizer.json": b"{}", "tokenizer_config.json": b"{}",
            "model.safetensors": safetensors({one.name: (one.type, one.shape) for one in anatomy.weights},
                                             {one.name: one.size for one in anatomy.weights})}


def plain_files(config: dict[str, Any] = CONFIG) -> dict[str, bytes]:
    tensors = llama_tensors(config)
    sizes = {name: 2 * _count(shape) for name, (_, shape) in tensors.items()}
    return {"config.json": json.dumps(config).encode(), "tokenizer.json": b"{}", "tokenizer_config.json": b"{}",
            "model.safetensors": safetensors(tensors, sizes)}


def anatomy_in(folder: Path, files: dict[str, bytes]) -> Anatomy:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return anatomy_of_folder(local_files(folder))


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for one in shape:
        count *= one
    return count
