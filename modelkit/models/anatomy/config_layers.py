"""What each layer of a Hugging Face model keeps of the past, as vLLM decides it from config.json.

Widths are those of the tensors where there is one for keys and one for values: what a file says of them can be left
out or differ from layer to layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelkit.models.anatomy.anatomy import Attention, Layer
from modelkit.models.anatomy.config import Config
from modelkit.models.anatomy.config_kinds import Kind, kinds_of, window_of
from modelkit.models.anatomy.config_states import state_of
from modelkit.models.anatomy.roles import kind_of
from modelkit.models.anatomy.said import MOST_HEADS, MOST_LAYERS, MOST_TOKENS, MOST_WIDTH
from modelkit.models.formats.safetensors_reader import TensorInfo

_LATENT = {"axk1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note", "glm5_next", "glm5_next_text",
           "glm_moe_dsa", "glm4_moe_lite", "kimi_k2", "kimi_linear", "longcat_flash", "pangu_ultra_moe",
           "bailing_hybrid", "hy_v4"}  # vLLM 0.32, transformers_utils/model_arch_config_convertor.py: is_deepseek_mla
_KEYS = re.compile(r"(?!.*(?:vision|visual|audio|encoder))(?:.*\.)?(?:layers|h|blocks)\.([0-9]{1,4})\."
                   r"(?:self_attn|attention|attn|self_attention|mixer)\.(k_proj|v_proj|wk|wv)\."
                   r"(weight|weight_packed|scales)")
_PARTS = ("k_proj.", "v_proj.", ".wk.", ".wv.")
_LAYER = re.compile(r"(?:layers|h|blocks)\.([0-9]{1,4})\.")
_LONGEST = 256  # characters of a name that is looked at


def layers_of(config: Config, tensors: Mapping[str, TensorInfo]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """The layers without those that only draft, and what of them is only taken to be so."""
    count, window = config.layers, window_of(config, MOST_TOKENS)
    kinds, notes = kinds_of(config, count, window)
    heads = _Heads.of(config, _rows(tensors))
    rolling, state = state_of(config) if {"recurrent", "both"} & set(kinds) else (0, 0)
    owners = count - config.number("num_kv_shared_layers", most=MOST_LAYERS)
    chunk = config.number("attention_chunk_size", most=MOST_TOKENS)
    if not (heads.heads and heads.key) and not heads.rows and set(kinds) - {"none", "recurrent"}:
        raise config.refusal("num_attention_heads" if not heads.heads else "hidden_size",
                             "is missing or 0, and its layers attend")
    layers = []
    for number, kind in enumerate(kinds):
        if kind == "recurrent":
            layers.append(Layer("recurrent", state_bytes=rolling + state, conv_bytes=rolling))
            continue
        layer = heads.layer(number, kind, own=number < owners, window=chunk if kind == "chunked" else window)
        if kind == "both":
            layer = Layer(layer.attention, layer.heads, layer.kv_heads, layer.key_width, layer.value_width,
                          layer.window, rolling + state, layer.index_width, rolling)
        layers.append(layer)
    return tuple(layers), notes


def _rows(tensors: Mapping[str, TensorInfo]) -> dict[tuple[int, str], int]:
    """The width of keys (`k`) and of values (`v`) in each layer that has a tensor of its own for them."""
    found, kinds = dict[tuple[int, str], int](), dict[str, re.Match[str] | None]()
    for name, tensor in tensors.items():
        if not any(part in name for part in _PARTS):
            continue
        kind = kind_of(name)
        match = kinds[kind] if kind in kinds else kinds.setdefault(kind, _KEYS.fullmatch(kind[:_LONGEST]))
        if match is None or len(tensor.shape) != 2 or (number := _LAYER.search(name)) is None:
            continue
        _, part, what = match.groups()
        if tensor.dtype == "U8" and tensor.shape[1] == 1:
            continue  # bitsandbytes keeps a matrix as one column
        width = tensor.shape[-1] if what == "scales" else tensor.shape[0]
        if 0 < width <= MOST_WIDTH:
            found[int(number[1]), "k" if "k" in part else "v"] = width
    return found


@dataclass(frozen=True)
class _Heads:
    """The heads of a model, as config.json says them, and the widths that its tensors have."""

    config: Config
    rows: Mapping[tuple[int, str], int]
    heads: int
    kv_heads: int
    key: int
    value: int
    latent: int  # the width of a compressed cache; 0 where it is not compressed
    each: list[int]  # heads by layer, where they differ

    @classmethod
    def of(cls, config: Config, rows: Mapping[tuple[int, str], int]) -> _Heads:
        heads = config.heads
        usual = config.width // heads if heads else 0
        key = config.number("head_dim", "attention_head_dim", "hidden_size_per_head", "kv_channels") or usual
        if config.model_type == "minicpm3":
            key = config.number("qk_nope_head_dim") + config.number("qk_rope_head_dim")
        latent = config.model_type in _LATENT and config.number("kv_lora_rank")
        each = config.each("num_attention_heads_per_layer", config.layers) if config.has(
            "num_attention_heads_per_layer") else []
        return cls(config, rows, heads, _kv_heads(config, heads), key, config.number("v_head_dim") or key,
                   latent + config.number("qk_rope_head_dim") if latent else 0, each)

    def layer(self, number: int, kind: Kind, *, own: bool, window: int) -> Layer:
        heads = self.each[number] if self.each else self.heads
        if kind == "none":
            return Layer("none", heads, self.kv_heads)
        if self.latent:
            return Layer("mla", heads, 1, self.latent * own, 0, index_width=self.config.number("index_head_dim"))
        attention: Attention = "full" if kind == "both" else kind
        key, value, kv_heads = self.key, self.value, self.kv_heads
        if attention == "full" and (wide := self.config.number("global_head_dim")):  # Gemma 4
            key = value = wide
            kv_heads = self.config.number("num_global_key_value_heads", most=MOST_HEADS) or kv_heads
        if attention == "sliding":
            key = self.config.number("swa_head_dim") or key
            value = self.config.number("swa_v_head_dim") or value
            kv_heads = self.config.number("swa_num_key_value_heads", most=MOST_HEADS) or kv_heads
        keys = self.rows.get((number, "k"), kv_heads * key)
        values = self.rows.get((number, "v"), keys if key == value else kv_heads * value)
        kv_heads = keys // key if key and keys % key == 0 else kv_heads
        return Layer(attention, heads, kv_heads, keys * own, values * own,
                     window if attention in ("sliding", "chunked") else 0)


def _kv_heads(config: Config, heads: int) -> int:
    if config.flag("multi_query", default=False) and not config.flag("new_decoder_architecture", default=False):
        return 1  # Falcon, StarCoder
    return config.kv_heads or heads
