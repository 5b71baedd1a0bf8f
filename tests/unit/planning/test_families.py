"""Families by template and architecture, the switches of templates, GPUs by name."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.engines.vllm_parsers import REASONING_PARSERS, TOOL_PARSERS
from modelkit.failure import Failure
from modelkit.planning.accelerators import ACCELERATORS, accelerator, nearest
from modelkit.planning.families import FAMILIES, Parsers, family, parsers, thinking, writes_prompts_itself
from modelkit.planning.gpus import accelerator_name, presume_shared
from modelkit.planning.plan import Origin, Setting, Shape

TOOLS = "{% if tools %}{{ tools }}{% endif %}"
QWEN3 = TOOLS + "<tool_call>{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"


def test_vllm_has_every_parser_of_the_table() -> None:
    """The lists are the real engine's: tests/live holds them against it."""
    assert {one.vllm.tool for one in FAMILIES} - {""} <= TOOL_PARSERS
    assert {one.vllm.reasoning for one in FAMILIES} - {""} <= REASONING_PARSERS
    assert len({one.name for one in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize(("architecture", "template", "vllm"), [
    ("qwen3", QWEN3, ("hermes", "qwen3")),
    ("qwen2", TOOLS + "<tool_call>\n{'name'", ("hermes", "")),
    ("qwen3_moe", TOOLS + "<tool_call><function=x><parameter=y>", ("qwen3_coder", "")),
    ("llama", TOOLS + 'Environment: ipython {"name": x, "parameters": y}', ("llama3_json", "")),
    ("llama4", TOOLS + "[func(a=1)]", ("llama4_pythonic", "")),
    ("mistral3", TOOLS + "[AVAILABLE_TOOLS][TOOL_CALLS]", ("mistral", "")),
    ("llama", TOOLS + "[TOOL_CALLS] [THINK]", ("mistral", "mistral")),
    ("gpt_oss", TOOLS + "<|channel|>analysis", ("openai", "openai_gptoss")),
    ("gpt-oss", TOOLS + "<|channel|>analysis", ("openai", "openai_gptoss")),
    ("deepseek_v3", TOOLS + "<｜tool▁calls▁begin｜>```json <think>", ("deepseek_v3", "deepseek_r1")),
    ("deepseek_v3", TOOLS + "<｜tool▁calls▁begin｜>{% if thinking %}<think>", ("deepseek_v31", "deepseek_v3")),
    ("deepseek_v32", "", ("deepseek_v32", "deepseek_v3")),
    ("granitemoehybrid", TOOLS + "<tool_call>", ("granite4", "")),
    ("qwen2", "<think>", ("", "deepseek_r1")),
    ("llama", "{% for m in messages %}{{ m.content }}{% endfor %}", ("", "")),
    ("llama", None, ("", "")),
])
def test_what_reads_a_model(architecture: str, template: str | None, vllm: tuple[str, str]) -> None:
    assert parsers("vllm", architecture, template) == Parsers(*vllm)


def test_every_engine_has_its_own_word() -> None:
    assert parsers("sglang", "qwen3", QWEN3) == ("qwen", "qwen3")
    assert parsers("tensorrt-llm", "qwen3", QWEN3) == ("qwen3", "qwen3")
    assert parsers("llama.cpp", "qwen3", QWEN3) == parsers("vllm", "qwen3", QWEN3)
    assert family("llama", "") is None


def test_prompts_in_code() -> None:
    assert [writes_prompts_itself(one) for one in ("gpt_oss", "gpt-oss", "deepseek_v32", "qwen3", "")] == [
        True, True, True, False, False]


@pytest.mark.parametrize(("template", "value", "variables", "problem"), [
    (QWEN3, "false", {"enable_thinking": False}, False),
    (QWEN3, "true", {"enable_thinking": True}, False),
    (QWEN3, "low", {"enable_thinking": True}, True),
    ("{% if not thinking is defined %}{% set thinking = false %}{% endif %}", "true", {"thinking": True}, False),
    ("{{ reasoning_effort }}", "low", {"reasoning_effort": "low"}, False),
    ("{{ reasoning_effort }}", "max", {"reasoning_effort": "high"}, True),
    ("{{ reasoning_effort }}{# low high max #}", "max", {"reasoning_effort": "max"}, False),
    ("{{ reasoning_effort }}", "false", {}, True),
    ("{{ reasoning_effort }}{{ enable_thinking }}", "false", {"enable_thinking": False}, False),
    ("{% for m in messages %}{% generation %}{% if enable_thinking %}{% break %}{% endif %}{% endgeneration %}"
     "{% endfor %}", "true", {"enable_thinking": True}, False),
    ("I am thinking of {{ 'enable_thinking' }}", "true", {}, True),
    ("{% if broken", "true", {}, True), (None, "false", {}, True),
])
def test_the_switches_of_a_template(template: str | None, value: str, variables: dict[str, Any], problem: bool) -> None:
    found = thinking(value, "qwen3", template)
    assert found.variables == variables and bool(found.problem) == problem


def test_gpt_oss_has_levels_whatever_its_template() -> None:
    assert thinking("high", "gpt_oss", "").variables == {"reasoning_effort": "high"}


@pytest.mark.parametrize(("word", "name"), [
    ("L4", "L4"), ("nvidia-l4", "L4"), ("NVIDIA H100 80GB HBM3", "H100-80GB"), ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
    ("tesla t4", "T4"), ("nvidia-tesla-t4", "T4"), ("NVIDIA GeForce RTX 4090", "RTX-4090"), ("h100-pcie", "H100"),
    ("L40S", "L40S"), ("A10G", "A10G"), ("L4 24GB", "L4"), ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
    ("H1000", None), ("gpu", None), ("", None),
])
def test_gpus_by_name(word: str, name: str | None) -> None:
    found = accelerator(word)
    assert (found.name if found else None) == name


def test_every_gpu_is_found_by_its_own_name() -> None:
    assert all(accelerator(name) == row for name, row in ACCELERATORS.items())
    assert nearest("H101") == "H100" and nearest("zzzz") is None


def said(value: Any) -> Setting:
    return Setting(name="x", value=value, origin=Origin(kind="stage", where="Modelfile:7"))


def test_the_gpu_that_is_asked_for_or_here() -> None:
    assert accelerator_name(said("nvidia-l4"), "Tesla T4") == "L4"
    assert accelerator_name(None, "Tesla T4") == "T4" and accelerator_name(None, "Radeon") is None
    assert accelerator_name(said("CPU"), "Tesla T4") is None and accelerator_name(None, None) is None
    with pytest.raises(Failure, match="Modelfile:7") as failed:
        accelerator_name(said("A1000"), None)
    assert failed.value.code == "unknown-accelerator" and "A100" in (failed.value.hint or "")


@pytest.mark.parametrize(("heads", "shared", "code", "hint"), [
    (9, (2, None), "heads-not-shared", "one GPU"), (9, (3, None), None, ""),
    (32, (6, None), "heads-not-shared", "tensor_parallel 4"), (15, (4, None), "heads-not-shared", "tensor_parallel 3"),
    (32, (None, 31), "layers-not-shared", "30"), (32, (8, 30), None, ""), (None, (7, 1), None, ""),
    (32, (None, None), None, ""),
])
def test_what_gpus_can_share(heads: int | None, shared: tuple[int | None, int | None], code: str | None,
                             hint: str) -> None:
    shape = Shape(attention_heads=heads, layers=30)
    asked = [None if number is None else said(number) for number in shared]
    if code is None:
        presume_shared(shape, *asked)
        return
    with pytest.raises(Failure, match="Modelfile:7") as failed:
        presume_shared(shape, *asked)
    assert failed.value.code == code and hint in (failed.value.hint or "")
