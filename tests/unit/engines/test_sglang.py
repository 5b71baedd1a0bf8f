"""SGLang's table, words and container. No SGLang here: its flags are those that its own source declares."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit import engines
from modelkit.engines import sglang
from modelkit.engines.container import CONFIG, MODEL
from modelkit.engines.flags import table
from modelkit.engines.images import image_engine
from modelkit.failure import Failure
from modelkit.language.parameters import PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.planning.plan import Engine, ModelSource, Origin, Plan, ServedAdapter, Setting, Shape
from tests.unit.engines.plans import TEXTS, contained_plan, lowered, options_of
from tests.unit.platforms.cases import plan_of

KNOWN = table("sglang", "0.5.23")


def plan(settings: dict[str, Any] | None = None, **more: Any) -> Plan:
    return contained_plan("sglang", "0.5.23", settings, **more)


def test_every_word_of_the_language_has_a_row() -> None:
    assert set(sglang.SETTINGS) == {*PARAMETERS, *(f"serve.{key}" for key in SERVE_KEYS), *TEXTS}


@pytest.mark.parametrize(("name", "value", "expected"), [
    ("system", "x", ("equal", "messages", "x")),
    ("stop", ["a"], ("equal", "stop", ["a"])),
    ("template", "the Modelfile's", ("translated", "--chat-template", f"{CONFIG}/chat_template.jinja")),
    ("temperature", 0.2, ("equal", "temperature", 0.2)),
    ("typical_p", 1.0, None),
    ("typical_p", 0.5, ("lost", "", None)),
    ("repeat_penalty", 1.0, ("equal", "repetition_penalty", 1.0)),
    ("repeat_penalty", 1.1, ("approximated", "repetition_penalty", 1.1)),
    ("repeat_last_n", 64, ("lost", "", None)),
    ("seed", 7, ("approximated", "--enable-deterministic-inference", True)),
    ("seed", -1, ("equal", "seed", None)),
    ("num_predict", 64, ("translated", "max_tokens", 64)),
    ("num_predict", -1, ("equal", "max_tokens", None)),
    ("num_ctx", 4096, ("equal", "--context-length", 4096)),
    ("num_keep", 4, ("lost", "", None)),
    ("num_batch", 512, ("lost", "", None)),
    ("num_gpu", -1, None),
    ("num_gpu", 20, ("lost", "", None)),
    ("num_thread", 4, ("lost", "", None)),
    ("use_mmap", True, None),
    ("use_mmap", False, ("translated", "--weight-loader-disable-mmap", True)),
    ("draft", "./d.gguf", ("lost", "", None)),
    ("draft_num_predict", 5, ("lost", "", None)),
    ("quantize", "none", ("equal", "--dtype", None)),
    ("quantize", "Q4_K_M", ("approximated", "--dtype", None)),
    ("quantize", "fp8", ("equal", "weights", "fp8")),
    ("quantize", "awq", ("equal", "weights", "awq")),
    ("quantize", "nvfp4", ("lost", "", None)),
    ("quantize", "auto", ("equal", "weights", None)),
    ("serve.max_concurrency", 8, ("equal", "--max-running-requests", 8)),
    ("serve.tensor_parallel", 1, None),
    ("serve.tensor_parallel", 2, ("equal", "--tp-size", 2)),
    ("serve.pipeline_parallel", 2, ("equal", "--pp-size", 2)),
    ("serve.gpu_memory", 0.8, ("approximated", "--mem-fraction-static", 0.8)),
    ("serve.kv_cache", "auto", None),
    ("serve.kv_cache", "bf16", ("translated", "--kv-cache-dtype", "bfloat16")),
    ("serve.kv_cache", "f16", ("approximated", "--kv-cache-dtype", "auto")),
    ("serve.kv_cache", "fp8", ("translated", "--kv-cache-dtype", "fp8_e4m3")),
    ("serve.kv_cache", "q8_0", ("approximated", "--kv-cache-dtype", "fp8_e4m3")),
    ("serve.kv_cache", "q4_0", ("approximated", "--kv-cache-dtype", "fp8_e4m3")),
    ("serve.prefix_caching", True, ("equal", "", None)),
    ("serve.prefix_caching", False, ("translated", "--disable-radix-cache", True)),
    ("serve.tool_parser", "qwen", ("equal", "--tool-call-parser", "qwen")),
    ("serve.reasoning_parser", "qwen3", ("equal", "--reasoning-parser", "qwen3")),
    ("serve.thinking", "auto", None),
    ("serve.thinking", "false", ("lost", "", None)),
    ("serve.speculative", "off", None),
    ("serve.speculative", "ngram", ("translated", "--speculative-algorithm", "NGRAM")),
    ("serve.speculative", "mtp", ("translated", "--speculative-algorithm", "NEXTN")),
    ("serve.speculative", "eagle3", ("lost", "", None)),
    ("serve.speculative", "suffix", ("lost", "", None)),
    ("serve.replicas", 2, ("lost", "", None)),
    ("serve.keep_alive", 300, ("lost", "", None)),
    ("serve.port", 8484, None),
    ("serve.task", "embed", ("translated", "--is-embedding", True)),
    ("serve.task", "rerank", ("lost", "", None)),
    ("serve.pooling", "last", ("equal", "--is-embedding", None)),
    ("serve.pooling", "mean", ("lost", "", None)),
], ids=str)
def test_what_a_setting_becomes(name: str, value: Any, expected: Any) -> None:
    assert lowered(sglang, plan({name: value})) == expected


def test_thinking_is_the_templates() -> None:
    asked = plan({"serve.thinking": "false"})
    switch = {"template_variables": {"enable_thinking": False}}
    assert lowered(sglang, asked.model_copy(update={"profile": asked.profile | switch})) == \
        ("translated", "chat_template_kwargs", {"enable_thinking": False})


def test_prompts_that_sglang_writes_itself_have_no_template() -> None:
    asked = plan({"template": "the Modelfile's"}, shape=Shape(architecture="gpt_oss"))
    assert lowered(sglang, asked) == ("lost", "", None)


@pytest.mark.parametrize("settings", [
    {}, {"seed": 7, "use_mmap": False, "serve.prefix_caching": False, "serve.kv_cache": "q4_0"},
    {"serve.tensor_parallel": 2, "serve.pipeline_parallel": 2, "serve.gpu_memory": 0.8, "serve.tool_parser": "qwen"},
    {"serve.speculative": "ngram"}, {"serve.speculative": "ngram", "draft_num_predict": 6, "template": "x"},
], ids=["nothing", "switches", "gpus", "ngram", "six"])
def test_every_flag_and_value_is_one_that_sglang_takes(settings: dict[str, Any]) -> None:
    assert KNOWN is not None
    said = [word for word in sglang.words(plan(settings)) if word.flag.startswith("-")]
    assert len({word.flag for word in said}) == len(said), "a flag is said twice"
    for word in said:
        flag = KNOWN.by_word[word.flag]
        assert (word.value is None) == (flag.type == "bool")
        assert not flag.choices or word.value in flag.choices
        assert word.reason


def test_speculation_drafts_what_the_language_says() -> None:
    for settings, tokens in (({}, "4"), ({"draft_num_predict": 6}, "6")):
        made = engines.container(plan({"serve.speculative": "ngram", **settings}))
        assert options_of(made)["--speculative-num-draft-tokens"] == tokens


def test_the_container_runs_the_program_with_the_model_that_is_mounted() -> None:
    made = engines.container(plan())
    assert made.args[:4] == ("python3", f"{CONFIG}/sglang_server.py", "--model-path", MODEL)
    assert not made.command, "NVIDIA's entry point prepares the driver"
    assert [mount.path for mount in made.mounts] == [MODEL]
    assert made.env["HF_HUB_OFFLINE"] == made.env["DO_NOT_TRACK"] == "1"
    assert (made.health, made.metrics, made.port, made.gpus, made.shm_bytes) == ("/health", "/metrics", 8000, 1, 0)
    assert {"sglang_server.py", "profile.json", "python/modelkit/contract/door.py"} <= {f.path for f in made.files}


def test_a_repository_of_the_hub_is_fetched_at_its_commit() -> None:
    made = engines.container(plan(source=ModelSource(kind="hub", name="acme/m", revision="a" * 40)))
    assert options_of(made)["--model-path"] == "acme/m" and options_of(made)["--revision"] == "a" * 40
    assert not made.mounts and "HF_HUB_OFFLINE" not in made.env
    assert [(one.variable, one.optional) for one in made.secrets] == [("HF_TOKEN", True)]


def test_a_key_is_a_reference_and_no_argument() -> None:
    made = engines.container(plan(api_key="env:KEY"))
    assert [(one.variable, one.reference) for one in made.secrets] == [("MODELKIT_API_KEY", "env:KEY")]
    assert "--api-key" not in made.args and "KEY" not in str(made.env)


def test_a_container_is_shut() -> None:
    """No remote code, no pickles, no templates of clients, no way around the contract."""
    made = engines.container(plan())
    assert options_of(made)["--load-format"] == "safetensors"
    assert options_of(made)["--sampling-defaults"] == "openai"
    assert not {"--trust-remote-code", "--trust-request-chat-template", "--grpc-port", "--config"} & set(made.args)


def test_several_gpus_share_memory() -> None:
    made = engines.container(plan({"serve.tensor_parallel": 2, "serve.pipeline_parallel": 2}))
    assert (made.gpus, made.shm_bytes) == (4, 32 << 30)


def adapter(name: str, rank: int | None, kind: str = "folder") -> ServedAdapter:
    return ServedAdapter(name=name, reference=f"./{name}", origin=Origin(kind="modelfile", where="Modelfile:2"),
                         rank=rank, source=ModelSource(kind=kind, name=f"/a/{name}"))  # type: ignore[arg-type]


def test_adapters_answer_under_their_names() -> None:
    made = engines.container(plan({"adapters": ["a", "b"]}, adapters=(adapter("tone", 16), adapter("legal", 64))))
    start = made.args.index("--lora-paths")
    assert made.args[start + 1:start + 3] == ("tone=/models/adapters/tone", "legal=/models/adapters/legal")
    assert (options_of(made)["--max-lora-rank"], options_of(made)["--max-loras-per-batch"]) == ("64", "3")
    assert "--enable-lora" in made.args and len(made.mounts) == 3


def test_ranks_that_nobody_knows_are_sglangs_to_read() -> None:
    assert "--max-lora-rank" not in engines.container(plan(adapters=(adapter("tone", None),))).args


def test_an_adapter_of_the_hub_has_no_revision() -> None:
    with pytest.raises(Failure, match="revision"):
        engines.container(plan(adapters=(adapter("tone", 8, "hub"),)))


@pytest.mark.parametrize(("asked", "code"), [
    (plan(flags=("--host", "x")), "flag-not-yours"),
    (plan(flags=("--tokenizer-worker-num", "2")), "flag-not-yours"),
    (plan(flags=("--grammar-backnd", "x")), "unknown-flag"),
    (plan(profile={"stop": ["x"] * 33}), "too-many-stops"),
    (plan({"serve.tool_parser": "hermess"}), "unknown-parser"),
    (plan({"serve.reasoning_parser": "qwen4"}), "unknown-parser"),
    (plan({"quantize": "awq"}, source=ModelSource(kind="hub", name="acme/m", revision="a" * 40)),
     "precision-not-pushed"),
], ids=["host", "workers", "misspelled", "stops", "tool parser", "reasoning parser", "precision"])
def test_what_sglang_cannot_do_is_refused(asked: Plan, code: str) -> None:
    with pytest.raises(Failure) as refused:
        engines.container(asked)
    assert refused.value.code == code and refused.value.hint


def test_fp8_is_made_while_the_weights_of_a_repository_load() -> None:
    hub = ModelSource(kind="hub", name="acme/m", revision="a" * 40)
    assert options_of(engines.container(plan({"quantize": "fp8"}, source=hub)))["--quantization"] == "fp8"
    ready = plan({"quantize": "fp8"}, source=hub, shape=Shape(precision="fp8"))
    assert "--quantization" not in engines.container(ready).args


def test_the_authors_flags_come_last() -> None:
    made = engines.container(plan(flags=("--schedule-policy", "fcfs")))
    assert made.args[-2:] == ("--schedule-policy", "fcfs")


def test_it_is_no_process_of_this_machine() -> None:
    with pytest.raises(Failure) as refused:
        engines.launch(plan())
    assert refused.value.code == "engine-in-image" and "PLATFORM" in str(refused.value.hint)
    engines.presume_machine(plan())


def test_the_parsers_of_every_family_are_sglangs() -> None:
    from modelkit.planning.families import FAMILIES

    assert KNOWN is not None
    assert {one.sglang.tool for one in FAMILIES} - {""} <= set(KNOWN.lists["tool_parsers"])
    assert {one.sglang.reasoning for one in FAMILIES} - {""} <= set(KNOWN.lists["reasoning_parsers"])


def test_the_image_is_of_the_version_that_was_read() -> None:
    engine, image = image_engine("sglang", "", None, "H100")
    assert (engine.version, image) == ("0.5.23", "docker.io/lmsysorg/sglang:v0.5.23")
    with pytest.raises(Failure):
        image_engine("sglang", "", None, "cpu")


@pytest.mark.parametrize(("tail", "says"), [
    ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: "
     "mem_fraction_static=0.2", "attention cache"),
    ("ValueError: Warning: User-specified context_length (9000) is greater than the derived context_length (8192). "
     "This may", "num_ctx 8192"),
    ("ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported", "FooForCausalLM"),
    ("sglang serve: error: unrecognized arguments: --foo 1", "--foo 1"),
    ("sglang serve: error: argument --tp-size: invalid int value: 'x'", "--tp-size"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried", "GPU's memory"),
    ("modelkit: SGLang's use_ray must be False: otherwise", "use_ray"),
    ("something else", None),
])
def test_last_words(tail: str, says: str | None) -> None:
    said = engines.explain_exit("sglang", ["loading", tail])
    assert said is None if says is None else says in str(said)


@pytest.mark.parametrize("platform", ["compose", "kubernetes"])
def test_a_stage_is_planned_whole(platform: str) -> None:
    """Nothing is dropped: each setting has a verdict, and what is not equal says why."""
    asked = plan_of("sglang", platform)
    assert {s.name for s in asked.settings} - {"engine", "platform"} <= {one.setting for one in asked.lowered}
    assert all(one.reason for one in asked.lowered if one.verdict in ("lost", "approximated"))
    assert engines.container(asked).gpus == 2


def test_an_engine_without_a_table_is_not_held_against_one() -> None:
    newer = plan(flags=("--anything", "1")).model_copy(
        update={"engine": Engine(name="sglang", provider="image", version="0.9.0", command=())})
    assert "--anything" in engines.container(newer).args


def test_a_setting_keeps_its_origin() -> None:
    found = next(word for word in sglang.words(plan({"num_ctx": 4096})) if word.setting == "num_ctx")
    assert (found.flag, found.origin.where) == ("--context-length", "Modelfile:3")
    assert isinstance(plan().setting("num_ctx"), Setting | None)
