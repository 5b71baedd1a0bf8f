"""Our own engine as llama.cpp: its table, its words, its configuration, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from modelkit import engines
from modelkit.contract.profile import Profile
from modelkit.engines import llama_cpp, llama_server
from modelkit.engines.expected import expected
from modelkit.engines.flags import flags as flags_of
from modelkit.engines.launch import RUN, Launch
from modelkit.engines.llama_cpp_words import BY_LANGUAGE, config
from modelkit.failure import Failure
from modelkit.language.parameters import DEPRECATED, PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.llamacpp.config import Config
from modelkit.planning.plan import Engine, Lowered, Origin, Plan, ServedAdapter, Setting, Weights

OURS = Engine(name="llama.cpp", provider="llama-cpp-python", version="0.3.36", command=(sys.executable,),
              variant="cpu")
ELSEWHERE = OURS.model_copy(update={"command": ("/env/bin/python",), "variant": "cuda"})
DRAFT = Weights(reference="d", form="gguf", path="/models/draft.gguf", digest="sha256:1", size=1)
GIB = 1024**3


def plan(engine: Engine | None = OURS, context_length: int = 1000, max_concurrency: int = 3, size: int = 100_000_000,
         more: dict[str, Any] | None = None, **settings: Any) -> Plan:
    profile = Profile(name="demo", dialect="llamacpp", context_length=context_length)
    named = {name.replace("serve_", "serve."): value for name, value in settings.items()}
    return Plan(**{
        "name": "demo", "modelfile": "/app/Modelfile", "stage": "dev", "platform": "process", "engine": engine,
        "engine_name": "llama.cpp", "reference": "demo", "context_length": context_length,
        "max_concurrency": max_concurrency, "profile": profile.as_json(), "cpus": 2,
        "weights": Weights(reference="demo", form="gguf", path="/models/demo.gguf", digest="sha256:0", size=size),
        "settings": tuple(Setting(name=n, value=v, origin=Origin(kind="modelfile", where="Modelfile:3"))
                          for n, v in named.items()), **(more or {})})


def lowered(made: Plan) -> dict[str, Lowered]:
    return {one.setting: one for one in llama_cpp.lower(made)}


def written(launch: Launch) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(next(f.content for f in launch.files if f.path == "llamacpp.json"))
    return said


# the table

def test_every_parameter_and_every_serving_key_has_a_row() -> None:
    language = {*PARAMETERS, *DEPRECATED, *(f"serve.{key}" for key in SERVE_KEYS)}
    platforms = {"serve.host", "serve.port", "serve.api_key", "serve.replicas", "serve.keep_alive"}
    assert language - platforms <= set(llama_cpp.SETTINGS)
    assert set(llama_cpp.SETTINGS) - language == {"template", "system", "messages", "quantize", "adapters", "draft",
                "projector"}
    assert set(llama_cpp.SETTINGS) == set(llama_server.SETTINGS) | {"serve.task", "serve.pooling", "serve.matryoshka"}


@pytest.mark.parametrize(("setting", "value", "verdict", "target", "means"), [
    ("num_ctx", 1000, "equal", "--context-length", 1000),
    ("serve.max_concurrency", 4, "equal", "--max-concurrency", 4),
    ("num_batch", 256, "equal", "--batch-tokens", 256),
    ("quantize", "Q4_K_M", "equal", "weights", "Q4_K_M"),
    ("num_thread", 3, "equal", "--threads", 3),
    ("num_gpu", 0, "equal", "--gpu-layers", 0),
    ("num_gpu", 12, "lost", "", None),
    ("main_gpu", 1, "lost", "", None),
    ("use_mmap", False, "translated", "--use-mmap", "false"),
    ("serve.kv_cache", "q8_0", "equal", "--kv-cache", "q8_0"),
    ("serve.kv_cache", "fp8", "approximated", "--kv-cache", "q8_0"),
    ("serve.prefix_caching", False, "translated", "--prefix-caching", "false"),
    ("temperature", 0.3, "equal", "temperature", 0.3),
    ("repeat_penalty", 1.1, "translated", "repetition_penalty", 1.1),
    ("num_predict", 64, "translated", "max_tokens", 64),
    ("repeat_last_n", -1, "equal", "repetition_penalty", None),
    ("repeat_last_n", 64, "approximated", "repetition_penalty", None),
    ("typical_p", 0.9, "lost", "", None),
    ("num_keep", 4, "lost", "", None),
    ("mirostat", 1, "lost", "", None),
    ("serve.tool_parser", "hermes", "equal", "tool_parser", "hermes"),
    ("serve.tool_parser", "nobodys", "lost", "", None),
    ("serve.reasoning_parser", "deepseek_r1", "equal", "reasoning_parser", "deepseek_r1"),
    ("serve.speculative", "ngram", "equal", "--speculative", "ngram"),
    ("serve.speculative", "eagle3", "lost", "", None),
    ("draft_num_predict", 4, "lost", "", None),
])
def test_a_setting_becomes(setting: str, value: Any, verdict: str, target: str, means: Any) -> None:
    one = lowered(plan(**{setting.replace("serve.", "serve_"): value}))[setting]
    assert (one.verdict, one.target, one.value) == (verdict, target, means)
    assert one.reason or verdict in ("equal", "translated")


@pytest.mark.parametrize("quiet", [
    {"num_gpu": -1}, {"num_thread": 0}, {"use_mmap": True}, {"serve_kv_cache": "auto"}, {"serve_prefix_caching": True},
    {"typical_p": 1.0}, {"serve_gpu_memory": 0.9}, {"serve_port": 8484}, {"serve_speculative": "off"},
])
def test_what_asks_nothing_of_the_engine_is_not_lowered(quiet: dict[str, Any]) -> None:
    assert llama_cpp.lower(plan(**quiet)) == ()


def test_where_it_was_built_for_gpus_layers_and_the_one_gpu_are_said() -> None:
    said = written(llama_cpp.launch(plan(ELSEWHERE, num_gpu=12, main_gpu=1)))
    assert (said["gpu_layers"], said["main_gpu"]) == (12, 1)


def test_a_draft_guesses_where_there_is_one() -> None:
    made = plan(more={"draft": DRAFT}, draft="./draft.gguf", draft_num_predict=6)
    assert {one.verdict for one in llama_cpp.lower(made)} == {"equal"}
    said = written(llama_cpp.launch(made))
    assert (said["speculative"], said["draft"], said["draft_tokens"]) == ("draft_model", "/models/draft.gguf", 6)
    ngram = plan(more={"draft": DRAFT}, draft="./draft.gguf", serve_speculative="ngram")
    assert lowered(ngram)["draft"].verdict == "lost" and written(llama_cpp.launch(ngram))["draft"] is None
    assert written(llama_cpp.launch(plan(draft="./draft.gguf")))["speculative"] == "off"


# words and configuration

def test_a_context_is_exact_and_the_engine_must_say_so() -> None:
    made = plan(context_length=1001)
    assert written(llama_cpp.launch(made))["context_length"] == 1001 == expected(made)["context_length"]


def test_every_field_is_said_by_a_word_or_has_its_default() -> None:
    made = plan(num_thread=2, num_batch=64, use_mmap=False, serve_kv_cache="q8_0", serve_prefix_caching=False,
                serve_speculative="ngram", template="the Modelfile's",
                more={"chat_template": "{% if x %}{% endif %}", "flags": ("--kv-tokens", "8192", "-fa", "off"),
                      "adapters": tuple(ServedAdapter(name=name, reference=name, origin=Origin(kind="modelfile"),
                                                      path=f"/a/{name}.gguf") for name in ("one", "two"))})
    said = config(llama_cpp.words(made))
    assert said == Config(
        model="/models/demo.gguf", socket=f"{RUN}/engine.sock", profile=f"{RUN}/profile.json",
        fingerprint="llama-cpp-python-0.3.36", context_length=1000, max_concurrency=3, kv_tokens=8192,
        chat_template=f"{RUN}/chat_template.jinja", adapters=(("one", "/a/one.gguf"), ("two", "/a/two.gguf")),
        speculative="ngram", draft_tokens=4, batch_tokens=64, prefix_caching=False, threads=2, use_mmap=False,
        kv_cache="q8_0", flash_attention=False)
    assert all(word.reason for word in llama_cpp.words(made))
    origins = {word.flag: str(word.origin) for word in llama_cpp.words(made)}
    assert origins["--threads"] == "modelfile Modelfile:3" and origins["--socket"] == "engine"


def test_the_configuration_survives_its_file(tmp_path: Path) -> None:
    made = plan(num_thread=2)
    (tmp_path / "c.json").write_text(json.dumps(written(llama_cpp.launch(made))))
    assert Config.read(tmp_path / "c.json") == config(llama_cpp.words(made))


def test_every_field_is_the_languages_or_the_authors() -> None:
    """A field that the engine gets later must be said by somebody."""
    known = {*BY_LANGUAGE, "socket", "profile", "fingerprint", "pooling",
             *(word.removeprefix("--").replace("-", "_") for word in flags_of("llama.cpp", "0.3.36"))}
    assert {field.name for field in fields(Config)} <= known


# the launch

def test_the_launch_is_one_process_with_the_contract_in_it() -> None:
    launch = llama_cpp.launch(plan(more={"profile": plan().profile | {"system": "say @RUN@"}}))
    assert launch.argv == (sys.executable, "-P", "-m", "modelkit.llamacpp", "--config", f"{RUN}/llamacpp.json")
    assert {file.path for file in launch.files} == {"profile.json", "llamacpp.json"}
    assert launch.env["PYTHONNOUSERSITE"] == "1" and "PYTHONPATH" not in launch.env
    profile = next(f.content for f in launch.files if f.path == "profile.json")
    assert RUN not in profile and Profile.loads(profile).system == "say @RUN@"
    assert launch == llama_cpp.launch(plan(more={"profile": plan().profile | {"system": "say @RUN@"}}))


def test_in_another_python_it_brings_its_sources() -> None:
    launch = llama_cpp.launch(plan(ELSEWHERE))
    files = {file.path: file.content for file in launch.files}
    assert launch.argv[0] == "/env/bin/python" and launch.env["PYTHONPATH"] == f"{RUN}/python"
    assert {"python/modelkit/__init__.py", "python/modelkit/llamacpp/__main__.py",
            "python/modelkit/contract/middleware.py"} <= set(files)
    own = Path(llama_cpp.__file__).parents[1]
    there = {f"python/modelkit/{path.relative_to(own)}": path.read_text() for room in ("llamacpp", "contract")
             for path in (own / room).rglob("*.py")}
    assert there.items() <= files.items()
    assert not [text for path, text in files.items() if path.startswith("python/") and RUN in text]


def test_a_plan_that_still_needs_something_does_not_start() -> None:
    with pytest.raises(Failure) as failure:
        llama_cpp.launch(plan(engine=None))
    assert failure.value.code == "not-ready"


def test_who_provides_it_decides_who_knows_it() -> None:
    wheel = Engine(name="llama.cpp", provider="xllamacpp", version="1", command=("python",))
    server = plan(wheel).model_copy(update={"engine_name": "llama-server"})
    assert [engines.module_of(one) for one in (plan(), plan(None), plan(wheel), server)] == [
        llama_cpp, llama_cpp, llama_server, llama_server]


# flags of the author

@pytest.mark.parametrize(("flags", "field", "value"), [
    (("--kv-tokens", "8192"), "kv_tokens", 8192), (("--kv-tokens=8192",), "kv_tokens", 8192),
    (("--flash-attn", "on"), "flash_attention", True), (("-fa", "auto"), "flash_attention", None),
    (("--threads-batch", "4"), "threads_batch", 4), (("--busy-batch-tokens", "64"), "busy_batch_tokens", 64),
    (("--kv-cache", "q5_1"), "kv_cache", "q5_1"), (("--mmproj", "eyes.gguf"), "projector", "/app/eyes.gguf"),
    (("--projector", "/m/eyes.gguf"), "projector", "/m/eyes.gguf"),
])
def test_an_authors_flag_is_a_field(flags: tuple[str, ...], field: str, value: Any) -> None:
    made = plan(serve_kv_cache="q8_0", more={"flags": flags})
    assert written(llama_cpp.launch(made))[field] == value
    assert lowered(made)[f"flag {flags[0].partition('=')[0]}"].verdict == "equal"


@pytest.mark.parametrize(("flags", "code", "says"), [
    (("--kv-tokns", "1"), "unknown-flag", "did you mean `--kv-tokens`?"),
    (("--swa-full",), "unknown-flag", "write `ENGINE llama-server`"),
    (("--ctx-size", "4096"), "unknown-flag", "write `PARAMETER num_ctx`"),
    (("--threads", "4"), "flag-not-yours", "write `PARAMETER num_thread`"),
    (("--model", "/etc/passwd"), "flag-not-yours", "write `FROM`"),
    (("--socket", "/tmp/x"), "flag-not-yours", "use the instruction"),
    (("--flash-attn", "maybe"), "bad-flag-value", "on, off, auto"),
    (("--kv-tokens", "many"), "bad-flag-value", "a whole number"),
    (("--kv-cache", "q9_9"), "bad-flag-value", "q8_0"),
])
def test_a_flag_that_it_does_not_have_is_refused(flags: tuple[str, ...], code: str, says: str) -> None:
    with pytest.raises(Failure) as failure:
        llama_cpp.launch(plan(more={"flags": flags}))
    assert failure.value.code == code and says in str(failure.value.hint)


# last words

@pytest.mark.parametrize(("line", "message", "hint"), [
    ("modelkit: llama.cpp: /m/x.gguf is not a GGUF file", "/m/x.gguf is not a GGUF file", "FROM"),
    ("modelkit: llama.cpp: cannot read /m/x.gguf: No such file or directory", "/m/x.gguf is gone", "fetch"),
    ("modelkit: llama.cpp: llama-cpp-python 0.3.40 is not known to this engine; it needs 0.3.36", "which is 0.3.36",
     "engine install"),
    ("modelkit: llama.cpp: llama-cpp-python 0.3.36 lacks llama_get_memory; install 0.3.36 again",
     "lacks llama_get_memory", "--reinstall"),
    ("modelkit: llama.cpp: llama-cpp-python does not work in this Python: /x/libllama.so: undefined symbol: a",
     "undefined symbol: a", "--reinstall"),
    ("modelkit: llama.cpp: llama-cpp-python does not work in this Python: libgomp.so.1: cannot open shared object file",
     "libgomp.so.1 is missing", "libgomp1"),
    ("modelkit: llama.cpp: No module named 'llguidance'", "lacks llguidance", "doctor"),
    ("modelkit: llama.cpp: the adapter tone.gguf does not fit x.gguf: tensor 'a' has the wrong shape", "tone.gguf",
     "ADAPTER"),
    ("modelkit: llama.cpp: the draft model has 9 tokens and the model 10: it must be of the same family",
     "another vocabulary", "ngram"),
    ("modelkit: llama.cpp: llama.cpp cannot make a context of 99 tokens: failed to allocate", "99 tokens", "num_ctx"),
    ("modelkit: llama.cpp: an attention cache of 9 tokens has no room for one conversation of 10", "--kv-tokens 9",
     "raise"),
    ("modelkit: llama.cpp: llama.cpp cannot load x.gguf: unable to allocate CPU buffer", "out of memory", "num_ctx"),
    ("Fatal Python error: Illegal instruction", "instructions", "compiles it on this machine"),
    ("Fatal Python error: Segmentation fault", "crashed", "report"),
    ("modelkit: llama.cpp: ggml gave up: /src/ggml.c:17: GGML_ASSERT(n <= m) failed", "n <= m", "report"),
])
def test_last_words_are_explained(line: str, message: str, hint: str) -> None:
    found = llama_cpp.explain_exit(["modelkit: llama.cpp: loading x.gguf, 98 MB", line])
    assert found is not None
    assert message in found[0] and hint in found[1]
