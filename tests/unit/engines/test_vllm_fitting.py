"""A plan as memory sees it, read from the words of its launch."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.engines import fitting, vllm
from modelkit.failure import Failure
from tests.unit.engines.test_vllm import plan


def served(settings: dict[str, Any] | None = None, *flags: str, variant: str = "cuda", **more: Any) -> Any:
    return fitting.serving(plan(settings, variant=variant, flags=flags, **more))


def test_the_languages_settings() -> None:
    said = served({"serve.tensor_parallel": 4, "serve.pipeline_parallel": 2, "serve.gpu_memory": 0.8,
                   "serve.kv_cache": "fp8", "serve.prefix_caching": False})
    assert (said.tensor_parallel, said.pipeline_parallel, said.gpu_memory, said.kv_type) == (4, 2, 0.8, "fp8")
    assert (said.engine, said.context_length, said.concurrency, said.task) == ("vllm", 4096, 16, "chat")
    assert not said.prefix_caching and not said.eager and not said.on_cpu


def test_defaults_of_a_gpu() -> None:
    said = served()
    assert (said.gpu_memory, said.kv_type, said.dtype, said.block_size) == (0.9, "auto", "bfloat16", 16)
    assert said.batched_tokens is None and said.kv_cache_bytes is None and said.prefix_caching


def test_a_gpu_without_bfloat16() -> None:
    assert served(accelerator="T4").dtype == "float16"


def test_a_processor_is_told_its_cache_outright() -> None:
    old, new = (served(variant="cpu", cpu_flags=flags) for flags in (("avx2",), ("avx2", "avx512f")))
    assert (old.dtype, new.dtype) == ("float32", "bfloat16")
    for said, flags in ((old, ("avx2",)), (new, ("avx2", "avx512f"))):
        assert said.kv_cache_bytes == vllm.kv_cache_bytes(plan(cpu_flags=flags))
        assert (said.block_size, said.gpu_memory, said.on_cpu, said.eager) == (128, None, True, True)


def test_latents_have_blocks_of_their_own() -> None:
    from modelkit.planning.plan import Shape

    shape = Shape(architecture="deepseek_v3")
    assert served(shape=shape).block_size == 64 and served(shape=shape, variant="cpu").block_size == 16


@pytest.mark.parametrize(("flags", "name", "expected"), [
    (("--max-num-batched-tokens", "8k"), "batched_tokens", 8000),
    (("--max-num-batched-tokens=4K",), "batched_tokens", 4096),
    (("--gpu-memory-utilization", "0.5"), "gpu_memory", 0.5),
    (("--gpu_memory_utilization", "0.5"), "gpu_memory", 0.5),
    (("--kv-cache-memory-bytes", "1.5G"), "kv_cache_bytes", 3 * 2**29),
    (("-tp", "2"), "tensor_parallel", 2),
    (("-dp=2",), "data_parallel", 2),
    (("--block-size", "32"), "block_size", 32),
    (("--enforce-eager",), "eager", True),
    (("--no-enable-prefix-caching",), "prefix_caching", False),
    (("--kv-cache-dtype", "fp8_e5m2"), "kv_type", "fp8_e5m2"),
    (("--dtype", "half"), "dtype", "float16"),
    (("--max-model-len", "1k"), "context_length", 1000),
    (("--max-model-len", "-1"), "context_length", 4096),
    (("--max-num-seqs", "3", "--max-num-seqs", "5"), "concurrency", 5),
])
def test_the_authors_flags_win(flags: tuple[str, ...], name: str, expected: Any) -> None:
    assert getattr(served(None, *flags), name) == expected


@pytest.mark.parametrize("flags", [("--max-num-seqs", "many"), ("--gpu-memory-utilization", "most"),
                                   ("--gpu-memory-utilization=1.5",), ("--kv-cache-memory-bytes", "-5"),
                                   ("--max-num-batched-tokens",), ("--block-size", "0"), ("--max-model-len", "1.5")])
def test_a_number_that_vllm_would_not_take_is_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(Failure) as refused:
        served(None, *flags)
    assert refused.value.code == "bad-flag-value" and flags[0].partition("=")[0] in refused.value.message


def test_engines_that_divide_memory_alike() -> None:
    said = served({"serve.tensor_parallel": 2, "serve.kv_cache": "q8_0"}, engine_name="sglang")
    assert (said.engine, said.tensor_parallel, said.kv_type, said.gpu_memory) == ("sglang", 2, "fp8", None)
