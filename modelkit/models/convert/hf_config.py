"""`config.json` and `generation_config.json` of a GGUF's Hugging Face folder."""

from __future__ import annotations

from typing import Any

from modelkit.models.convert.families import dimensions_of, family_of
from modelkit.models.convert.families.header import number, shortest
from modelkit.models.convert.families.rope import rope_scaling
from modelkit.models.convert.vocabulary import Vocabulary
from modelkit.models.formats.gguf import Header, refuse


def config(header: Header, vocabulary: Vocabulary) -> dict[str, Any]:
    """`config.json`."""
    family, shape = family_of(header), dimensions_of(header)
    said: dict[str, Any] = {
        "architectures": [family.model], "model_type": family.model_type, "torch_dtype": "bfloat16",
        "vocab_size": len(vocabulary.tokens), "hidden_size": shape.width, "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width, "hidden_act": family.activation,
        "max_position_embeddings": context_length(header),
        "rms_norm_eps": shortest(_epsilon(header)), "rope_theta": number(header, "rope.freq_base", 10000.0),
        **family.settings(header, shape),
        "tie_word_embeddings": "output.weight" not in header.tensors, "use_cache": True,
    }
    if "rope_parameters" not in said and (scaling := rope_scaling(header, shape)) is not None:
        said["rope_scaling"] = scaling
    return said | _token_ids(vocabulary)


def generation_config(vocabulary: Vocabulary) -> dict[str, Any]:
    """`generation_config.json`: which tokens end an answer, and no sampling of its own."""
    ids = _token_ids(vocabulary)
    return ids | ({"eos_token_id": list(vocabulary.ends)} if vocabulary.ends else {})


def context_length(header: Header) -> int:
    value: int = header.get(f"{header.architecture}.context_length", int, 2048)
    if not 1 <= value < 1 << 31:
        refuse(header.path, "hyperparameter", 0, f"`{header.architecture}.context_length` is {value}")
    return value


def _epsilon(header: Header) -> float:
    key = f"{header.architecture}.attention.layer_norm_rms_epsilon"
    value: float = header.get(key, float, 0.0)
    if not 0.0 < value < 1.0:
        refuse(header.path, "hyperparameter", 0, f"`{key}` is missing or not small")
    return value


def _token_ids(vocabulary: Vocabulary) -> dict[str, int]:
    roles = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {name: number for name, role in roles.items() if (number := vocabulary.named(role)) is not None}
