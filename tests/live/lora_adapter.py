"""A small random LoRA adapter for SmolLM2-135M, in PEFT's form: strong enough that nobody takes it for the base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from modelkit.models.formats.safetensors_writer import SafetensorsWriter

LAYERS, WIDTH, KEY_WIDTH = 30, 576, 192


def random_adapter(folder: Path, seed: int, *, rank: int = 8, strength: float = 0.07, alpha: int = 16) -> Path:
    """The folder, with an adapter of the queries and values of every layer."""
    source, tensors = np.random.default_rng(seed), {}
    for layer in range(LAYERS):
        for name, rows in (("q_proj", WIDTH), ("v_proj", KEY_WIDTH)):
            module = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{module}.lora_A.weight"] = source.normal(0, strength, (rank, WIDTH)).astype("<f4")
            tensors[f"{module}.lora_B.weight"] = source.normal(0, strength, (rows, rank)).astype("<f4")
    folder.mkdir(parents=True)
    with SafetensorsWriter(folder / "adapter_model.safetensors",
                           {name: ("F32", rows.shape) for name, rows in tensors.items()}) as out:
        for rows in tensors.values():
            out.write(rows.tobytes())
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha, "bias": "none",
        "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"}))
    return folder
