"""What config.json says in other ways: families that the converter's fixtures do not have, quantized checkpoints."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from modelkit.models.anatomy import Anatomy, Layer, anatomy_of_folder, anatomy_of_header
from modelkit.models.anatomy.converted import layers_as_gguf
from tests.unit.models.anatomies import folder_of, header_of

WIDTH = 64
BASE: dict[str, Any] = {"hidden_size": WIDTH, "num_hidden_layers": 8, "num_attention_heads": 4,
                        "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 320}
NORM: dict[str, tuple[str, list[int]]] = {"model.norm.weight": ("BF16", [WIDTH]),
                                          "lm_head.weight": ("BF16", [320, WIDTH])}


def anatomy(config: dict[str, Any], tensors: dict[str, tuple[str, list[int]]] | None = None) -> Anatomy:
    return anatomy_of_folder(folder_of(BASE | config, NORM | (tensors or {})))


def kinds(found: Anatomy) -> str:
    """A letter for each layer: Full, Sliding, Chunked, Mla, Recurrent, None."""
    return "".join(layer.attention[0].upper() for layer in found.layers)


@pytest.mark.parametrize(("config", "expected"), [
    ({"model_type": "mistral"}, "SSSSSSSS"),  # the family's own window, where the file does not say null
    ({"model_type": "mistral", "sliding_window": None}, "FFFFFFFF"),
    ({"model_type": "phi3", "sliding_window": 2047}, "SSSSSSSS"),
    ({"model_type": "qwen2", "sliding_window": 32768, "max_window_layers": 6}, "FFFFFFFF"),
    ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 64, "max_window_layers": 6}, "FFFFFFSS"),
    ({"model_type": "gemma2"}, "SFSFSFSF"), ({"model_type": "gemma3_text"}, "SSSSSFSS"),
    ({"model_type": "gemma3", "text_config": BASE | {"model_type": "gemma3_text", "sliding_window": 16}}, "SSSSSFSS"),
    ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, "NNNNNNNN"),
    ({"model_type": "gpt_oss"}, "SFSFSFSF"), ({"model_type": "cohere2"}, "SSSFSSSF"),
    ({"model_type": "exaone4", "sliding_window_pattern": "LLLG"}, "SSSFSSSF"),
    ({"model_type": "exaone4", "sliding_window": None}, "FFFFFFFF"),
    ({"model_type": "llama4_text"}, "CCCFCCCF"),
    ({"model_type": "llama4_text", "no_rope_layers": [1, 0] * 4}, "CFCFCFCF"),
    ({"model_type": "llama4_text", "attention_chunk_size": None}, "FFFFFFFF"),
    ({"model_type": "mimo_v2_flash", "hybrid_layer_pattern": [0, 1, 1, 1, 1, 0, 1, 1]}, "FSSSSFSS"),
    ({"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*-M-*"}, "RNRFNRNF"),
    ({"model_type": "nemotron_h", "layers_block_type": ["mamba", "moe", "attention", "mlp"] * 2}, "RNFNRNFN"),
    ({"model_type": "jamba"}, "RRRRFRRR"), ({"model_type": "qwen3_next"}, "RRRFRRRF"),
    ({"model_type": "bamba", "attn_layer_indices": [1, 7]}, "RFRRRRRF"),
    ({"model_type": "lfm2", "full_attn_idxs": [2, 5]}, "RRFRRFRR"),
    ({"model_type": "kimi_linear", "linear_attn_config": {"full_attn_layers": [4, 8], "kda_layers": [1, 2, 3, 5]}},
     "RRRMRRRM"),
    ({"model_type": "minimax_text_01", "attn_type_list": [0, 0, 0, 0, 0, 0, 0, 1]}, "RRRRRRRF"),
    ({"model_type": "nemotron-nas", "block_configs": [{"attention": {"no_op": True}}, *[{"attention": {}}] * 7]},
     "NFFFFFFF"),
    ({"model_type": "recurrent_gemma", "block_types": ["recurrent", "recurrent", "attention"]}, "RRSRRSRR"),
    ({"model_type": "mamba2"}, "RRRRRRRR"), ({"model_type": "rwkv7"}, "RRRRRRRR"),
    ({"model_type": "xlm-roberta"}, "NNNNNNNN"), ({"model_type": "qwen2", "is_causal": False}, "NNNNNNNN"),
    ({"model_type": "deepseek_v3"}, "MMMMMMMM"), ({"model_type": "falcon_h1"}, "FFFFFFFF"),
    ({"model_type": "somebodys-new-one"}, "FFFFFFFF"),
])
def test_kinds_of_layers(config: dict[str, Any], expected: str) -> None:
    assert kinds(anatomy(config)) == expected


@pytest.mark.parametrize(("config", "layer"), [
    ({"model_type": "deepseek_v32", "kv_lora_rank": 512, "qk_rope_head_dim": 64},
     Layer("mla", 4, 1, 576, 0, index_width=128)),
    ({"model_type": "minicpm3", "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64,
      "num_key_value_heads": 4}, Layer("full", 4, 4, 384, 256)),
    ({"model_type": "falcon", "multi_query": True}, Layer("full", 4, 1, 16, 16)),
    ({"model_type": "falcon_h1", "mamba_d_ssm": 128, "mamba_d_state": 16},
     Layer("full", 4, 2, 32, 32, state_bytes=4 * (3 * (128 + 32) + 16 * 128), conv_bytes=4 * 3 * 160)),
    ({"model_type": "rwkv7", "head_dim": 16}, Layer("recurrent", state_bytes=4 * (2 * 64 + 64 * 16),
                                                    conv_bytes=4 * 2 * 64)),
    ({"model_type": "kimi_linear", "linear_attn_config": {"full_attn_layers": [8], "num_heads": 4, "head_dim": 16,
                                                          "short_conv_kernel_size": 4}},
     Layer("recurrent", state_bytes=4 * (3 * 3 * 64 + 16 * 16 * 4), conv_bytes=4 * 576)),
])
def test_the_first_layer(config: dict[str, Any], layer: Layer) -> None:
    assert anatomy(config).layers[0] == layer


def test_a_model_that_sees_is_read_through_its_language_model() -> None:
    """Gemma 3 4B as it is published: neither heads nor vocabulary are said, and the pictures' part is as deep."""
    found = anatomy_of_folder(folder_of({"model_type": "gemma3", "vision_config": {"num_hidden_layers": 27},
                                         "text_config": {"model_type": "gemma3_text", "hidden_size": 2560,
                                                         "intermediate_size": 10240, "num_hidden_layers": 34,
                                                         "sliding_window": 1024}},
                                        {"language_model.model.norm.weight": ("BF16", [2560]),
                                         "vision_tower.vision_model.encoder.layers.0.self_attn.k_proj.weight": (
                                             "BF16", [1152, 1152]),
                                         "multi_modal_projector.mm_input_projection_weight": ("BF16", [1152, 2560])}))
    assert Counter(layer.attention for layer in found.layers) == {"sliding": 29, "full": 5}
    assert found.layers[0] == Layer("sliding", 8, 4, 1024, 1024, 1024)
    assert (found.vocabulary, found.heads, found.context_length, found.tied) == (262208, 8, 131072, True)
    assert [one.role for one in found.weights] == ["norm", "vision", "vision"]


