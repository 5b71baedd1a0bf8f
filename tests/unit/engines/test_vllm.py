"""vLLM's table, launch and last words. No vLLM here: tests/live starts the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from modelkit import engines
from modelkit.contract.profile import Profile
from modelkit.engines import vllm
from modelkit.engines.flags import flags, presume_flags
from modelkit.engines.launch import RUN, Launch
from modelkit.engines.table import words
from modelkit.failure import Failure
from modelkit.language.parameters import PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.planning.plan import Engine, Origin, Plan, Setting, Weights

KNOWN = flags("vllm", "0.32.0")


def plan(settings: dict[str, Any] | None = None, *, variant: str = "cpu", profile: Profile | None = None,
         **more: Any) -> Plan:
    profile = profile or Profile(name="support", dialect="vllm", context_length=4096, stop=("a", "b"))
    return Plan(**{
        "name": profile.name, "modelfile": "Modelfile", "stage": "prod", "platform": "process", "engine_name": "vllm",
        "engine": Engine(name="vllm", provider="environment", version="0.32.0", command=("/e/bin/vllm",),
                         variant=variant),
        "reference": "./m.gguf",
        "weights": Weights(reference="./m.gguf", form="safetensors", path="/m/folder", digest="sha256:1", size=10**9),
        "context_length": 4096, "max_concurrency": 16, "kv_bytes_per_token": 1024, "cpus": 8,
        "profile": profile.as_json(),
        "settings": tuple(Setting(name=name, value=value, origin=Origin(kind="modelfile", where="Modelfile:3"))
                          for name, value in (settings or {}).items()),
        **more})


def lowered(name: str, value: Any, variant: str = "cpu") -> tuple[str, str, Any] | None:
    """Verdict, target and value of one setting."""
    found = vllm.lower(plan({name: value}, variant=variant))
    return (found[0].verdict, found[0].target, found[0].value) if found else None


def option(launch: Launch, flag: str) -> str:
    return launch.argv[launch.argv.index(flag) + 1]


# The table


def test_every_word_of_the_language_has_a_row() -> None:
    said = set(PARAMETERS) | {f"serve.{key}" for key in SERVE_KEYS} | {"system", "messages", "template", "quantize",
                                                                                 "adapters", "draft", "projector"}
    assert said == set(vllm.SETTINGS)


@pytest.mark.parametrize(("name", "value", "cpu", "cuda"), [
    ("num_ctx", 4096, ("equal", "--max-model-len", 4096), None),
    ("serve.max_concurrency", 8, ("equal", "--max-num-seqs", 8), None),
    ("temperature", 0.2, ("equal", "temperature", 0.2), None),
    ("repeat_penalty", 1.1, ("translated", "repetition_penalty", 1.1), None),
    ("repeat_last_n", 64, ("approximated", "repetition_penalty", None), None),
    ("repeat_last_n", -1, ("equal", "repetition_penalty", None), None),
    ("num_predict", 64, ("translated", "max_tokens", 64), None),
    ("num_predict", -1, ("equal", "max_tokens", None), None),
    ("seed", 7, ("approximated", "seed", 7), None),
    ("seed", -1, ("equal", "seed", None), None),
    ("typical_p", 1.0, None, None),
    ("typical_p", 0.9, ("lost", "", None), None),
    ("num_keep", 4, ("lost", "", None), None),
    ("num_gpu", -1, ("equal", "", None), None),
    ("num_gpu", 20, ("lost", "", None), None),
    ("num_thread", 3, ("translated", "OMP_NUM_THREADS", 3), ("lost", "", None)),
    ("template", "the Modelfile's", ("translated", "--chat-template", f"{RUN}/chat_template.jinja"), None),
    ("serve.gpu_memory", 0.5, ("lost", "", None), ("equal", "--gpu-memory-utilization", 0.5)),
    ("serve.tensor_parallel", 2, ("lost", "", None), ("equal", "--tensor-parallel-size", 2)),
    ("serve.tensor_parallel", 1, None, None),
    ("serve.kv_cache", "auto", None, None),
    ("serve.kv_cache", "fp8", ("translated", "--kv-cache-dtype", "fp8"), None),
    ("serve.kv_cache", "q8_0", ("approximated", "--kv-cache-dtype", "fp8"), None),
    ("serve.kv_cache", "f16", ("approximated", "--kv-cache-dtype", "auto"),
     ("translated", "--kv-cache-dtype", "float16")),
    ("serve.prefix_caching", True, ("translated", "--enable-prefix-caching", True), None),
    ("serve.prefix_caching", False, ("translated", "--no-enable-prefix-caching", True), None),
    ("serve.tool_parser", "hermes", ("equal", "--tool-call-parser", "hermes"), None),
    ("serve.reasoning_parser", "qwen3", ("equal", "--reasoning-parser", "qwen3"), None),
    ("serve.replicas", 1, None, None),
    ("serve.replicas", 2, ("lost", "", None), None),
    ("serve.keep_alive", 300, ("lost", "", None), None),
    ("serve.thinking", "auto", None, None),
    ("serve.thinking", "false", ("lost", "", None), None),
    ("serve.port", 8484, None, None),
    ("quantize", "none", ("equal", "--dtype", None), None),
    ("quantize", "Q4_K_M", ("approximated", "--dtype", None), None),
    ("quantize", "fp8", ("equal", "weights", "fp8"), None),
    ("quantize", "awq", ("equal", "weights", "awq"), None),
    ("quantize", "nvfp4", ("lost", "", None), None),
    ("quantize", "auto", ("equal", "weights", None), None),
], ids=lambda v: str(v) if isinstance(v, (str, int, float)) else "")
def test_what_a_setting_becomes(name: str, value: Any, cpu: Any, cuda: Any) -> None:
    assert lowered(name, value) == cpu
    if cuda is not None:
        assert lowered(name, value, "cuda") == cuda


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_what_is_lost_or_near_says_why_and_what_is_passed_is_a_flag(variant: str) -> None:
    values = {name: row.default if (row := PARAMETERS.get(name)) else SERVE_KEYS[name[6:]].default
              for name in vllm.SETTINGS if name in PARAMETERS or name[6:] in SERVE_KEYS}
    values |= {"serve.kv_cache": "q4_0", "serve.thinking": "high", "serve.replicas": 3, "typical_p": 0.5}
    found = vllm.lower(plan({name: value for name, value in values.items() if value is not None}, variant=variant))
    assert not [one.setting for one in found if one.verdict in ("lost", "approximated") and not one.reason]
    assert not [one.setting for one in found if one.verdict != "lost" and not one.target and not one.reason]
    assert {word for word in words(found) if word.startswith("--")} <= KNOWN


# The launch


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_a_launch_serves_the_folder_on_the_socket_under_the_name(variant: str) -> None:
    launch = vllm.launch(plan({"num_ctx": 4096, "serve.max_concurrency": 16}, variant=variant))
    assert launch.argv[:3] == ("/e/bin/vllm", "serve", "/m/folder")
    assert option(launch, "--uds") == f"{RUN}/engine.sock"
    assert option(launch, "--served-model-name") == "support"
    assert (option(launch, "--max-model-len"), option(launch, "--max-num-seqs")) == ("4096", "16")
    named = [word for word in launch.argv if word.startswith("--")]
    assert len(named) == len(set(named)), "a flag is said twice"
    assert set(named) <= KNOWN
    assert launch.ready_logprobs and launch.start_seconds > 300


@pytest.mark.parametrize("variant", ["cpu", "cuda"])
def test_a_launch_is_shut(variant: str) -> None:
    """No remote code, no pickles, no key in the process list, no downloads, no telemetry, no fetching of media."""
    launch = vllm.launch(plan(variant=variant, api_key="env:KEY"))
    assert not {"--trust-remote-code", "--api-key", "--host", "--port"} & set(launch.argv)
    assert option(launch, "--load-format") == "safetensors"
    assert option(launch, "--allowed-media-domains").endswith(".invalid")
    assert {"HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"} <= set(launch.env)
    assert launch.env["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert (launch.env["GLOO_SOCKET_IFNAME"], launch.env["VLLM_HOST_IP"]) == ("lo", "127.0.0.1")
    assert not {"VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_API_KEY"} & set(launch.env)


def test_on_cpus_nothing_is_compiled_and_threads_are_said() -> None:
    launch = vllm.launch(plan())
    assert {"--enforce-eager", "--kv-cache-memory-bytes"} <= set(launch.argv)
    assert option(launch, "--dtype") == "bfloat16"
    assert launch.env["TORCH_COMPILE_DISABLE"] == "1"
    assert (launch.env["VLLM_ENABLE_V1_MULTIPROCESSING"], launch.env["OMP_NUM_THREADS"]) == ("0", "7")
    assert vllm.launch(plan({"num_thread": 3})).env["OMP_NUM_THREADS"] == "3"
    assert vllm.launch(plan({"num_thread": 0}, cpus=1)).env["OMP_NUM_THREADS"] == "1"


def test_on_gpus_vllm_compiles_and_sizes_its_cache_itself() -> None:
    launch = vllm.launch(plan({"serve.gpu_memory": 0.5}, variant="cuda"))
    assert not {"--enforce-eager", "--kv-cache-memory-bytes"} & set(launch.argv)
    assert option(launch, "--gpu-memory-utilization") == "0.5"
    assert not {"TORCH_COMPILE_DISABLE", "OMP_NUM_THREADS"} & set(launch.env)


@pytest.mark.parametrize(("context", "conversations", "per_token", "at_least", "at_most"), [
    (4096, 16, 1024, 4096 * 16 * 1024, 2**27),  # all of them, and little more
    (131072, 64, 131072, 131072 * 131072, 2**34 + 2**26),  # beyond the bound: one conversation
    (4096, 64, 131072, 4096 * 131072, 2**32 + 2**26),  # beyond the bound: the bound
    (4096, 1, None, 4096 * 100_000, 2**30),  # a shape that nobody knows
])
def test_the_cpu_cache_fits_the_conversations_within_bounds(context: int, conversations: int, per_token: int | None,
                                                            at_least: int, at_most: int) -> None:
    asked = plan(context_length=context, max_concurrency=conversations, kv_bytes_per_token=per_token)
    assert at_least <= vllm.kv_cache_bytes(asked) <= at_most


def test_same_plan_same_bytes() -> None:
    first, second = (json.dumps(asdict(vllm.launch(plan({"num_ctx": 4096}, chat_template="{{ x }}")))) for _ in "ab")
    assert first == second


def test_stop_strings_of_both_sides_fit_under_vllms_own_limit() -> None:
    profile = Profile(name="m", dialect="vllm", context_length=64, stop=tuple("abcdef"))
    assert int(vllm.launch(plan(profile=profile)).env["VLLM_MAX_STOP_STRINGS"]) == profile.limits.stop + 6


def test_the_template_is_a_file_and_tools_are_switched_on() -> None:
    launch = vllm.launch(plan({"template": "the Modelfile's", "serve.tool_parser": "hermes"}, chat_template="{{ x }}"))
    assert option(launch, "--chat-template") == f"{RUN}/chat_template.jinja"
    assert {f.path: f.content for f in launch.files}["chat_template.jinja"] == "{{ x }}"
    assert option(launch, "--tool-call-parser") == "hermes" and "--enable-auto-tool-choice" in launch.argv
    # Forced tools need a parser there, too; that the model may not choose by itself is the contract's to say.
    assert option(vllm.launch(plan()), "--tool-call-parser") == "hermes"


def test_the_contract_comes_along_and_reads_its_profile(tmp_path: Path) -> None:
    """As vLLM does it: another Python, modelkit not installed, the class by its path, the profile by a variable."""
    profile = Profile(name="m", dialect="vllm", context_length=64, system=f"{RUN} is a word, and so is 'é\n'")
    launch = vllm.launch(plan(profile=profile))
    for file in launch.files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content.replace(RUN, str(tmp_path)), "utf-8")
    code = ("import importlib, os, sys; sys.path.insert(0, os.environ['PYTHONPATH'])\n"
            f"module, _, name = {vllm.MIDDLEWARE!r}.rpartition('.')\n"
            "module = importlib.import_module(module)\n"
            "print(repr(getattr(module, name)(None).profile.system), module.__file__)")
    env = {name: value.replace(RUN, str(tmp_path)) for name, value in launch.env.items()}
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], env=env, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{profile.system!r} {tmp_path}/python/modelkit/contract/middleware.py"


# The author's own flags


def test_flags_are_passed_last_as_written() -> None:
    words_ = ("--max-num-batched-tokens", "4096", "--enable-prefix-caching")
    assert vllm.launch(plan(flags=words_)).argv[-3:] == words_


@pytest.mark.parametrize(("said", "code", "says"), [
    (("--enforce-eagre",), "unknown-flag", "--enforce-eager"),
    (("--no-such-thing-at-all", "3"), "unknown-flag", "--no-such-thing-at-all"),
    (("--trust-remote-code",), "flag-not-yours", "--trust-remote-code"),
    (("--trust_remote_code",), "flag-not-yours", "--trust-remote-code"),
    (("--api-key=secret",), "flag-not-yours", "--api-key"),
    (("--uds", "/tmp/x"), "flag-not-yours", "--uds"),
])
def test_a_flag_that_cannot_be_said_here_is_one_error(said: tuple[str, ...], code: str, says: str) -> None:
    with pytest.raises(Failure) as raised:
        vllm.launch(plan(flags=said))
    assert raised.value.code == code
    assert says in f"{raised.value.message} {raised.value.hint}"
    assert "secret" not in f"{raised.value}"


def test_flags_in_their_other_spellings_are_known() -> None:
    presume_flags("vllm", "0.32.1", ["--no-enable-prefix-caching", "--max_num_batched_tokens=1", "--hf-overrides.x",
                                     "-1", "-tp", "2", "--seed", "-3"])
    presume_flags("vllm", "0.99.0", ["--of-a-version-that-has-no-list"])


def test_an_unknown_parser_is_said_before_vllm_is_started() -> None:
    with pytest.raises(Failure) as raised:
        vllm.launch(plan({"serve.tool_parser": "hermez"}))
    assert raised.value.code == "unknown-parser"
    assert "`hermes`" in str(raised.value.hint) and "Modelfile:3" in raised.value.message
    vllm.launch(plan({"serve.tool_parser": "mine"}, flags=("--tool-parser-plugin", "/p.py")))


# Last words and the registry

_LAST_WORDS = {
    "To serve at least one request with the model's max seq len (2048), (0.04 GiB KV cache is needed, which is larger "
    "than the available KV cache memory (0.01 GiB). Based on the available memory, the estimated maximum model length "
    "is 384. Try increasing": ("2048", "0.04 GiB", "0.01 GiB", "num_ctx"),
    "ValueError: Available memory on node 0 (20.1/23.4 GiB) on kv cache allocation is less than requested memory for "
    "kv (83.82 GiB). Decrease": ("83.82 GiB", "20.1 GiB", "max_concurrency"),
    "ValueError: Free memory on device cuda:0 (3.2/79.1 GiB) on startup is less than desired GPU memory utilization "
    "(0.92, 72.8 GiB).": ("3.2", "79.1", "0.92", "gpu_memory"),
    "torch.OutOfMemoryError: CUDA out of memory. Tried": ("GPU's memory", "num_ctx"),
    "RuntimeError: [enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate": ("machine's memory",),
    "Model architectures ['NoSuchForCausalLM'] are not supported for now.": ("NoSuchForCausalLM", "llama.cpp"),
    "  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len "
    "(max_position_embeddings=8192 or model_max_length=None in model's config.json).": ("99999", "8192"),
    "OSError: AF_UNIX path too long": ("MODELKIT_HOME",),
    "torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler found": ("g++",),
    "vllm: error: unrecognized arguments: --no-such-flag 3": ("--no-such-flag 3", "FLAG"),
    "vllm serve: error: argument --max-num-batched-tokens: invalid human_readable_int value: 'abc'":
        ("--max-num-batched-tokens", "'abc'"),
    "RuntimeError: Failed to infer device type, please set": ("GPU", "--variant cpu"),
    "RuntimeError: Cannot find any model weights with `/m`": ("safetensors",),
    "ModuleNotFoundError: No module named 'zmq'": ("zmq", "--reinstall"),
}


@pytest.mark.parametrize("last", _LAST_WORDS, ids=lambda v: v.strip()[:30])
def test_known_last_words_are_explained(last: str) -> None:
    said = engines.explain_exit("vllm", ["INFO loading", last, "RuntimeError: Engine core initialization failed."])
    assert said is not None
    assert [word for word in _LAST_WORDS[last] if word not in said] == []
    assert "\n" not in said and "\\" not in said


def test_unknown_last_words_stay_unexplained() -> None:
    assert engines.explain_exit("vllm", ["INFO all is well"]) is None


def test_the_registry() -> None:
    assert engines.engine_module("vllm") is vllm
    assert engines.launch(plan()).argv == vllm.launch(plan()).argv  # a function still, though a submodule has its name
    assert engines.lower(plan({"num_ctx": 1})) == vllm.lower(plan({"num_ctx": 1}))
    with pytest.raises(Failure) as raised:
        engines.engine_module("ollama")
    assert raised.value.code == "unknown-engine"


def test_the_cache_is_kept_below_modelkits_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path))
    root = vllm.launch(plan()).env["VLLM_CACHE_ROOT"]
    assert os.path.commonpath([root, tmp_path / "cache"]) == str(tmp_path / "cache") and "0.32.0" in root


@pytest.mark.parametrize(("precision", "flags", "variant", "fits"), [
    ("int8", ("avx2",), "cpu", False), ("int8", ("avx2", "avx_vnni"), "cpu", True),
    ("int8", ("avx512f", "avx512_vnni"), "cpu", True), ("int8", ("avx512f",), "cpu", False),
    ("w4a16", ("avx2", "avx_vnni"), "cpu", False), ("gptq", ("avx512f",), "cpu", True),
    ("awq", ("avx2",), "cpu", False),
    ("fp8", ("avx2",), "cpu", True), ("int8", (), "cpu", True), ("w4a16", ("avx2",), "cuda", True),
])
def test_a_precision_that_the_processor_computes_wrongly(precision: str, flags: tuple[str, ...], variant: str,
                                                          fits: bool) -> None:
    made = plan({"quantize": precision}, variant=variant, cpu_flags=flags)
    assert (vllm.lower(made)[0].verdict == "equal") == fits
    if fits:
        vllm.presume_machine(made)
        return
    with pytest.raises(Failure, match="Modelfile:3") as failed:
        vllm.launch(made)
    assert failed.value.code == "precision-not-here" and "fp8" in (failed.value.hint or "")
