"""Llama, and what llama.cpp loads as one: Mistral, Mixtral, SmolLM, TinyLlama, Yi and many others.

Facts from llama.cpp's conversion/llama.py: rows of Q and K are interleaved inside each head, because llama.cpp turns
neighbours in its rotary embedding where Hugging Face turns the halves of a head. Mistral's sliding window is not in
the file, and llama.cpp does not use one for this architecture: the folder has none either.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelkit.models.convert.families.family import Dimensions, Family, Row
from modelkit.models.convert.families.rope import FREQUENCIES
from modelkit.models.formats.gguf import Header

INTERLEAVED_BLOCK = (
    Row("attn_norm", "input_layernorm", "width"),
    Row("attn_q", "self_attn.q_proj", "query width", heads="heads", bias="optional"),
    Row("attn_k", "self_attn.k_proj", "key width", heads="kv_heads", bias="optional"),
    Row("attn_v", "self_attn.v_proj", "key width", bias="optional"),
    Row("attn_output", "self_attn.o_proj", "width query", bias="optional"),
    Row("ffn_norm", "post_attention_layernorm", "width"),
    Row("ffn_gate", "mlp.gate_proj", "hidden width", bias="optional"),
    Row("ffn_up", "mlp.up_proj", "hidden width", bias="optional"),
    Row("ffn_down", "mlp.down_proj", "width hidden", bias="optional"),
)


def _settings(header: Header, shape: Dimensions) -> dict[str, Any]:
    return {"attention_bias": any(".attn_q.bias" in name for name in header.tensors),
            "mlp_bias": any(".ffn_up.bias" in name for name in header.tensors)}


def _mixtral(header: Header, shape: Dimensions) -> dict[str, Any]:
    return {"num_local_experts": shape.experts, "num_experts_per_tok": shape.experts_used, "sliding_window": None}


_MIXTURE = (
    *(replace(row, bias="none") for row in INTERLEAVED_BLOCK if not row.target.startswith("mlp.")),
    Row("ffn_gate_inp", "block_sparse_moe.gate", "experts width"),
    Row("ffn_gate_exps", "block_sparse_moe.experts.{}.w1", "hidden width", experts=True),
    Row("ffn_up_exps", "block_sparse_moe.experts.{}.w3", "hidden width", experts=True),
    Row("ffn_down_exps", "block_sparse_moe.experts.{}.w2", "width hidden", experts=True),
)

LLAMA = Family("llama", "LlamaForCausalLM", "llama", INTERLEAVED_BLOCK, _settings, unused=frozenset({FREQUENCIES}))
MIXTRAL = Family("llama", "MixtralForCausalLM", "mixtral", _MIXTURE, _mixtral, unused=frozenset({FREQUENCIES}),
                 reads=frozenset({"expert_count"}))