def test_widths_are_those_of_the_tensors() -> None:
    """Files of OpenELM's kind say one number of heads and have others."""
    found = anatomy({"model_type": "llama", "head_dim": 16}, {
        "model.layers.0.self_attn.k_proj.weight": ("BF16", [16, WIDTH]),
        "model.layers.0.self_attn.v_proj.weight": ("BF16", [16, WIDTH]),
        "model.layers.1.self_attn.k_proj.qweight": ("I32", [8, 48]),  # GPTQ: its scales say how wide
        "model.layers.1.self_attn.k_proj.scales": ("F16", [1, 48])})
    assert [(layer.kv_heads, layer.key_width) for layer in found.layers[:3]] == [(1, 16), (3, 48), (2, 32)]


LINEAR = "model.layers.0.mlp.up_proj"


@pytest.mark.parametrize(("quantization", "tensors"), [
    ({"quant_method": "awq", "bits": 4, "group_size": 32}, {
        "qweight": ("I32", [64, 16]), "qzeros": ("I32", [2, 16]), "scales": ("F16", [2, 128])}),
    ({"quant_method": "gptq", "bits": 4}, {
        "qweight": ("I32", [8, 128]), "qzeros": ("I32", [2, 16]), "scales": ("F16", [2, 128]), "g_idx": ("I32", [64])}),
    ({"quant_method": "gptq", "bits": 8}, {"qweight": ("I32", [16, 128]), "scales": ("F16", [2, 128])}),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}, {
        "weight_packed": ("I32", [128, 8]), "weight_scale": ("BF16", [128, 2]), "weight_shape": ("I64", [2])}),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}, {
        "weight": ("I8", [128, 64]), "weight_scale": ("BF16", [128, 1])}),
    ({"quant_method": "fp8", "weight_block_size": [32, 32]}, {
        "weight": ("F8_E4M3", [128, 64]), "weight_scale_inv": ("F32", [4, 2])}),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, {
        "weight": ("U8", [128, 32]), "weight_scale": ("F8_E4M3", [128, 4]), "weight_scale_2": ("F32", []),
        "input_scale": ("F32", [])}),
    ({"quant_method": "mxfp4"}, {"blocks": ("U8", [128, 2, 16]), "scales": ("U8", [128, 2])}),
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, {
        "weight": ("U8", [4096, 1]), "weight.absmax": ("U8", [128]), "weight.quant_map": ("F32", [16]),
        "weight.quant_state.bitsandbytes__nf4": ("U8", [80])}),
], ids=["awq", "gptq", "gptq-8", "w4a16", "w8a8", "fp8", "nvfp4", "mxfp4", "bitsandbytes"])
def test_parameters_are_counted_unpacked(quantization: dict[str, Any],
                                         tensors: dict[str, tuple[str, list[int]]]) -> None:
    found = anatomy({"model_type": "llama", "quantization_config": quantization}, {
        f"{LINEAR}{'_' if name in ('blocks',) else '.'}{name}": one for name, one in tensors.items()})
    assert found.parameters == 128 * 64 + 320 * 64 + 64
    assert found.quantization == quantization["quant_method"]
    assert sum(one.size for one in found.weights) < 2 * found.parameters
    assert {one.role for one in found.weights if one.layer == 0} == {"mlp"}


