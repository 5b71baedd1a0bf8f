"""vLLM's attention cache, block by block: against its own functions, and against starts of the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.models.anatomy import Anatomy, Attention, Layer
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm import pool
from modelkit.planning.fit.vllm_cache import cache
from tests.unit.fit.made import GiB, smollm2

GROUPS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vllm_groups.json").read_text("utf-8"))
"""What `get_kv_cache_configs`, `get_kv_cache_capacity` and `_estimate_max_model_len_from_groups` of vLLM 0.32.0 said
of made-up layers and of the shapes of known models: `kinds` are (kind, heads, width of keys, of values, window, bytes
of a state), `layers` names them one by one."""


def model(layers: list[Layer], architecture: str = "made-up", **more: Any) -> Anatomy:
    return Anatomy(architecture, "safetensors", "bfloat16", (), tuple(layers), 0, 0, 0, 0, None, False, **more)


def layer(said: tuple[Attention, int, int, int, int, int]) -> Layer:
    kind, heads, keys, values, window, state = said
    if kind == "mla":
        return Layer(kind, heads, heads, keys, 0)
    return Layer(kind, heads, heads, heads * keys, heads * values, window, 2 * state)  # of 16 bits: float32 is twice


@pytest.mark.parametrize("said", GROUPS, ids=[str(one["name"]) for one in GROUPS])
def test_blocks_and_contexts_are_those_of_vllms_own_functions(said: dict[str, Any]) -> None:
    layers = [layer(said["kinds"]["abcdefghijkl".index(name)]) for name in said["layers"]]
    serving = Serving("vllm", said["context"], 1, {1: "fp8", 2: "auto", 4: "float32"}[said["width"]],
                      block_size=said["block"], prefix_caching=said["prefix"])
    found = cache(model(layers), serving, said["flight"])
    assert found.longest(said["room"], said["limit"]) == said["longest"]
    assert (found.least(said["context"]) > said["room"]) == said.get("refused", False)
    if not said.get("refused"):
        blocks = found.blocks(said["room"])
        concurrency = blocks / found.needs(said["context"])
        assert (blocks, int(concurrency * said["context"]), concurrency) == (
            said["blocks"], said["tokens"], said["concurrency"])


SMOL = smollm2().layers
MAMBA2 = Layer("full", 4, 2, 128, 128, state_bytes=(3 * 640 + 8 * 64 * 64) * 4, conv_bytes=3 * 640 * 4)
GATED = Layer("recurrent", state_bytes=(3 * 1024 + 8 * 64 * 64) * 4, conv_bytes=3 * 1024 * 4)
MAMBA = Layer("recurrent", state_bytes=(3 * 512 + 512 * 16) * 4, conv_bytes=3 * 512 * 4)
SLIDING, FULL = Layer("sliding", 4, 2, 128, 128, 512), Layer("full", 4, 2, 128, 128)
STARTS = {
    # architecture, layers, dtype, context, bytes, block: what the log and the scheduler said (blocks, tokens)
    "smollm2": ("llama", SMOL, "bfloat16", 2048, 1 << 30, 128, 364, 46_592),
    "smollm2, 2 GiB": ("llama", SMOL, "bfloat16", 2048, 2 << 30, 128, 728, 93_184),
    "gemma3": ("gemma3_text", [FULL if i % 6 == 5 else SLIDING for i in range(13)], "bfloat16", 8192, 100_000_000, 128,
               762, 32_854),
    "qwen3-moe": ("qwen3_moe", [Layer("full", 8, 2, 64, 64)] * 4, "bfloat16", 4096, 50_000_000, 128, 381, 48_768),
    "deepseek-v2": ("deepseek_v2", [Layer("mla", 8, 1, 576, 0)] * 4, "bfloat16", 4096, 50_000_000, 16, 678, 10_848),
    "gpt-oss": ("gpt_oss", [Layer("sliding", 8, 2, 128, 128, 128), Layer("full", 8, 2, 128, 128)] * 3, "bfloat16", 8192,
                60_000_000, 128, 305, 30_470),
    "qwen3-next": ("qwen3_next", [GATED, GATED, GATED, FULL] * 2, "bfloat16", 4096, 60_000_000, 128, 228, 42_449),
    "falcon-h1": ("falcon_h1", [MAMBA2] * 4, "bfloat16", 4096, 60_000_000, 128, 114, 24_576),
    "jamba": ("jamba", [FULL if i % 4 == 2 else MAMBA for i in range(8)], "bfloat16", 4096, 60_000_000, 128, 457,
              49_259),
}


@pytest.mark.parametrize("name", STARTS)
def test_tokens_are_those_of_a_real_start_on_a_processor(name: str) -> None:
    """vLLM 0.32.0 for CPUs, `max_num_batched_tokens` 2048, each with that many bytes for the cache."""
    architecture, layers, dtype, context, room, block, blocks, tokens = STARTS[name]
    serving = Serving("vllm", context, 4, "auto", dtype=dtype, kv_cache_bytes=room, block_size=block,
                      batched_tokens=2048, on_cpu=True)
    found = pool(model(list(layers), architecture), serving, Hardware("here"))
    assert (found.blocks, found.tokens) == (blocks, tokens)


def gated_delta(keys: int, values: int) -> Layer:
    """Of Qwen3.5: heads of 128, a convolution over the last 3 of their inputs."""
    conv, state = 3 * (2 * keys + values) * 128 * 4, values * 128 * 128 * 4
    return Layer("recurrent", state_bytes=conv + state, conv_bytes=conv)


@pytest.mark.parametrize(("kv_type", "tokens"), [("auto", 784), ("fp8", 1568)])
def test_a_hybrids_blocks_are_as_long_as_its_states_are_large(kv_type: str, tokens: int) -> None:
    """A log of a Qwen3.8-27B with an fp8 cache says `attention block size to 1568 tokens`, `Padding mamba page size by
    0.13%` (aivrar/vllm-windows-build#17, 2026-09)."""
    layers = [Layer("full", 24, 4, 1024, 1024) if i % 4 == 3 else gated_delta(16, 48) for i in range(64)]
    serving = Serving("vllm", 32768, 4, kv_type)
    found = cache(model(layers, state_type="float32"), serving, 4096)
    full = next(group.page for group in found.groups if group.page.keeps == "tokens")
    assert full.tokens == tokens
    state = 3 * (2 * 16 + 48) * 128 * 2 + 48 * 128 * 128 * 4
    assert f"{100 * (full.size - state) / state:.2f}" == "0.13"


@pytest.mark.parametrize(("tensor", "kv_heads", "expected"), [(1, 8, 131072), (4, 8, 32768), (8, 8, 16384),
                                                              (8, 2, 16384), (16, 2, 16384)])
def test_heads_are_shared_but_never_cut(tensor: int, kv_heads: int, expected: int) -> None:
    """Bytes of a token on each GPU; past the number of heads each GPU keeps one."""
    whole = model([Layer("full", 32, kv_heads, kv_heads * 128, kv_heads * 128)] * 32)
    found = cache(whole, Serving("vllm", 4096, 1, "auto", tensor_parallel=tensor), 4096)
    assert found.block_bytes // 16 == expected


def test_a_latent_is_on_every_gpu() -> None:
    whole = model([Layer("mla", 128, 1, 576, 0)] * 61)
    one, eight = (cache(whole, Serving("vllm", 4096, 1, "auto", tensor_parallel=n), 4096).block_bytes for n in (1, 8))
    assert one == eight == 61 * 576 * 2 * 16


def test_sparse_attention_chooses_by_a_cache_of_its_own() -> None:
    """DeepSeek-V3.2: 132 bytes of each token beside its latent, which is 656 in 8 bits."""
    whole = model([Layer("mla", 128, 1, 576, 0, index_width=128)] * 61)
    for kv_type, latent in (("auto", 1152), ("fp8", 656)):
        assert cache(whole, Serving("vllm", 4096, 1, kv_type), 4096).block_bytes == 61 * 16 * (latent + 132)


def test_chunked_layers_get_room_for_the_whole_conversation() -> None:
    """vLLM 0.32 has its hybrid manager off where attention is in chunks (`config/vllm.py`)."""
    layers = [Layer("chunked", 40, 8, 1024, 1024, 8192)] * 3 + [Layer("full", 40, 8, 1024, 1024)]
    found = cache(model(layers * 12), Serving("vllm", 131072, 1, "auto"), 8192)
    assert found.needs(131072) == 131072 // 16 and found.block_bytes == 48 * 16 * 4096


def test_a_model_that_keeps_nothing_needs_nothing() -> None:
    found = cache(model([Layer("none", 12)] * 12), Serving("vllm", 512, 1, "auto"), 512)
    assert (found.block_bytes, found.needs(512), found.least(512), found.longest(0, 512)) == (0, 0, 0, 512)
    assert found.blocks(GiB) == 0


def test_a_stage_of_a_pipeline_has_its_own_layers_alone() -> None:
    layers = [Layer("full", 8, 8, 1024, 1024), gated_delta(16, 32)] * 8
    halves = [cache(model(layers), Serving("vllm", 4096, 1, "auto"), 4096, layers=half)
              for half in (range(8), range(8, 16))]
    whole = cache(model(layers), Serving("vllm", 4096, 1, "auto"), 4096)
    assert [one.block_bytes for one in halves] == [whole.block_bytes // 2] * 2
    assert [one.needs(4096) for one in halves] == [whole.needs(4096)] * 2


@given(st.lists(st.tuples(st.sampled_from(["full", "sliding", "mla", "recurrent"]), st.integers(1, 16),
                          st.sampled_from([64, 128, 576]), st.integers(1, 4096)), min_size=1, max_size=24),
       st.integers(1, 1 << 17), st.integers(0, 1 << 33), st.booleans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_longest_context_is_the_last_that_fits(kinds: list[tuple[Attention, int, int, int]], limit: int, room: int,
                                                   prefix: bool) -> None:
    layers = [Layer("recurrent", state_bytes=4096 * number) if kind == "recurrent" else
              layer((kind, 1 if kind == "mla" else number, width, width, window if kind == "sliding" else 0, 0))
              for kind, number, width, window in kinds]
    found = cache(model(layers), Serving("vllm", 4096, 1, "auto", prefix_caching=prefix), 2048)
    longest = found.longest(room, limit)
    assert 0 <= longest <= limit
    assert longest == 0 or found.least(longest) <= room
    assert longest == limit or found.least(longest + 1) > room
    assert found.least(limit) >= found.least(max(1, limit // 2))
