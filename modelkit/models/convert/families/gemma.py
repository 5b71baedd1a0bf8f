"""Gemma 1, 2 and 3 (text).

Facts from llama.cpp's conversion/gemma.py and src/models/gemma*.cpp: every norm's weight is stored one greater than
Hugging Face has it; the embedding is scaled in code; the output is the embedding, which only Gemma 3 may have apart.
Some numbers are not in the file, and llama.cpp knows them by the count of layers: they are the same here.
"""

from __future__ import annotations

from typing import Any

from modelkit.models.convert.families.family import EMBEDDING, NORM, OUTPUT, Dimensions, Family, Row
from modelkit.models.convert.families.header import not_yet, number, sliding_layers, whole
from modelkit.models.formats.gguf import Header


def _norm(source: str, target: str, axes: str = "width") -> Row:
    return Row(source, target, axes, shift=1.0)


_FIRST = _norm("attn_norm", "input_layernorm")
_ATTENTION = (
    Row("attn_q", "self_attn.q_proj", "query width"),
    Row("attn_k", "self_attn.k_proj", "key width"),
    Row("attn_v", "self_attn.v_proj", "key width"),
    Row("attn_output", "self_attn.o_proj", "width query"),
)
_FEED_FORWARD = (
    Row("ffn_gate", "mlp.gate_proj", "hidden width"),
    Row("ffn_up", "mlp.up_proj", "hidden width"),
    Row("ffn_down", "mlp.down_proj", "width hidden"),
)
_FOUR_NORMS = (  # Gemma 2 and 3 also normalize what attention and feed-forward give
    _norm("post_attention_norm", "post_attention_layernorm"),
    _norm("ffn_norm", "pre_feedforward_layernorm"),
    _norm("post_ffw_norm", "post_feedforward_layernorm"),
)
_HEAD_NORMS = (
    _norm("attn_q_norm", "self_attn.q_norm", "head_width"),
    _norm("attn_k_norm", "self_attn.k_norm", "head_width"),
)
_LAST = _norm(NORM.source, NORM.target)
_TANH = "gelu_pytorch_tanh"


def _gemma(header: Header, shape: Dimensions) -> dict[str, Any]:
    return {"hidden_activation": _TANH, "attention_bias": False}


def _scalar(shape: Dimensions, layers_of_27b: int) -> int:
    """Queries are divided by the root of this: the heads' width, but for the models of 27 billion parameters."""
    return shape.width // shape.heads if shape.layers == layers_of_27b else shape.head_width


def _layer_types(sliding: list[bool]) -> list[str]:
    return ["sliding_attention" if one else "full_attention" for one in sliding]


def _gemma2(header: Header, shape: Dimensions) -> dict[str, Any]:
    theta = number(header, "rope.freq_base", 10000.0)
    if number(header, "rope.freq_base_swa", theta) != theta:
        raise not_yet(header, "a rotary embedding of its own in sliding windows")
    capped = {"attn_logit_softcapping": number(header, "attn_logit_softcapping", 50.0),
              "final_logit_softcapping": number(header, "final_logit_softcapping", 30.0)}
    if none := [key for key, value in capped.items() if value <= 0.0]:
        raise not_yet(header, f"`gemma2.{none[0]}` = {capped[none[0]]}")
    return _gemma(header, shape) | capped | {
        "query_pre_attn_scalar": _scalar(shape, 46),
        "sliding_window": whole(header, "attention.sliding_window", 4096),
        "layer_types": _layer_types(sliding_layers(header, shape.layers, 2))}


def _gemma3(header: Header, shape: Dimensions) -> dict[str, Any]:
    key = f"{header.architecture}.attention.sliding_window"
    window: int = header.get(key, int, 0)
    sliding = sliding_layers(header, shape.layers, 6) if window else [False] * shape.layers
    return _gemma(header, shape) | {
        "query_pre_attn_scalar": _scalar(shape, 62), "attn_logit_softcapping": None,
        "final_logit_softcapping": number(header, "final_logit_softcapping", 0.0) or None,
        "rope_local_base_freq": number(header, "rope.freq_base_swa", 10000.0),
        "sliding_window": whole(header, "attention.sliding_window") if window else whole(header, "context_length"),
        "layer_types": _layer_types(sliding)}


GEMMA = Family(
    "gemma", "GemmaForCausalLM", "gemma",
    (_FIRST, *_ATTENTION, _norm("ffn_norm", "post_attention_layernorm"), *_FEED_FORWARD),
    _gemma, (EMBEDDING,), (_LAST,), _TANH)
GEMMA2 = Family(
    "gemma2", "Gemma2ForCausalLM", "gemma2", (_FIRST, *_ATTENTION, *_FOUR_NORMS, *_FEED_FORWARD),
    _gemma2, (EMBEDDING,), (_LAST,), _TANH,
    reads=frozenset({"attention.sliding_window", "attention.sliding_window_pattern", "attn_logit_softcapping",
                     "final_logit_softcapping", "rope.freq_base_swa"}))
GEMMA3 = Family(
    "gemma3", "Gemma3ForCausalLM", "gemma3_text", (_FIRST, *_ATTENTION, *_HEAD_NORMS, *_FOUR_NORMS, *_FEED_FORWARD),
    _gemma3, (EMBEDDING,), (_LAST, OUTPUT), _TANH,
    reads=frozenset({"attention.sliding_window", "attention.sliding_window_pattern", "final_logit_softcapping",
                     "rope.freq_base_swa"}))
