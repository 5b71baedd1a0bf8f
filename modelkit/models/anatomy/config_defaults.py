"""What a `config.json` means where it says nothing: the values that transformers 5.19 has for each family.

Files leave out what equals their family's default, and configurations of models that also see are the worst of them:
Gemma 3 4B says neither its heads nor its vocabulary. Source: `transformers/models/*/configuration_*.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GEMMA3 = {"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
           "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
           "sliding_window": 4096, "sliding_window_pattern": 6}
_GEMMA3N = {"vocab_size": 262400, "hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 35,
            "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768,
            "sliding_window": 512, "num_kv_shared_layers": 15, "sliding_window_pattern": 5}
_GEMMA4 = {"vocab_size": 262144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30,
           "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
           "sliding_window": 512, "global_head_dim": 512, "sliding_window_pattern": 6}
_LLAMA4 = {"vocab_size": 202048, "hidden_size": 5120, "intermediate_size": 8192, "num_hidden_layers": 48,
           "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 131072,
           "num_local_experts": 16, "num_experts_per_tok": 1, "attention_chunk_size": 8192,
           "no_rope_layer_interval": 4}
_MISTRAL = {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 131072}
_QWEN_LINEAR = {"num_attention_heads": 16, "head_dim": 256, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
                "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
                "full_attention_interval": 4, "num_hidden_layers": 32}
_LATENT = {"kv_lora_rank": 512, "qk_rope_head_dim": 64}
_MAMBA2 = {"mamba_n_heads": 128, "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2}

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
              "num_attention_heads": 32, "max_position_embeddings": 2048},
    "mistral": _MISTRAL | {"sliding_window": 4096}, "ministral": _MISTRAL | {"sliding_window": 4096},
    "mixtral": _MISTRAL | {"num_local_experts": 8, "num_experts_per_tok": 2},
    "gemma": {"vocab_size": 256000, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256,
              "num_hidden_layers": 28, "max_position_embeddings": 8192},
    "gemma2": {"vocab_size": 256000, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
               "num_hidden_layers": 26, "sliding_window": 4096, "max_position_embeddings": 8192,
               "sliding_window_pattern": 2},
    "gemma3": _GEMMA3, "gemma3_text": _GEMMA3, "gemma3n": _GEMMA3N, "gemma3n_text": _GEMMA3N,
    "gemma4": _GEMMA4, "gemma4_text": _GEMMA4, "gemma4_unified": _GEMMA4, "gemma4_unified_text": _GEMMA4,
    "gpt_oss": {"vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880, "num_hidden_layers": 36,
                "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "sliding_window": 128,
                "num_local_experts": 128, "num_experts_per_tok": 4, "max_position_embeddings": 131072,
                "sliding_window_pattern": 2},
    "llama4": _LLAMA4, "llama4_text": _LLAMA4,
    "qwen2": {"num_attention_heads": 32, "num_hidden_layers": 32, "max_position_embeddings": 32768,
              "sliding_window": 4096, "max_window_layers": 28},
    "qwen2_moe": {"num_experts": 60, "num_experts_per_tok": 4, "sliding_window": 4096, "max_window_layers": 28},
    "qwen3": {"head_dim": 128, "num_attention_heads": 32, "sliding_window": 4096, "max_window_layers": 28},
    "qwen3_moe": {"head_dim": 128, "num_attention_heads": 32, "num_key_value_heads": 4, "num_experts": 128,
                  "num_experts_per_tok": 8},
    "qwen3_next": _QWEN_LINEAR | {"num_key_value_heads": 2, "num_experts": 512, "num_experts_per_tok": 10,
                                  "num_hidden_layers": 48},
    "qwen3_5": _QWEN_LINEAR | {"num_key_value_heads": 4}, "qwen3_5_text": _QWEN_LINEAR | {"num_key_value_heads": 4},
    "qwen3_5_moe": _QWEN_LINEAR | {"num_key_value_heads": 2},
    "qwen3_5_moe_text": _QWEN_LINEAR | {"num_key_value_heads": 2},
    "cohere2": {"sliding_window": 4096, "sliding_window_pattern": 4},
    "cohere2_moe": {"sliding_window": 4096, "sliding_window_pattern": 4, "head_dim": 128},
    "olmo3": {"sliding_window": 4096, "sliding_window_pattern": 4}, "exaone4": {"sliding_window": 4096},
    "afmoe": {"global_attn_every_n_layers": 4}, "exaone_moe": {"sliding_window_pattern": 4},
    "deepseek_v2": _LATENT, "deepseek_v3": _LATENT, "kimi_k2": _LATENT,
    "deepseek_v32": _LATENT | {"index_head_dim": 128}, "glm_moe_dsa": _LATENT | {"index_head_dim": 128},
    "kimi_linear": _LATENT | {"linear_head_dim": 128, "linear_num_heads": 32, "linear_conv_kernel_dim": 4},
    "minicpm3": {"qk_nope_head_dim": 64, "qk_rope_head_dim": 32},
    "jamba": {"num_key_value_heads": 8, "num_experts": 16, "num_experts_per_tok": 2, "attn_layer_period": 8,
              "attn_layer_offset": 4, "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2},
    "bamba": _MAMBA2 | {"num_key_value_heads": 8}, "granitemoehybrid": _MAMBA2,
    "falcon_h1": _MAMBA2 | {"num_key_value_heads": 8, "mamba_d_ssm": 1024},
    "nemotron_h": {"num_key_value_heads": 8, "head_dim": 128, "ssm_state_size": 128, "mamba_num_heads": 128,
                   "mamba_head_dim": 64, "n_groups": 8, "conv_kernel": 4},
    "mamba": {"state_size": 16, "expand": 2, "conv_kernel": 4},
    "falcon_mamba": {"state_size": 16, "expand": 2, "conv_kernel": 4},
    "mamba2": {"state_size": 128, "expand": 2, "conv_kernel": 4, "n_groups": 8},
    "zamba2": {"mamba_d_state": 64, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_ngroups": 1},
    "lfm2": {"conv_L_cache": 3, "num_key_value_heads": 8, "num_attention_heads": 32},
    "lfm2_moe": {"conv_L_cache": 3, "num_key_value_heads": 8, "num_attention_heads": 32},
    "recurrent_gemma": {"num_key_value_heads": 1, "attention_window_size": 2048, "conv1d_width": 4},
    "mimo_v2_flash": {"head_dim": 192, "v_head_dim": 128, "sliding_window": 128},
}

NO_CACHE = {"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "distilbert", "mpnet", "nomic_bert", "modernbert",
            "electra", "deberta", "deberta-v2", "camembert", "albert", "new", "eurobert", "neobert", "ernie",
            "longformer", "xlm", "roformer", "mobilebert", "esm"}
"""Models that read a text at once and keep nothing of it."""
