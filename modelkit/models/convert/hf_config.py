"""`config.json` and `generation_config.json` for a GGUF of the architecture `llama`."""

from __future__ import annotations

from typing import Any

from modelkit.failure import Failure
from modelkit.models.convert.dequantize import Dimensions, dimensions
from modelkit.models.convert.vocabulary import Vocabulary
from modelkit.models.formats.gguf import Header, refuse


def config(header: Header, vocabulary: Vocabulary) -> dict[str, Any]:
    """`config.json`."""
    shape = dimensions(header)
    said: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "vocab_size": len(vocabulary.tokens), "hidden_size": shape.width, "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width, "hidden_act": "silu",
        "max_position_embeddings": context_length(header),
        "rms_norm_eps": shortest(_epsilon(header)),
        "rope_theta": shortest(header.get("llama.rope.freq_base", float, 10000.0)),
        "attention_bias": any(".attn_q.bias" in name for name in header.tensors),
        "mlp_bias": any(".ffn_up.bias" in name for name in header.tensors),
        "tie_word_embeddings": "output.weight" not in header.tensors, "use_cache": True,
    }
    if (scaling := rope_scaling(header, shape)) is not None:
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
    value: float = header.get("llama.attention.layer_norm_rms_epsilon", float, 0.0)
    if not 0.0 < value < 1.0:
        refuse(header.path, "hyperparameter", 0, "`llama.attention.layer_norm_rms_epsilon` is missing or not small")
    return value


def shortest(value: float) -> float:
    """The shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06."""
    import numpy as np

    return float(str(np.float32(value)))


def _token_ids(vocabulary: Vocabulary) -> dict[str, int]:
    roles = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {name: number for name, role in roles.items() if (number := vocabulary.named(role)) is not None}


def rope_scaling(header: Header, shape: Dimensions) -> dict[str, Any] | None:
    """How positions are stretched, None if they are not."""
    kind = header.get("llama.rope.scaling.type", str, "linear")
    factor = shortest(header.get("llama.rope.scaling.factor", float, header.get("llama.rope.scale_linear", float, 0.0)))
    if "rope_freqs.weight" in header.tensors:
        return _llama3(header, shape)
    if factor in (0.0, 1.0) or kind == "none":
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    raise Failure("architecture-not-yet", f"{header.path.name} stretches positions by `{kind}`, which can't be "
                                          f"converted yet", "serve it with `ENGINE llama.cpp`")


def _llama3(header: Header, shape: Dimensions) -> dict[str, Any]:
    """Llama 3.1's rule, recovered from the divisors it leaves in the file and checked against all of them."""
    import numpy as np

    tensor = header.tensors["rope_freqs.weight"]
    with header.path.open("rb") as file:
        file.seek(tensor.offset)
        found = np.frombuffer(file.read(tensor.size), "<f4" if tensor.type.name == "F32" else np.uint8)
    rule = {"rope_type": "llama3", "factor": float(found.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}
    theta = header.get("llama.rope.freq_base", float, 10000.0)
    if found.shape != (shape.head_width // 2,) or not np.allclose(found, _divisors(rule, theta, shape), rtol=1e-3):
        raise Failure("architecture-not-yet", f"{header.path.name} stretches positions by factors of its own, which "
                                              f"can't be converted yet", "serve it with `ENGINE llama.cpp`")
    return rule


def _divisors(rule: dict[str, Any], theta: float, shape: Dimensions) -> Any:
    import numpy as np

    length = 2 * np.pi * theta ** (np.arange(0, shape.head_width, 2) / shape.head_width)
    turns = rule["original_max_position_embeddings"] / length
    low, high, factor = rule["low_freq_factor"], rule["high_freq_factor"], rule["factor"]
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return 1.0 / ((1.0 - smooth) / factor + smooth)