def test_a_copy_of_the_embedding_is_not_loaded() -> None:
    tensors = {"model.embed_tokens.weight": ("BF16", [320, WIDTH])}
    tied, apart = (anatomy({"model_type": "llama", "tie_word_embeddings": said}, tensors) for said in (True, False))
    assert (tied.bytes_of("output"), apart.bytes_of("output")) == (0, 2 * 320 * WIDTH)
    assert apart.parameters - tied.parameters == 320 * WIDTH and tied.file_size == apart.file_size


def test_layers_that_only_draft_are_not_among_the_layers() -> None:
    found = anatomy({"model_type": "deepseek_v3"}, {
        "model.layers.8.self_attn.o_proj.weight": ("BF16", [64, 64]), "model.layers.8.eh_proj.weight": (
            "BF16", [64, 128]), "mtp.layers.0.mlp.up_proj.weight": ("BF16", [64, 64])})
    assert len(found.layers) == 8 and found.bytes_of("draft") == 2 * (64 * 64 + 64 * 128 + 64 * 64)


def test_words_that_nobody_knows_are_said_to_be_guessed() -> None:
    found = anatomy({"model_type": "llama", "layer_types": ["full_attention", "wormhole"] * 4})
    assert kinds(found) == "FFFFFFFF" and found.notes == (
        "its layers `wormhole` are taken for full attention: modelkit does not know them",)


@pytest.mark.parametrize(("config", "expected"), [
    ({"model_type": "mistral"}, "FFFFFFFF"), ({"model_type": "phi3", "sliding_window": 2047}, "FFFFFFFF"),
    ({"model_type": "gemma2"}, "SFSFSFSF"), ({"model_type": "deepseek_v3"}, "MMMMMMMM")])
