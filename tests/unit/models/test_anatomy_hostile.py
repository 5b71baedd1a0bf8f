"""Headers that lie: one clear Failure or an anatomy, whatever they say, in bounded time and memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.failure import Failure
from modelkit.models.anatomy import Anatomy, anatomy_of_folder, anatomy_of_header
from modelkit.models.anatomy.config_defaults import DEFAULTS
from modelkit.models.anatomy.header_layers import BY_INTERVAL, INDEXED, RECURRENT, WINDOWED, WITHOUT_KV_HEADS
from modelkit.models.anatomy.said import MOST_LAYERS
from tests.unit.models.anatomies import folder_of, header_of

TENSORS: list[tuple[str, str, list[int]]] = [("token_embd.weight", "Q8_0", [64, 320]),
                                             ("blk.0.attn_k.weight", "F16", [64, 32])]
STORED: dict[str, tuple[str, list[int]]] = {"model.embed_tokens.weight": ("BF16", [320, 64]),
                                            "model.layers.0.self_attn.k_proj.weight": ("BF16", [32, 64])}
PLAIN: dict[str, tuple[str, Any]] = {
    "block_count": ("uint32", 2), "embedding_length": ("uint32", 64), "context_length": ("uint32", 4096),
    "attention.head_count": ("uint32", 4), "attention.head_count_kv": ("uint32", 2)}


def gguf(architecture: str = "llama", **said: tuple[str, Any]) -> Anatomy:
    keys = PLAIN | {name.replace("__", "."): one for name, one in said.items()}
    return anatomy_of_header([header_of({"general.architecture": ("string", architecture),
                                         **{f"{architecture}.{name}": one for name, one in keys.items()}}, TENSORS)])


def folder(**said: Any) -> Anatomy:
    return anatomy_of_folder(folder_of({
        "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 320} | said, STORED))


@pytest.mark.parametrize("said", [
    {"block_count": ("uint32", 0)}, {"block_count": ("uint32", 4_000_000_000)}, {"block_count": ("int32", -1)},
    {"block_count": ("uint64", 1 << 63)}, {"block_count": ("string", "many")}, {"block_count": ("float32", 2.5)},
    {"embedding_length": ("uint64", 1 << 40)}, {"embedding_length": ("uint32", 0)},
    {"attention__head_count": ("uint32", 0)}, {"attention__head_count": ("int32", -4)},
    {"attention__head_count": ("uint32", 1 << 31)}, {"attention__head_count_kv": ("[int32]", [2])},
    {"attention__head_count_kv": ("[int32]", [2, -2])}, {"attention__head_count_kv": ("[string]", ["2", "2"])},
    {"attention__head_count_kv": ("[int32]", [2] * 5000)}, {"attention__key_length": ("uint64", 1 << 62)},
    {"attention__key_length": ("float32", float("nan"))}, {"context_length": ("uint64", 1 << 62)},
    {"expert_count": ("uint32", 1 << 30)}, {"expert_count": ("uint32", 4), "expert_used_count": ("uint32", 5)},
    {"vocab_size": ("int64", -1)},
], ids=str)
def test_numbers_that_no_model_has_are_refused(said: dict[str, tuple[str, Any]]) -> None:
    with pytest.raises(Failure) as refused:
        gguf(**said)
    assert refused.value.code == "gguf-invalid"
    assert f"llama.{next(reversed(said)).replace('__', '.')}" in refused.value.message
    assert len(refused.value.message) < 300


@pytest.mark.parametrize("said", [
    {"attention__sliding_window": ("uint64", 1 << 62)}, {"attention__sliding_window": ("uint32", 0)},
    {"attention__sliding_window_pattern": ("[bool]", [True])},
    {"attention__sliding_window_pattern": ("uint32", 1 << 20)}], ids=str)
def test_windows_that_can_not_be_are_refused(said: dict[str, tuple[str, Any]]) -> None:
    with pytest.raises(Failure, match="sliding_window") as refused:
        gguf("cohere2", **{"attention__sliding_window": ("uint32", 8)} | said)
    assert refused.value.code == "gguf-invalid"


@pytest.mark.parametrize("said", [
    {"num_hidden_layers": 0}, {"num_hidden_layers": 10 ** 12}, {"num_hidden_layers": -1},
    {"num_hidden_layers": 1e400}, {"num_hidden_layers": float("nan")}, {"num_hidden_layers": {"a": 1}},
    {"hidden_size": 1 << 40}, {"num_attention_heads": -1}, {"num_key_value_heads": 1 << 62}, {"head_dim": 0.5},
    {"vocab_size": [[320]]}, {"max_position_embeddings": 1 << 63}, {"num_local_experts": 10 ** 9},
    {"num_local_experts": 2, "num_experts_per_tok": 3}, {"sliding_window": 1 << 62},
    {"layer_types": ["full_attention"]}, {"num_attention_heads_per_layer": [1]},
], ids=str)
def test_configurations_that_no_model_has_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Failure) as refused:
        folder(**said)
    assert refused.value.code == "config-invalid"
    assert f"`{next(reversed(said))}`" in refused.value.message and refused.value.hint


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads"])
def test_a_folder_that_says_no_width_anywhere(key: str) -> None:
    said = {"model_type": "odd", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}
    del said[key]
    with pytest.raises(Failure, match=f"`{key}` is missing or 0") as refused:
        anatomy_of_folder(folder_of(said, {"model.embed_tokens.weight": ("BF16", [320, 64])}))
    assert refused.value.code == "config-invalid"


@pytest.mark.parametrize("config", [None, [], "llama", 3, {}])
def test_a_config_that_is_no_object_is_refused(config: Any) -> None:
    with pytest.raises(Failure) as refused:
        anatomy_of_folder(folder_of(config, STORED))
    assert refused.value.code == "config-invalid"


def test_deep_nesting_is_refused() -> None:
    text = '{"model_type": "llama", "text_config": ' * 3000 + "{}" + "}" * 3000
    files = folder_of({}, STORED)
    source = files.opened("config.json")
    assert source is not None
    source.begin, source.size = text.encode(), len(text)  # type: ignore[attr-defined,misc]
    with pytest.raises(Failure):
        anatomy_of_folder(files)


ODD = st.one_of(st.integers(-(1 << 70), 1 << 70), st.floats(), st.booleans(), st.none(), st.text(max_size=5),
                st.lists(st.one_of(st.integers(-5, 1 << 40), st.text(max_size=3), st.none()), max_size=5),
                st.sampled_from([0, 1, 2, 4, 8, 64, "auto", "LLLG", "M-*E", ["full_attention"] * 2, {"a": 1}]))
KEYS = sorted({key for said in DEFAULTS.values() for key in said} | {
    "layer_types", "layers_block_type", "hybrid_override_pattern", "block_types", "attn_type_list", "block_configs",
    "linear_attn_config", "full_attn_idxs", "attn_layer_indices", "no_rope_layers", "hybrid_layer_pattern",
    "quantization_config", "text_config", "num_kv_shared_layers", "num_global_key_value_heads", "multi_query",
    "use_sliding_window", "tie_word_embeddings", "dtype", "ffn_config", "mamba_step"})


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(DEFAULTS)), st.dictionaries(st.sampled_from(KEYS), ODD, max_size=8))
def test_whatever_a_config_says(model_type: str, said: dict[str, Any]) -> None:
    try:
        found = folder(**said | {"model_type": model_type})
    except Failure as failure:
        assert len(failure.message) < 400
        json.dumps(failure.data)
    else:
        check(found)


NUMBERS = st.one_of(
    st.tuples(st.just("uint64"), st.integers(0, (1 << 64) - 1)), st.tuples(st.just("int32"), st.integers(-9, 200)),
    st.tuples(st.just("uint32"), st.sampled_from([0, 1, 2, 3, 16, 64, 128, 4096])),
    st.tuples(st.just("float32"), st.floats(width=32)), st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("string"), st.text(max_size=4)),
    st.tuples(st.just("[int32]"), st.lists(st.integers(-2, 99), min_size=1, max_size=8)),
    st.tuples(st.just("[bool]"), st.lists(st.booleans(), max_size=8)),
    st.tuples(st.just("[string]"), st.lists(st.text(max_size=2), max_size=3)))
HEADER_KEYS = sorted({*PLAIN, *(f"attention.{name}" for name in (
    "key_length", "value_length", "key_length_swa", "value_length_swa", "key_length_mla", "value_length_mla",
    "sliding_window", "sliding_window_pattern", "shared_kv_layers", "recurrent_layers", "indexer.key_length",
    "indexer.types", "indexer.kpool")), *(f"ssm.{name}" for name in (
        "conv_kernel", "inner_size", "state_size", "group_count")), "feed_forward_length", "nextn_predict_layers",
    "expert_count", "expert_used_count", "wkv.head_size", "token_shift_count", "shortconv.l_cache", "kda.head_dim",
    "full_attention_interval", "num_loops", "leading_dense_block_count", "vocab_size"})
ARCHITECTURES = sorted({*WINDOWED, *RECURRENT, *WITHOUT_KV_HEADS, *BY_INTERVAL, *INDEXED, "llama", "falcon-h1",
                        "nemotron_h", "nanbeige", "graniteswitch", "bert", "deepseek2"})


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.sampled_from(ARCHITECTURES), st.dictionaries(st.sampled_from(HEADER_KEYS), NUMBERS, max_size=6))
def test_whatever_a_header_says(architecture: str, said: dict[str, tuple[str, Any]]) -> None:
    try:
        found = gguf(architecture, **{name.replace(".", "__"): one for name, one in said.items()})
    except Failure as failure:
        assert failure.code == "gguf-invalid" and len(failure.message) < 400
        json.dumps(failure.data)
    else:
        check(found)


def check(found: Anatomy) -> None:
    """Numbers that can be reckoned with."""
    assert 1 <= len(found.layers) <= MOST_LAYERS + 1 and 0 <= found.experts_used <= found.experts
    for layer in found.layers:
        assert all(number >= 0 for number in (layer.heads, layer.kv_heads, layer.key_width, layer.value_width,
                                              layer.window, layer.conv_bytes, layer.index_width))
        assert layer.state_bytes >= layer.conv_bytes
        assert (layer.window > 0) == (layer.attention in ("sliding", "chunked"))
