"""llama-server's table, its launch, and what is read out of last words."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelkit.contract.profile import Profile
from modelkit.engines import llama_server
from modelkit.engines.launch import RUN, Launch
from modelkit.engines.llama_host import attributes
from modelkit.engines.llama_host.config import Config
from modelkit.engines.llama_host.server import StartFailed, start
from modelkit.failure import Failure
from modelkit.language.parameters import DEPRECATED, PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.planning.plan import Engine, Lowered, Origin, Plan, Setting, Weights

WHEEL = Engine(name="llama.cpp", provider="xllamacpp", version="2026.10.11549", command=("/venv/bin/python",))
BINARY = Engine(name="llama.cpp", provider="llama-server", version="11434", command=("/bin/llama-server",))


def plan(engine: Engine | None = WHEEL, flags: tuple[str, ...] = (), chat_template: str | None = None,
         context_length: int = 2048, max_concurrency: int = 4, **settings: Any) -> Plan:
    profile = Profile(name="demo", dialect="llama-server", context_length=context_length)
    named = {name.replace("serve_", "serve."): value for name, value in settings.items()}
    return Plan(
        name="demo", modelfile="Modelfile", stage="dev", platform="process", engine=engine, engine_name="llama.cpp",
        reference="demo", context_length=context_length, max_concurrency=max_concurrency, profile=profile.as_json(),
        weights=Weights(reference="demo", form="gguf", path="/models/demo.gguf", digest="sha256:0", size=100_000_000),
        settings=tuple(Setting(name=n, value=v, origin=Origin(kind="modelfile")) for n, v in named.items()),
        flags=flags, chat_template=chat_template)


def lowered(**what: Any) -> dict[str, Lowered]:
    return {one.setting: one for one in llama_server.lower(plan(**what))}


def config(launch: Launch) -> dict[str, Any]:
    text = next(f.content for f in launch.files if f.path == "llama_host.json")
    value: dict[str, Any] = json.loads(text)
    return value


def flags(**what: Any) -> dict[str, list[str]]:
    return {words[0]: words[1:] for words in config(llama_server.launch(plan(**what)))["flags"]}


# the table

ELSEWHERE = {"serve.host", "serve.port", "serve.api_key", "serve.replicas", "serve.keep_alive", "serve.task"}


def test_every_parameter_and_every_serving_key_has_a_row() -> None:
    language = {*PARAMETERS, *DEPRECATED, *(f"serve.{key}" for key in SERVE_KEYS)}
    assert language - ELSEWHERE <= set(llama_server.SETTINGS)
    assert set(llama_server.SETTINGS) - language == {"template", "system", "messages", "quantize", "adapters", "draft",
                "projector"}


@pytest.mark.parametrize(("setting", "value", "verdict", "target", "means"), [
    ("num_ctx", 2048, "translated", "--ctx-size", 8192),
    ("serve.max_concurrency", 4, "equal", "--parallel", 4),
    ("num_batch", 256, "translated", "--batch-size", 256),
    ("quantize", "Q4_K_M", "equal", "weights", "Q4_K_M"),
    ("quantize", "fp8", "lost", "", None),
    ("quantize", "auto", "equal", "weights", None),
    ("num_thread", 3, "equal", "--threads", 3),
    ("num_gpu", 12, "equal", "--gpu-layers", 12),
    ("main_gpu", 1, "translated", "--main-gpu", 1),
    ("use_mmap", False, "translated", "--load-mode", "none"),
    ("serve.kv_cache", "q8_0", "equal", "--cache-type-k", "q8_0"),
    ("serve.kv_cache", "fp8", "approximated", "--cache-type-k", "q8_0"),
    ("serve.prefix_caching", False, "translated", "--no-cache-prompt", True),
    ("temperature", 0.3, "equal", "temperature", 0.3),
    ("repeat_penalty", 1.1, "translated", "repeat_penalty", 1.1),
    ("num_predict", 64, "translated", "max_tokens", 64),
    ("repeat_last_n", -1, "equal", "repeat_last_n", 2048),
    ("repeat_last_n", 64, "approximated", "repeat_last_n", 2048),
    ("typical_p", 0.9, "lost", "", None),
    ("num_keep", 4, "lost", "", None),
    ("serve.gpu_memory", 0.5, "lost", "", None),
    ("mirostat", 1, "lost", "", None),
    ("serve.tool_parser", "hermes", "approximated", "chat template", "hermes"),
])
def test_a_setting_becomes(setting: str, value: Any, verdict: str, target: str, means: Any) -> None:
    one = lowered(**{setting.replace("serve.", "serve_"): value})[setting]
    assert (one.verdict, one.target, one.value) == (verdict, target, means)
    assert one.reason or verdict in ("equal", "translated")


@pytest.mark.parametrize("quiet", [
    {"num_gpu": -1}, {"num_thread": 0}, {"use_mmap": True}, {"serve_kv_cache": "auto"}, {"serve_prefix_caching": True},
    {"typical_p": 1.0}, {"serve_gpu_memory": 0.9}, {"serve_port": 8484},
])
def test_what_asks_nothing_of_the_engine_is_not_lowered(quiet: dict[str, Any]) -> None:
    assert llama_server.lower(plan(**quiet)) == ()


def test_a_context_that_llama_cpp_rounds_is_said_to_be_approximated() -> None:
    one = lowered(context_length=1000, num_ctx=1000)["num_ctx"]
    assert (one.verdict, one.value) == ("approximated", 4000)
    assert "1024" in one.reason


# flags of the author

def test_an_authors_flag_is_passed_as_written() -> None:
    said = ("--flash-attn", "on", "--n-gpu-layers", "-1", "--swa-full")
    assert [one.verdict for one in llama_server.lower(plan(flags=said))] == ["equal"] * 3
    written = config(llama_server.launch(plan(flags=said)))["flags"]
    assert written[-3:] == [["--flash-attn", "on"], ["--n-gpu-layers", "-1"], ["--swa-full"]]


@pytest.mark.parametrize(("flag", "reason"), [
    (("--host", "0.0.0.0"), "modelkit says it itself"),
    (("-c", "9"), "modelkit says it itself"),
    (("--port", "80"), "modelkit says it itself"),
    (("--tools", "all"), "open more than this API"),
    (("--slots",), "open more than this API"),
])
@pytest.mark.parametrize("engine", [WHEEL, BINARY])
def test_a_flag_that_would_break_the_promise_is_lost(flag: tuple[str, ...], reason: str, engine: Engine) -> None:
    (one,) = llama_server.lower(plan(flags=flag, engine=engine))
    assert one.verdict == "lost" and reason in one.reason
    assert list(flag) not in config(llama_server.launch(plan(flags=flag, engine=engine)))["flags"]


@pytest.mark.parametrize(("flag", "reason"), [
    (("--dry-run-forever",), "no such setting"),
    (("--threads-batch", "many"), "no value for"),
    (("--flash-attn",), "takes one value"),
    (("--swa-full", "yes"), "takes no value"),
])
def test_the_wheel_takes_only_flags_that_it_has_an_attribute_for(flag: tuple[str, ...], reason: str) -> None:
    (one,) = llama_server.lower(plan(flags=flag))
    assert one.verdict == "lost" and reason in one.reason
    (other,) = llama_server.lower(plan(flags=flag, engine=BINARY))
    assert other.verdict == "equal"  # a binary is asked when it starts


# the launch

def test_the_launch_is_one_host_process_in_the_run_directory() -> None:
    launch = llama_server.launch(plan())
    assert launch.argv == ("/venv/bin/python", "-P", "-m", "modelkit.engines.llama_host", "--config",
                           f"{RUN}/llama_host.json")
    said = config(launch)
    assert said["socket"] == f"{RUN}/engine.sock" and said["upstream"].endswith(".sock")
    profile = next(f.content for f in launch.files if f.path == "profile.json")
    assert Profile.loads(profile).name == "demo"
    assert all(file.mode == 0o600 for file in launch.files)


def test_a_launch_is_the_same_bytes_every_time() -> None:
    assert llama_server.launch(plan(num_thread=2)) == llama_server.launch(plan(num_thread=2))


def test_the_configuration_survives_its_file(tmp_path: Path) -> None:
    file = next(f for f in llama_server.launch(plan()).files if f.path == "llama_host.json")
    (tmp_path / "c.json").write_text(file.content)
    read = Config.read(tmp_path / "c.json")
    assert read.provider == "xllamacpp" and ("--parallel", "4") in read.flags and read.context_length == 2048


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "modelkit.llama-host/1"}'])
def test_a_configuration_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError):
        Config.read(tmp_path / "c.json")


def test_context_and_slots_are_said_together() -> None:
    said = flags(context_length=4096, max_concurrency=8, num_ctx=4096)
    assert said["--ctx-size"] == ["32768"] and said["--parallel"] == ["8"]


def test_steps_are_small_unless_the_author_says_otherwise() -> None:
    assert flags()["--batch-size"] == flags()["--ubatch-size"] == ["512"]
    assert flags(num_batch=128)["--batch-size"] == flags(num_batch=128)["--ubatch-size"] == ["128"]


def test_one_gpu_means_no_splitting_and_a_cache_type_is_for_both_halves() -> None:
    said = flags(main_gpu=1, serve_kv_cache="q8_0")
    assert said["--split-mode"] == ["none"] and said["--main-gpu"] == ["1"]
    assert said["--cache-type-k"] == said["--cache-type-v"] == ["q8_0"]


def test_threads_are_left_to_the_host_unless_said() -> None:
    assert "--threads" not in flags()
    assert flags(num_thread=3)["--threads"] == ["3"]


def test_a_template_is_a_file_beside_the_socket() -> None:
    launch = llama_server.launch(plan(chat_template="{% for m in messages %}{% endfor %}", template="the Modelfile's"))
    assert next(f.content for f in launch.files if f.path == "chat_template.jinja").startswith("{%")
    assert ["--chat-template-file", f"{RUN}/chat_template.jinja"] in config(launch)["flags"]


def test_a_binary_is_started_by_this_python() -> None:
    launch = llama_server.launch(plan(engine=BINARY))
    assert launch.argv[0] == sys.executable
    assert config(launch)["command"] == ["/bin/llama-server"]


def test_a_plan_that_still_needs_something_does_not_start() -> None:
    with pytest.raises(Failure) as failure:
        llama_server.launch(plan(engine=None))
    assert failure.value.code == "not-ready"


def test_whatever_a_launch_says_the_wheel_understands() -> None:
    everything = plan(num_thread=2, num_gpu=1, main_gpu=0, use_mmap=False, num_batch=64, serve_kv_cache="q8_0",
                      serve_prefix_caching=False, template="x", chat_template="{% if x %}{% endif %}")
    for words in config(llama_server.launch(everything))["flags"]:
        assert attributes.problem(tuple(words)) is None, words


# last words

@pytest.mark.parametrize(("line", "message", "hint"), [
    ("modelkit: llama.cpp: /m/x.gguf is not a GGUF file", "/m/x.gguf is not a GGUF file", "FROM"),
    ("modelkit: llama.cpp: cannot read /m/x.gguf: No such file or directory", "/m/x.gguf is gone", "fetch"),
    ("E llama_model_load: error loading model: tensor 'blk.1' data is not within the file bounds", "cut short",
     "again"),
    ("0.00.007.972 E read: string length 20 exceeds remaining file size 18 bytes", "cut short", "again"),
    ("0.00.007.972 E srv          init: something  new", "llama.cpp says: srv init: something new", "logs"),
    ("E llama_model_load: error loading model: unknown model architecture: 'gpt9'", "gpt9", "upgrade"),
    ("E llama_init_from_model: quantized V cache requires flash_attn to be enabled", "flash attention", "kv_cache"),
    ("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99", "out of memory", "num_ctx"),
    ("error: invalid argument: --frob", "--frob", "FLAG"),
    ("modelkit: llama.cpp: `--flash-attn maybe`: `maybe` is no value for `--flash-attn`", "--flash-attn", "FLAG"),
    ("modelkit: llama.cpp: llama-server was killed by SIGILL while it was starting", "instructions", "AVX2"),
    ("common_chat_templates_init: failed to parse chat template (defaulting to chatml)", "chat template", "TEMPLATE"),
    ("modelkit: llama.cpp: xllamacpp cannot be loaded: libgomp.so.1: cannot open shared object file: No such file",
     "libgomp.so.1", "libgomp1"),
    ("modelkit: llama.cpp: xllamacpp cannot be loaded: undefined symbol: x", "undefined symbol", "reinstall"),
    ("/src/ggml.c:17: GGML_ASSERT(n <= m) failed", "n <= m", "report"),
])
def test_last_words_are_explained(line: str, message: str, hint: str) -> None:
    found = llama_server.explain_exit(["0.00.1 I srv init: initializing", line])
    assert found is not None
    assert message in found[0] and hint in found[1]


def test_words_that_nobody_knows_are_left_to_speak_for_themselves() -> None:
    assert llama_server.explain_exit(["0.00.1 I srv init: initializing", "all is well"]) is None


def test_each_adapter_is_said_to_the_wheel_in_its_place() -> None:
    wheel = SimpleNamespace(CommonAdapterLoraInfo=lambda path: path)
    params = SimpleNamespace(lora_adapters=[])
    for path in ("/a/one.gguf", "/a/two.gguf", "/a/one.gguf"):
        attributes.apply(params, ("--lora", path), wheel)
    assert params.lora_adapters == ["/a/one.gguf", "/a/two.gguf", "/a/one.gguf"]


def test_an_adapter_that_is_gone_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", lambda mask: mask)
    model, gone = tmp_path / "model.gguf", tmp_path / "tone.gguf"
    model.write_bytes(b"GGUF")
    config = Config(provider="llama-server", command=("/none",), flags=(("--lora", str(gone)),), optional=(),
                    model=str(model), socket="", upstream=str(tmp_path / "l.sock"), profile="", fingerprint="",
                    context_length=1, slots=1)
    with pytest.raises(StartFailed, match=r"cannot read .*tone\.gguf") as caught:
        start(config)
    explained = llama_server.explain_exit([str(caught.value)])
    assert explained is not None and "tone.gguf is gone" in explained[0]