def test_layers_of_a_folder_as_llama_cpp_has_them(config: dict[str, Any], expected: str) -> None:
    found = anatomy(config)
    layers = layers_as_gguf(found)
    assert "".join(layer.attention[0].upper() for layer in layers) == expected
    assert [layer.key_width for layer in layers] == [layer.key_width for layer in found.layers]


HEADER: dict[str, tuple[str, Any]] = {
    "block_count": ("uint32", 6), "embedding_length": ("uint32", 64), "context_length": ("uint32", 4096),
    "attention.head_count": ("uint32", 4), "attention.head_count_kv": ("uint32", 2), "vocab_size": ("uint32", 320)}


def headed(architecture: str, **said: tuple[str, Any]) -> Anatomy:
    keys = HEADER | {name.replace("__", "."): one for name, one in said.items()}
    return anatomy_of_header([header_of(
        {"general.architecture": ("string", architecture),
         **{f"{architecture}.{name}": one for name, one in keys.items()}},
        [("token_embd.weight", "Q8_0", [64, 320]), ("blk.5.ffn_down.weight", "Q4_0", [128, 64])])])


@pytest.mark.parametrize(("architecture", "said", "expected"), [
    ("nemotron_h", {"attention__head_count_kv": ("[int32]", [0, 0, 2, 0, 0, 2]),
                    "feed_forward_length": ("[int32]", [0, 128, 0, 128, 0, 0])}, "RNFNRF"),
    ("deci", {"attention__head_count_kv": ("[int32]", [2, 0, 2, 0, 2, 2])}, "FNFNFF"),
    ("kimi-linear", {"attention__head_count_kv": ("[int32]", [0, 0, 1, 0, 0, 1]),
                     "attention__key_length_mla": ("uint32", 48), "attention__value_length_mla": ("uint32", 32),
                     "kda__head_dim": ("uint32", 16)}, "RRMRRM"),
    ("gemma4", {"attention__sliding_window": ("uint32", 512),
                "attention__sliding_window_pattern": ("[bool]", [True, True, False] * 2)}, "SSFSSF"),
    ("phi3", {"attention__sliding_window": ("uint32", 2047)}, "FFFFFF"),  # llama.cpp passes over it
    ("llama", {"attention__sliding_window": ("uint32", 4096)}, "FFFFFF"),
    ("llama4", {"attention__sliding_window": ("uint32", 0)}, "FFFFFF"), ("llama4", {}, "CCCFCC"),
    ("gemma2", {}, "SFSFSF"), ("exaone4", {"attention__sliding_window": ("uint32", 4096)}, "FFFFFF"),
    ("cohere2moe", {"attention__sliding_window": ("uint32", 64)}, "FSSSFS"),
    ("gemma3", {"attention__sliding_window": ("uint32", 64),
                "attention__sliding_window_pattern": ("uint32", 3)}, "SSFSSF"),
    ("qwen3next", {"full_attention_interval": ("uint32", 2)}, "RFRFRF"),
    ("glm4moe", {"nextn_predict_layers": ("uint32", 2), "block_count": ("uint32", 8)}, "FFFFFF"),
    ("rwkv7", {}, "RRRRRR"), ("dream", {}, "NNNNNN"),
    ("nanbeige", {"num_loops": ("uint32", 2)}, "FFFFFFFFFFFF"), ("somebodys-new-one", {}, "FFFFFF"),
])
def test_kinds_of_layers_of_headers(architecture: str, said: dict[str, tuple[str, Any]], expected: str) -> None:
    found = headed(architecture, **said)
    assert kinds(found) == expected and found.feed_forward == 128 and found.vocabulary == 320


def test_sparse_attention_has_a_cache_of_its_own() -> None:
    said = {"attention__key_length": ("uint32", 80), "attention__head_count_kv": ("uint32", 1),
            "attention__key_length_mla": ("uint32", 48), "attention__value_length_mla": ("uint32", 32),
            "attention__indexer__key_length": ("uint32", 128)}
    assert headed("deepseek32", **said).layers[0] == Layer("mla", 4, 1, 80, 0, index_width=128)
    shared = headed("glm-dsa", **said, attention__indexer__types=("[int32]", [1, 0, 0, 1, 0, 0])).layers
    assert [layer.index_width for layer in shared] == [128, 0, 0, 128, 0, 0]
