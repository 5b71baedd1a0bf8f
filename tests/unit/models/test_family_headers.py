"""What headers ask for beyond the common core: in config.json, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.convert import dequantize, hf_config
from modelkit.models.convert.families import FAMILIES, dimensions_of
from modelkit.models.convert.families.header import UNCOMMON
from modelkit.models.convert.vocabulary import read_vocabulary
from modelkit.models.formats.gguf_reader import read_header
from tests.unit.models.small_model import HEAD, HEADS, TOKENS, WIDTH, small_model

SLIDING, FULL = "sliding_attention", "full_attention"


def config(path: Path, **hyperparameters: Any) -> dict[str, Any]:
    header = read_header(small_model(path / "m.gguf", **hyperparameters))
    return hf_config.config(header, read_vocabulary(header))


def refused(path: Path, **hyperparameters: Any) -> Failure:
    with pytest.raises(Failure) as failed:
        config(path, **hyperparameters)
    return failed.value


@pytest.mark.parametrize(("hyperparameters", "expected"), [
    ({"architecture": "gemma2", "block_count": 26}, {
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "sliding_window": 4096,
        "query_pre_attn_scalar": 32, "layer_types": [SLIDING, FULL] * 13}),
    ({"architecture": "gemma2", "block_count": 46}, {"query_pre_attn_scalar": WIDTH // HEADS}),
    ({"architecture": "gemma2", "block_count": 4, "attention__sliding_window_pattern": 4,
      "attention__sliding_window": 9}, {"layer_types": [SLIDING] * 3 + [FULL], "sliding_window": 9}),
    ({"architecture": "gemma2", "block_count": 3, "attention__sliding_window_pattern": [False, True, False]},
     {"layer_types": [FULL, SLIDING, FULL]}),
    ({"architecture": "gemma2", "rope__freq_base_swa": 10000.0}, {"rope_theta": 10000.0}),
    ({"architecture": "gemma3", "block_count": 8, "attention__sliding_window": 16, "rope__freq_base": 1e6}, {
        "layer_types": [SLIDING] * 5 + [FULL] + [SLIDING] * 2, "sliding_window": 16, "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": 32, "final_logit_softcapping": None}),
    ({"architecture": "gemma3", "block_count": 62}, {
        "query_pre_attn_scalar": WIDTH // HEADS, "layer_types": [FULL] * 62}),
    ({"architecture": "gemma3", "final_logit_softcapping": 30.0}, {"final_logit_softcapping": 30.0}),
    ({"architecture": "mistral3"}, {
        "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}),
    ({"architecture": "mistral3", "rope__scaling__type": "yarn", "rope__scaling__factor": 4.0,
      "rope__scaling__yarn_beta_fast": 16.0}, {
        "architectures": ["MistralForCausalLM"], "rope_parameters": {
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 16.0,
            "beta_slow": 1.0, "rope_theta": 10000.0}}),
    ({"architecture": "qwen2", "rope__scaling__type": "yarn", "rope__scaling__factor": 4.0,
      "rope__scaling__original_context_length": 32}, {"rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "beta_fast": 32.0,
        "beta_slow": 1.0}}),
    ({"architecture": "qwen2", "rope__scaling__type": "yarn", "rope__scaling__factor": 4.0,
      "rope__scaling__yarn_attn_factor": 1.1386294}, {"num_hidden_layers": 2}),
    ({"attention__head_count_kv": [2, 2]}, {"num_key_value_heads": 2}),
    ({"expert_count": 4, "expert_used_count": 2}, {
        "architectures": ["MixtralForCausalLM"], "num_local_experts": 4, "num_experts_per_tok": 2}),
    ({"architecture": "qwen3moe", "expert_count": 4, "expert_used_count": 2}, {
        "moe_intermediate_size": 48, "norm_topk_prob": True}),
    ({"attention__sliding_window": 0, "logit_scale": 1.0}, {"model_type": "llama"}),
])
def test_what_the_configuration_says(hyperparameters: dict[str, Any], expected: dict[str, Any],
                                     tmp_path: Path) -> None:
    wide = {"attention__key_length": 32, "attention__value_length": 32, "rope__dimension_count": 32}
    said = config(tmp_path, **(wide if "gemma" in hyperparameters.get("architecture", "") else {}) | hyperparameters)
    assert {key: said.get(key, "missing") for key in expected} == expected


@pytest.mark.parametrize(("hyperparameters", "words"), [
    ({"attention__sliding_window": 64}, "`llama.attention.sliding_window` = 64"),
    ({"architecture": "qwen3", "attn_logit_softcapping": 30.0}, "`qwen3.attn_logit_softcapping` = 30.0"),
    ({"architecture": "gemma3", "attn_logit_softcapping": 30.0}, "`gemma3.attn_logit_softcapping` = 30.0"),
    ({"architecture": "gemma2", "attn_logit_softcapping": 0.0}, "`gemma2.attn_logit_softcapping` = 0.0"),
    ({"architecture": "gemma2", "rope__freq_base_swa": 5000.0}, "a rotary embedding of its own"),
    ({"architecture": "qwen2", "rope__dimension_sections": [16, 24, 24, 0]}, "`qwen2.rope.dimension_sections`"),
    ({"architecture": "qwen2", "rope__scaling__type": "yarn", "rope__scaling__factor": 4.0,
      "rope__scaling__yarn_attn_factor": 1.5}, "rope.scaling.yarn_attn_factor`"),
    ({"architecture": "qwen2", "rope__scaling__type": "yarn", "rope__scaling__factor": 4.0,
      "rope__scaling__yarn_beta_fast": 16.0}, "rope.scaling.yarn_beta_fast`"),
    ({"rope__scaling__attn_factor": 2.0}, "`llama.rope.scaling.attn_factor` = 2.0"),
    ({"rope__scaling__yarn_log_multiplier": 1.0}, "yarn_log_multiplier"),
    ({"architecture": "mistral3", "attention__temperature_scale": 0.5}, "without YaRN"),
    ({"architecture": "gemma3", "attention__key_length_swa": 32}, "another width in sliding windows"),
    ({"architecture": "gemma2", "rope__scaling__type": "longrope", "rope__scaling__factor": 4.0}, "by `longrope`"),
    ({"feed_forward_length": [96, 128]}, "another `llama.feed_forward_length` in each layer"),
    ({"architecture": "qwen3moe", "expert_count": 4, "expert_used_count": 2, "expert_gating_func": 2},
     "`qwen3moe.expert_gating_func` = 2"),
    ({"nextn_predict_layers": 1}, "`llama.nextn_predict_layers` = 1"),
])
def test_what_is_not_carried_over_is_refused(hyperparameters: dict[str, Any], words: str, tmp_path: Path) -> None:
    failure = refused(tmp_path, **hyperparameters)
    assert failure.code == "architecture-not-yet"
    assert words in failure.message
    assert failure.data["supported"] == list(FAMILIES)


@pytest.mark.parametrize(("hyperparameters", "words"), [
    ({"architecture": "qwen3moe", "expert_count": 4}, "`qwen3moe.expert_used_count` is missing"),
    ({"architecture": "qwen3moe", "expert_count": 4, "expert_used_count": 5}, "5 of 4 experts"),
    ({"architecture": "qwen3moe", "expert_count": 1025, "expert_used_count": 5}, "5 of 1,025 experts"),
    ({"architecture": "gemma2", "block_count": 1 << 30}, "1,073,741,824 layers"),
    ({"architecture": "gemma2", "block_count": 4, "attention__sliding_window_pattern": [True, False]},
     "speaks of 2 layers"),
    ({"architecture": "gemma3", "attention__sliding_window": 1 << 31}, "`gemma3.attention.sliding_window` is 21474"),
    ({"architecture": "gemma", "attention__layer_norm_rms_epsilon": 0.0}, "`gemma.attention.layer_norm_rms_epsilon`"),
])
def test_what_makes_no_sense_is_invalid(hyperparameters: dict[str, Any], words: str, tmp_path: Path) -> None:
    failure = refused(tmp_path, **hyperparameters)
    assert failure.code == "gguf-invalid"
    assert words in failure.message


@pytest.mark.parametrize("architecture", sorted(FAMILIES))
@pytest.mark.parametrize("key", sorted(UNCOMMON))
def test_nothing_uncommon_goes_unnoticed(key: str, architecture: str, tmp_path: Path) -> None:
    """A family carries it over or refuses it."""
    value = False if key == "attention.causal" else 7
    if key not in FAMILIES[architecture].reads and (key, architecture) != ("expert_count", "llama"):
        assert refused(tmp_path, architecture=architecture, **{key: value}).code == "architecture-not-yet"


@pytest.mark.parametrize(("architecture", "more", "words"), [
    ("qwen2", {}, "no bias `blk.0.attn_k.bias`"),
    ("qwen3", {"blk__0__attn_q__bias": (64,)}, "the tensor `blk.0.attn_q.bias`"),
    ("gemma", {"output__weight": (TOKENS, WIDTH)}, "the tensor `output.weight`"),
    ("qwen2", {"rope_freqs__weight": (HEAD // 2,)}, "the tensor `rope_freqs.weight`"),
])
def test_tensors_that_a_family_does_not_have(architecture: str, more: dict[str, tuple[int, ...]], words: str,
                                             tmp_path: Path) -> None:
    header = read_header(small_model(tmp_path / "m.gguf", architecture=architecture, more=more))
    with pytest.raises(Failure) as failed:
        dequantize.parts(header, dimensions_of(header), TOKENS)
    assert failed.value.code == "architecture-not-yet"
    assert words in failed.value.message
