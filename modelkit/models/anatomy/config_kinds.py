"""Which kind each layer of a Hugging Face model is, from the many ways in which config.json says it.

Source: how transformers 5.19 fills `layer_types` (`configuration_*.py`), and how vLLM 0.32 reads it (`config/model.py`,
`engine/arg_utils.py`, `model_executor/layers/attention/attention.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelkit.models.anatomy.anatomy import Attention
from modelkit.models.anatomy.config import Config
from modelkit.models.anatomy.config_defaults import NO_CACHE
from modelkit.models.anatomy.said import MOST_LAYERS

Kind = Attention | Literal["both"]
"""`both`: attention beside a recurrent part."""

_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("full_attention", "attention", "full", "global", "indexed_attention", "sparse",
                     "deepseek_sparse_attention", "qwen_sparse_attention", "*", "minimax_m3_sparse"), "full"),
    **dict.fromkeys(("sliding_attention", "sliding", "local", "local_attention", "sliding_window"), "sliding"),
    **dict.fromkeys(("chunked_attention", "chunked"), "chunked"),
    **dict.fromkeys(("linear_attention", "linear", "mamba", "mamba2", "conv", "short_conv", "recurrent", "M"),
                    "recurrent"),
    **dict.fromkeys(("mlp", "moe", "no_op", "none", "-", "E"), "none"),
    "hybrid": "both",
}
_LISTS = ("layer_types", "layers_block_type", "block_types", "hybrid_override_pattern")
_WINDOWS = ("sliding_window", "sliding_window_size", "attention_window_size")
_WITH_SWITCH = ("qwen2", "qwen3", "smollm3")  # families that have a window and use it only where they say so


def window_of(config: Config, most: int) -> int:
    """Tokens of its window; 0 where it has none."""
    if config.model_type.startswith(_WITH_SWITCH) and not config.flag("use_sliding_window", default=False):
        return 0
    return config.number(*_WINDOWS, most=most)


def kinds_of(config: Config, layers: int, window: int) -> tuple[list[Kind], tuple[str, ...]]:
    """The kind of each layer, and what of it is only taken to be so."""
    if (config.model_type in NO_CACHE or not config.flag("is_causal", default=True)
            or config.flag("use_bidirectional_attention", default=False)):
        return ["none"] * layers, ()
    words, notes = _said(config, layers), tuple[str, ...]()
    if words is None:
        kinds = _by_rule(config, layers, window)
    else:
        unknown = sorted({word for word in words if word not in _WORDS})
        if unknown:
            notes = (f"its layers `{'`, `'.join(unknown[:3])}` are taken for full attention: modelkit does not "
                     "know them",)
        kinds = [_WORDS.get(word, "full") for word in words]
        if window and not config.has("layer_types") and not config.has("hybrid_layer_pattern"):
            kinds = ["sliding" if kind == "full" else kind for kind in kinds]  # vLLM: a window that is said is for all
    return ["full" if kind == "sliding" and not window else kind for kind in kinds], notes


def _said(config: Config, layers: int) -> list[str] | None:
    """A word for each layer, where there is a list of them; None where there is none."""
    for key in _LISTS:
        words: Sequence[str] = config.texts(key)
        if words:
            if key == "block_types":  # repeated
                words = [words[number % len(words)] for number in range(layers)]
            if len(words) < layers:
                raise config.refusal(key, f"has {len(words):,} words for {layers:,} layers")
            return list(words[:layers])
    if config.has("attn_type_list"):  # MiniMax-Text-01
        each = config.each("attn_type_list", layers)
        return ["full_attention" if one == 1 else "linear_attention" for one in each]
    if config.has("hybrid_layer_pattern"):  # MiMo-V2
        each = config.each("hybrid_layer_pattern", layers)
        return ["sliding_attention" if one == 1 else "full_attention" for one in each]
    if blocks := config.objects("block_configs"):  # Nemotron-NAS
        return ["no_op" if (inner := one.nested("attention")).flag("no_op", default=False)
                or inner.flag("replace_with_linear", default=False) else "full_attention" for one in blocks[:layers]
                ] + ["full_attention"] * (layers - len(blocks))
    return None


def _by_rule(config: Config, layers: int, window: int) -> list[Kind]:
    numbers = range(layers)
    if (full := _full_layers(config, layers)) is not None:
        return ["full" if number in full else "recurrent" for number in numbers]
    name = config.model_type
    if name.startswith("falcon_h1"):
        return ["both"] * layers
    if name in ("mamba", "mamba2", "falcon_mamba", "granitemoehybrid") or name.startswith("rwkv"):
        return ["recurrent"] * layers
    if name.startswith("llama4"):
        return _llama4(config, layers)
    if name.startswith("minimax") and name in ("minimax", "minimax_text_01"):
        return ["full" if (number + 1) % 2 == 0 else "recurrent" for number in numbers]
    if name.startswith(_WITH_SWITCH):
        first = config.number("max_window_layers", most=MOST_LAYERS)
        return ["sliding" if window and number >= first else "full" for number in numbers]
    if not window:
        return ["full"] * layers
    if every := _every(config):
        return ["full" if (number + 1) % every == 0 else "sliding" for number in numbers]
    return ["sliding"] * layers  # vLLM gives a window that is said to every layer


def _full_layers(config: Config, layers: int) -> set[int] | None:
    """The numbers of the layers with attention, where the others are recurrent; None where that is not said so."""
    for key in ("attn_layer_indices", "full_attn_idxs"):
        if config.has(key):
            return set(config.numbers(key))
    linear = config.nested("linear_attn_config")
    if linear.has("full_attn_layers"):  # Kimi Linear counts from 1
        return {number - 1 for number in linear.numbers("full_attn_layers")}
    if period := config.number("attn_layer_period", most=MOST_LAYERS):
        return set(range(config.number("attn_layer_offset", most=MOST_LAYERS), layers, period))
    if interval := config.number("full_attention_interval", most=MOST_LAYERS):
        return set(range(interval - 1, layers, interval))
    if config.model_type == "plamo2" and (step := config.number("mamba_step", default=2, most=MOST_LAYERS)):
        few = layers <= step // 2
        return {layers - 1} if few else set(range(step // 2, layers, step))
    return None


def _every(config: Config) -> int:
    """Every how many layers one has no window; 0 where nothing says that any has none."""
    pattern = config.text("sliding_window_pattern")
    if pattern.endswith("G") and pattern.count("G") == 1:  # EXAONE: `LLLG`
        return len(pattern)
    return config.number("sliding_window_pattern", "_sliding_window_pattern", "global_attn_every_n_layers",
                         most=MOST_LAYERS)


def _llama4(config: Config, layers: int) -> list[Kind]:
    if not config.number("attention_chunk_size", most=1 << 40):
        return ["full"] * layers
    if config.numbers("no_rope_layers"):
        return ["chunked" if one else "full" for one in config.each("no_rope_layers", layers)]
    every = config.number("no_rope_layer_interval", default=4, most=MOST_LAYERS) or layers + 1
    return ["full" if (number + 1) % every == 0 else "chunked" for number in range(layers)]
