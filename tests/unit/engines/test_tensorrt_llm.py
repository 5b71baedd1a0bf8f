"""TensorRT-LLM's table, options file and container. Its options and fields are those of its source, carried over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit import engines
from modelkit.engines import tensorrt_llm
from modelkit.engines.container import CONFIG, MODEL, Container
from modelkit.engines.flags import read_trtllm, table
from modelkit.engines.images import image_engine
from modelkit.failure import Failure
from modelkit.language.parameters import PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.planning.plan import ModelSource, Origin, Plan, ServedAdapter, Shape
from tests.unit.engines.plans import TEXTS, contained_plan, lowered, options_of
from tests.unit.platforms.cases import plan_of

KNOWN = table("tensorrt-llm", "1.2.1")
HUB = ModelSource(kind="hub", name="acme/m", revision="a" * 40)


def plan(settings: dict[str, Any] | None = None, **more: Any) -> Plan:
    return contained_plan("tensorrt-llm", "1.2.1", settings, **more)


def file_of(made: Container) -> dict[str, Any]:
    """The options file: each line is a key and JSON, which YAML contains."""
    text = next(f.content for f in made.files if f.path == "trtllm.yaml")
    return {key: json.loads(value) for key, _, value in (line.partition(": ") for line in text.splitlines())}


def test_every_word_of_the_language_has_a_row() -> None:
    assert set(tensorrt_llm.SETTINGS) == {*PARAMETERS, *(f"serve.{key}" for key in SERVE_KEYS), *TEXTS}


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("system", "x", ("equal", "messages", "x")),
    ("template", "the Modelfile's", ("translated", "--chat_template", f"{CONFIG}/chat_template.jinja")),
    ("temperature", 0.2, ("equal", "temperature", 0.2)),
    ("typical_p", 0.5, ("lost", "", None)),
    ("repeat_penalty", 1.1, ("translated", "repetition_penalty", 1.1)),
    ("repeat_last_n", 64, ("approximated", "repetition_penalty", None)),
    ("repeat_last_n", -1, ("equal", "repetition_penalty", None)),
    ("presence_penalty", 0.0, ("equal", "presence_penalty", 0.0)),
    ("presence_penalty", 0.5, ("approximated", "presence_penalty", 0.5)),
    ("frequency_penalty", 0.5, ("approximated", "frequency_penalty", 0.5)),
    ("seed", 7, ("approximated", "seed", 7)),
    ("seed", -1, ("equal", "seed", None)),
    ("num_ctx", 4096, ("equal", "max_seq_len", 4096)),
    ("num_keep", 4, ("lost", "", None)),
    ("num_batch", 512, ("lost", "", None)),
    ("num_gpu", -1, None),
    ("num_gpu", 20, ("lost", "", None)),
    ("use_mmap", True, ("lost", "", None)),
    ("draft", "./d", ("lost", "", None)),
    ("draft_num_predict", 4, ("lost", "", None)),
    ("quantize", "none", ("equal", "dtype", None)),
    ("quantize", "Q8_0", ("approximated", "dtype", None)),
    ("quantize", "fp8", ("equal", "weights", "fp8")),
    ("quantize", "int8", ("lost", "", None)),
    ("quantize", "awq", ("lost", "", None)),
    ("quantize", "nvfp4", ("lost", "", None)),
    ("adapters", ["x"], ("lost", "", None)),
    ("serve.max_concurrency", 8, ("equal", "max_batch_size", 8)),
    ("serve.tensor_parallel", 1, None),
    ("serve.tensor_parallel", 2, ("equal", "tensor_parallel_size", 2)),
    ("serve.pipeline_parallel", 2, ("equal", "pipeline_parallel_size", 2)),
    ("serve.gpu_memory", 0.8, ("approximated", "kv_cache_config.free_gpu_memory_fraction", 0.8)),
    ("serve.kv_cache", "auto", None),
    ("serve.kv_cache", "bf16", ("approximated", "kv_cache_config.dtype", "auto")),
    ("serve.kv_cache", "fp8", ("equal", "kv_cache_config.dtype", "fp8")),
    ("serve.kv_cache", "q8_0", ("approximated", "kv_cache_config.dtype", "fp8")),
    ("serve.kv_cache", "q4_0", ("approximated", "kv_cache_config.dtype", "fp8")),
    ("serve.prefix_caching", False, ("equal", "kv_cache_config.enable_block_reuse", False)),
    ("serve.tool_parser", "qwen3", ("equal", "--tool_parser", "qwen3")),
    ("serve.reasoning_parser", "qwen3", ("equal", "reasoning_parser", "qwen3")),
    ("serve.speculative", "off", None),
    ("serve.speculative", "ngram", ("lost", "", None)),
    ("serve.replicas", 2, ("lost", "", None)),
    ("serve.host", "x", None),
], ids=str)
def test_what_a_setting_becomes(name: str, value: Any, expected: Any) -> None:
    assert lowered(tensorrt_llm, plan({name: value})) == expected


@pytest.mark.parametrize("settings", [
    {}, {"serve.tensor_parallel": 2, "serve.pipeline_parallel": 2, "serve.gpu_memory": 0.8, "serve.kv_cache": "fp8"},
    {"serve.prefix_caching": False, "serve.tool_parser": "qwen3", "serve.reasoning_parser": "deepseek-r1",
     "template": "x"}], ids=["nothing", "gpus", "parsers"])
def test_every_option_and_every_field_is_one_that_tensorrt_llm_has(settings: dict[str, Any]) -> None:
    assert KNOWN is not None
    made = engines.container(plan(settings, source=HUB))
    assert {word for word in made.args if word.startswith("--")} <= set(KNOWN.by_word)
    said = file_of(made)
    assert set(said) <= set(KNOWN.lists["llm_args"])
    assert set(said["kv_cache_config"]) <= set(KNOWN.lists["llm_args.kv_cache_config"])
    assert len([word for word in made.args if word.startswith("--")]) == len({w for w in made.args if w[:2] == "--"})


def test_the_container_runs_the_program_with_the_model_that_is_mounted() -> None:
    made = engines.container(plan())
    assert made.args[:3] == ("python3", f"{CONFIG}/tensorrt_llm_server.py", MODEL)
    assert options_of(made)["--extra_llm_api_options"] == f"{CONFIG}/trtllm.yaml"
    assert options_of(made)["--host"] == "0.0.0.0", "its own would be localhost"
    assert made.metrics == "/prometheus/metrics" and file_of(made)["return_perf_metrics"] is True
    assert made.env["TRTLLM_NO_USAGE_STATS"] == "1" and not made.command


def test_the_file_says_it_all_for_it_wins_over_the_command_line() -> None:
    made = engines.container(plan({"serve.tensor_parallel": 2, "serve.kv_cache": "fp8"}))
    assert file_of(made) == {
        "enable_chunked_prefill": False, "guided_decoding_backend": "xgrammar",
        "kv_cache_config": {"dtype": "fp8", "free_gpu_memory_fraction": 0.9}, "max_batch_size": 16,
        "max_input_len": 4096, "max_seq_len": 4096, "return_perf_metrics": True, "sampler_type": "TRTLLMSampler",
        "tensor_parallel_size": 2, "trust_remote_code": False}
    assert made.gpus == 2 and not {"--tp_size", "--max_batch_size"} & set(made.args)


def test_a_repository_of_the_hub_is_fetched_at_its_commit() -> None:
    made = engines.container(plan(source=HUB))
    assert made.args[2] == "acme/m" and file_of(made)["revision"] == "a" * 40 and not made.mounts


def test_long_prompts_are_split() -> None:
    assert file_of(engines.container(plan(context_length=32768)))["enable_chunked_prefill"] is True


def test_a_key_is_a_reference() -> None:
    made = engines.container(plan(api_key="file:/run/key"))
    assert [(one.variable, one.reference) for one in made.secrets] == [("MODELKIT_API_KEY", "file:/run/key")]


ADAPTER = ServedAdapter(name="tone", reference="./tone", origin=Origin(kind="modelfile", where="Modelfile:2"))


@pytest.mark.parametrize(("asked", "code", "hint"), [
    (plan(adapters=(ADAPTER,)), "adapter-not-here", "merge"),
    (plan({"quantize": "int8"}), "precision-not-there", "fp8"),
    (plan({"quantize": "awq"}), "precision-not-there", "Model Optimizer"),
    (plan({"quantize": "fp8"}, source=HUB), "precision-not-pushed", "repository"),
    (plan({"serve.tool_parser": "hermes"}), "unknown-parser", "qwen3"),
    (plan(flags=("--max_seq_len", "9")), "flag-not-yours", "SERVE"),
    (plan(flags=("--middleware", "x")), "flag-not-yours", "SERVE"),
    (plan(flags=("--max-num-tokens", "9")), "unknown-flag", "--max_num_tokens"),
], ids=["adapter", "int8", "awq", "fp8", "parser", "ours", "middleware", "dashes"])
def test_what_tensorrt_llm_cannot_do_is_refused_with_the_way_out(asked: Plan, code: str, hint: str) -> None:
    with pytest.raises(Failure) as refused:
        engines.container(asked)
    assert refused.value.code == code and hint in str(refused.value.hint)


def test_the_authors_flags_are_trtllm_serves_own() -> None:
    assert engines.container(plan(flags=("--max_num_tokens", "16384"))).args[-2:] == ("--max_num_tokens", "16384")


def test_a_repository_that_has_the_precision_is_taken_as_it_is() -> None:
    asked = plan({"quantize": "fp8"}, source=HUB, shape=Shape(precision="modelopt"))
    assert lowered(tensorrt_llm, asked) == ("approximated", "weights", "fp8")
    assert engines.container(asked).args[2] == "acme/m"


def test_words_tell_what_stands_in_the_file() -> None:
    said = {word.flag: word.value for word in tensorrt_llm.words(plan({"num_ctx": 4096, "serve.kv_cache": "fp8"}))}
    assert said["--extra_llm_api_options max_seq_len"] == "4096"
    assert said["--extra_llm_api_options kv_cache_config.dtype"] == "fp8"
    assert all(word.reason for word in tensorrt_llm.words(plan()))


def test_it_is_no_process_of_this_machine() -> None:
    with pytest.raises(Failure) as refused:
        engines.launch(plan())
    assert refused.value.code == "engine-in-image"
    engines.presume_machine(plan())


def test_the_parsers_of_every_family_are_tensorrt_llms() -> None:
    from modelkit.planning.families import FAMILIES

    assert KNOWN is not None
    assert {one.tensorrt_llm.tool for one in FAMILIES} - {""} <= set(KNOWN.lists["tool_parsers"])
    assert {one.tensorrt_llm.reasoning for one in FAMILIES} - {""} <= set(KNOWN.lists["reasoning_parsers"])


def test_the_image_is_of_the_version_that_was_read() -> None:
    engine, image = image_engine("tensorrt-llm", "", None, "H100")
    assert (engine.version, image) == ("1.2.1", "nvcr.io/nvidia/tensorrt-llm/release:1.2.1")


@pytest.mark.parametrize(("tail", "says"), [
    ("Error: No such option: --max-num-tokens", "--max-num-tokens"),
    ("Error: Invalid value for '--tool_parser': 'x' is not one of 'qwen3'", "--tool_parser"),
    ("pydantic_core.ValidationError: 1 validation error for TorchLlmArgs\nsampler_type\n  Extra inputs are not "
     "permitted [type=extra_forbidden]", "sampler_type"),
    ("ValueError: Unsupported quant_bits: 4. Supported: 8.", "precision"),
    ("ValueError: No GPU devices found on the node", "no GPU"),
    ("RuntimeError: Failed to bind socket to 0.0.0.0:8000: in use", "0.0.0.0:8000 is taken"),
    ("something else", None),
])
def test_last_words(tail: str, says: str | None) -> None:
    said = engines.explain_exit("tensorrt-llm", ["loading", *tail.splitlines()])
    assert said is None if says is None else says in str(said)


@pytest.mark.parametrize("platform", ["compose", "kubernetes"])
def test_a_stage_is_planned_whole(platform: str) -> None:
    asked = plan_of("tensorrt-llm", platform)
    assert {s.name for s in asked.settings} - {"engine", "platform"} <= {one.setting for one in asked.lowered}
    assert file_of(engines.container(asked))["max_batch_size"] == 32


SERVE = '''
@click.command("serve")
@click.argument("model", type=str)
@click.option("--tp_size", "--tensor_parallel_size", type=int, default=1, help=tag("x", "beta"))
@click.option("--backend", type=ChoiceWithAlias(["pytorch"], {"trt": "tensorrt"}), default="pytorch")
@click.option("--trust_remote_code", is_flag=True, default=False)
@click.option("--config", "--extra_llm_api_options", "extra_llm_api_options", type=str, default=None)
@click.option("--tool_parser", type=click.Choice(ToolParserFactory.parsers.keys()), default=None)
def serve(model):
    pass
'''
LLM_ARGS = '''
class KvCacheConfig(StrictBaseModel):
    dtype: str = Field(default="auto")
class BaseLlmArgs(StrictBaseModel):
    max_seq_len: Optional[int] = Field(default=None)
    _private: int = 1
    kind: ClassVar[str] = "x"
class TorchLlmArgs(BaseLlmArgs):
    sampler_type: str = Field(default="auto")
'''


def test_the_table_is_read_from_its_source() -> None:
    made = read_trtllm.table("9.9", SERVE, LLM_ARGS, {"tool_parsers": ["qwen3"]}, "test")
    assert {flag.flag: (flag.aliases, flag.type, flag.choices, flag.default) for flag in made.flags} == {
        "--tp_size": (("--tensor_parallel_size",), "int", (), 1),
        "--backend": ((), "str", ("pytorch", "trt"), "pytorch"),
        "--trust_remote_code": ((), "bool", (), None),
        "--config": (("--extra_llm_api_options",), "str", (), None),
        "--tool_parser": ((), "str", (), None)}
    assert made.lists == {"tool_parsers": ("qwen3",), "llm_args.kv_cache_config": ("dtype",),
                          "llm_args": ("max_seq_len", "sampler_type")}
