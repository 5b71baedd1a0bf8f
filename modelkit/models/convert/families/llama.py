"""Llama, and what llama.cpp loads as one: Mistral, SmolLM, TinyLlama, Yi and many others.

Facts from llama.cpp's conversion/llama.py: rows of Q and K are interleaved inside each head, because llama.cpp turns
neighbours in its rotary embedding where Hugging Face turns the halves of a head. Mistral's sliding window is not in
the file, and llama.cpp does not use one for this architecture: the folder has none either.
"""

from __future__ import annotations

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


LLAMA = Family("llama", "LlamaForCausalLM", "llama", INTERLEAVED_BLOCK, _settings, unused=frozenset({FREQUENCIES}))
