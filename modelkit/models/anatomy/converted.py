"""What llama.cpp keeps of the past for a model that comes as a Hugging Face folder and is converted for it."""

from __future__ import annotations

from dataclasses import replace

from modelkit.models.anatomy.anatomy import Anatomy, Layer

_WINDOWED = ("gemma2", "gemma3", "gemma4", "cohere2", "gpt_oss", "llama4", "exaone4", "exaone_moe", "olmo3", "afmoe",
             "mimo_v2", "smallthinker", "plamo3", "granite_swa", "step3p5", "lfm2", "laguna", "mellum", "dots3")
"""`model_type`s, by how they begin, whose windows llama.cpp has, too (`header_layers.WINDOWED`, as GGUF names them)."""


def layers_as_gguf(anatomy: Anatomy) -> tuple[Layer, ...]:
    """Its layers as llama.cpp has them: of most families with a window it keeps everything (Mistral 0.1, Phi-3)."""
    if anatomy.form == "gguf" or anatomy.architecture.startswith(_WINDOWED):
        return anatomy.layers
    return tuple(replace(layer, attention="full", window=0) if layer.window else layer for layer in anatomy.layers)
