"""Qwen 2 and 3. Their Q and K rows keep their order: llama.cpp turns the halves of a head for them, too.

Facts from llama.cpp's conversion/qwen.py and src/models/qwen2.cpp, qwen3.cpp: Qwen 2 has biases on Q, K and V and
nowhere else, Qwen 3 has none and normalizes the heads of Q and K instead.
"""

from __future__ import annotations

from typing import Any

from modelkit.models.convert.families.family import Dimensions, Family, Row
from modelkit.models.formats.gguf import Header

FEED_FORWARD = (
    Row("ffn_norm", "post_attention_layernorm", "width"),
    Row("ffn_gate", "mlp.gate_proj", "hidden width"),
    Row("ffn_up", "mlp.up_proj", "hidden width"),
    Row("ffn_down", "mlp.down_proj", "width hidden"),
)
BIASED_ATTENTION = (
    Row("attn_norm", "input_layernorm", "width"),
    Row("attn_q", "self_attn.q_proj", "query width", bias="always"),
    Row("attn_k", "self_attn.k_proj", "key width", bias="always"),
    Row("attn_v", "self_attn.v_proj", "key width", bias="always"),
    Row("attn_output", "self_attn.o_proj", "width query"),
)
NORMED_ATTENTION = (
    Row("attn_norm", "input_layernorm", "width"),
    Row("attn_q", "self_attn.q_proj", "query width"),
    Row("attn_q_norm", "self_attn.q_norm", "head_width"),
    Row("attn_k", "self_attn.k_proj", "key width"),
    Row("attn_k_norm", "self_attn.k_norm", "head_width"),
    Row("attn_v", "self_attn.v_proj", "key width"),
    Row("attn_output", "self_attn.o_proj", "width query"),
)


def _qwen2(header: Header, shape: Dimensions) -> dict[str, Any]:
    return {"use_sliding_window": False}


def _qwen3(header: Header, shape: Dimensions) -> dict[str, Any]:
    return {"attention_bias": False, "use_sliding_window": False}


QWEN2 = Family("qwen2", "Qwen2ForCausalLM", "qwen2", BIASED_ATTENTION + FEED_FORWARD, _qwen2)
QWEN3 = Family("qwen3", "Qwen3ForCausalLM", "qwen3", NORMED_ATTENTION + FEED_FORWARD, _qwen3)
