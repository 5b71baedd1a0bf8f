"""What vLLM computes with on a processor: float32 where bfloat16 would be emulated."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.engines.vllm_hardware import cpu_dtype
from modelkit.engines.vllm_words import kv_cache_bytes
from modelkit.planning.plan import Engine, Origin, Plan, Setting

OLD, NEW = ("avx", "avx2"), ("avx", "avx2", "avx512f", "avx512_bf16")


def plan(flags: tuple[str, ...], quantize: str | None = None, **fields: Any) -> Plan:
    settings = () if quantize is None else (Setting(name="quantize", value=quantize, origin=Origin(kind="stage")),)
    return Plan(name="tiny", modelfile="Modelfile", stage="prod", platform="process", engine_name="vllm",
                engine=Engine(name="vllm", provider="environment", version="0.32.0", variant="cpu", command=("vllm",)),
                reference="./m", weights=None, context_length=512, max_concurrency=4, profile={}, settings=settings,
                cpu_flags=flags, kv_bytes_per_token=1024, **fields)


@pytest.mark.parametrize(("flags", "quantize", "dtype"), [
    (OLD, None, "float32"), (OLD, "none", "float32"), (OLD, "Q4_K_M", "float32"), (OLD, "auto", "float32"),
    (OLD, "fp8", "bfloat16"), (NEW, None, "bfloat16"), ((*OLD, "amx_bf16"), None, "bfloat16"), ((), None, "bfloat16"),
])
def test_what_it_computes_with(flags: tuple[str, ...], quantize: str | None, dtype: str) -> None:
    assert cpu_dtype(plan(flags, quantize)) == dtype


def test_the_cache_takes_twice_the_room_then() -> None:
    assert kv_cache_bytes(plan(OLD)) == 2 * kv_cache_bytes(plan(NEW))


def test_another_machines_processor_is_not_known() -> None:
    assert cpu_dtype(plan(OLD, image="docker.io/vllm/vllm-openai-cpu@sha256:" + "0" * 64)) == "bfloat16"
