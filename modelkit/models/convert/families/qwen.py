"""Qwen 2 and 3, dense and with experts. Their Q and K rows keep their order: llama.cpp turns the halves of a head, too.

Facts from llama.cpp's conversion/qwen.py and src/models/qwen{2,2moe,3,3moe}.cpp: Qwen 2 has biases on Q, K and V and
nowhere else, Qwen 3 has none and normalizes the heads of Q and K instead. Every layer has experts or none has; the
weights of those chosen sum to one in Qwen 3 only, and Qwen 2 has one more that every token sees.
"""

from __future__ import annotations

from typing import Any

from modelkit.models.convert.families.family import Dimensions, Family, Row
from modelkit.models.formats.gguf import Header

_FEED_FORWARD = (
    Row("ffn_norm", "post_attention_layernorm", "width"),
    Row("ffn_gate", "mlp.gate_proj", "hidden width"),
    Row("ffn_up", "mlp.up_proj", "hidden width"),
    Row("ffn_down", "mlp.down_proj", "width hidden"),
)
_EXPERTS = (
    Row("ffn_norm", "post_attention_layernorm", "width"),
    Row("ffn_gate_inp", "mlp.gate", "experts width"),
    Row("ffn_gate_exps", "mlp.experts.{}.gate_proj", "expert_hidden width", experts=True),
    Row("ffn_up_exps", "mlp.experts.{}.up_proj", "expert_hidden width", experts=True),
    Row("ffn_down_exps", "mlp.experts.{}.down_proj", "width expert_hidden", experts=True),
)
_SHARED_EXPERT = (
    Row("ffn_gate_inp_shexp", "mlp.shared_expert_gate", "one width"),
    Row("ffn_gate_shexp", "mlp.shared_expert.gate_proj", "shared_hidden width"),
    Row("ffn_up_shexp", "mlp.shared_expert.up_proj", "shared_hidden width"),
    Row("ffn_down_shexp", "mlp.shared_expert.down_proj", "width shared_hidden"),
)
_BIASED_ATTENTION = (
    Row("attn_norm", "input_layernorm", "width"),
    Row("attn_q", "self_attn.q_proj", "query width", bias="always"),
    Row("attn_k", "self_attn.k_proj", "key width", bias="always"),
    Row("attn_v", "self_attn.v_proj", "key width", bias="always"),
    Row("attn_output", "self_attn.o_proj", "width query"),
)
_NORMED_ATTENTION = (
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


def _experts(header: Header, shape: Dimensions) -> dict[str, Any]:
    return {"num_experts": shape.experts, "num_experts_per_tok": shape.experts_used,
            "moe_intermediate_size": shape.expert_hidden, "decoder_sparse_step": 1, "mlp_only_layers": []}


def _qwen2moe(header: Header, shape: Dimensions) -> dict[str, Any]:
    return _qwen2(header, shape) | _experts(header, shape) | {
        "shared_expert_intermediate_size": shape.shared_hidden, "norm_topk_prob": False}


def _qwen3moe(header: Header, shape: Dimensions) -> dict[str, Any]:
    return _qwen3(header, shape) | _experts(header, shape) | {"norm_topk_prob": True}


QWEN2 = Family("qwen2", "Qwen2ForCausalLM", "qwen2", _BIASED_ATTENTION + _FEED_FORWARD, _qwen2)
QWEN2MOE = Family("qwen2moe", "Qwen2MoeForCausalLM", "qwen2_moe", _BIASED_ATTENTION + _EXPERTS + _SHARED_EXPERT,
                  _qwen2moe, reads=frozenset({"expert_count", "expert_shared_count"}))
QWEN3 = Family("qwen3", "Qwen3ForCausalLM", "qwen3", _NORMED_ATTENTION + _FEED_FORWARD, _qwen3)
QWEN3MOE = Family("qwen3moe", "Qwen3MoeForCausalLM", "qwen3_moe", _NORMED_ATTENTION + _EXPERTS, _qwen3moe,
                  reads=frozenset({"expert_count"}))
