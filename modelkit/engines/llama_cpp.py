"""llama.cpp over llama-server's protocol: a `llama-server` binary, or the whole of it in the `xllamacpp` wheel.

The engine is one process, `modelkit.engines.llama_host`: llama-server behind the contract, on a Unix socket.
Facts about flags and words are of llama.cpp b11549 (2026-10); a binary that is older is asked what it knows.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal

from modelkit.engines import llama_adapters, table
from modelkit.engines.launch import RUN, File, Launch
from modelkit.engines.llama_exits import explain_exit
from modelkit.engines.llama_host import attributes
from modelkit.engines.llama_host.config import Config, Words
from modelkit.engines.table import Answer, Row, Rule, approximated, equal, lost, rows, translated, words
from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.plan import Engine, Lowered, Plan

__all__ = ["SETTINGS", "explain_exit", "launch", "lower", "probe"]

BATCH = 512
"""Prompt tokens a step. Everybody who is being answered waits for a step: 2048 stalled seven streams for 9 s."""

CONTEXT_STEP = 256
"""llama.cpp makes the context of a slot a multiple of this."""


def _only_when(wanted: bool, rule: Rule) -> Rule:
    return lambda value, plan: rule(value, plan) if value is wanted else None


def _positive(rule: Rule) -> Rule:
    return lambda value, plan: rule(value, plan) if value > 0 else None


def _layers(value: Any, plan: Plan) -> Answer | None:
    return None if value < 0 else Answer("equal", "--gpu-layers", value)


def _concurrency(value: Any, plan: Plan) -> Answer:
    return Answer("equal", "--parallel", plan.max_concurrency)


def _context(value: Any, plan: Plan) -> Answer:
    """Each slot has its own share of the cache: what one conversation takes, no other can lack."""
    each, slots = plan.context_length, plan.max_concurrency
    if each % CONTEXT_STEP:
        rounded = -(-each // CONTEXT_STEP) * CONTEXT_STEP
        return Answer("approximated", "--ctx-size", each * slots,
                      f"llama.cpp rounds the context of each conversation up to {rounded} tokens")
    return Answer("translated", "--ctx-size", each * slots, f"{each} tokens for each of {slots} conversations")


def _quantize(value: Any, plan: Plan) -> Answer:
    row = PRECISIONS.get(str(value))
    if row is None:
        return Answer("lost", "", None, "choosing a precision comes with a later release: the base's own is used")
    if row.form == "safetensors":
        return Answer("lost", "", None, f"llama.cpp has no {row.name}: the base's own precision is used")
    return Answer("equal", "weights", row.name)


def _kv_cache(value: Any, plan: Plan) -> Answer | None:
    if value == "auto":
        return None
    if value == "fp8":
        return Answer("approximated", "--cache-type-k", "q8_0", "llama.cpp has no fp8; q8_0 has its size")
    return Answer("equal", "--cache-type-k", value)


def _repeat_last_n(value: Any, plan: Plan) -> Answer:
    if value in (-1, plan.context_length):
        return Answer("equal", "repeat_last_n", plan.context_length)
    return Answer("approximated", "repeat_last_n", plan.context_length,
                  "penalties look at the whole conversation, on every engine")


def _off(neutral: float, reason: str) -> Rule:
    """Lost, unless the value turns it off anyway."""
    return lambda value, plan: None if value == neutral else Answer("lost", "", None, reason)


_FIELD = "the request says it; the contract fills it in"
_IGNORED = "deprecated in Ollama, which ignores it too"

SETTINGS = rows(
    # Of the process.
    Row("num_ctx", _context, "`--ctx-size` is for all conversations together"),
    Row("serve.max_concurrency", _concurrency, "slots; who comes later waits"),
    Row("quantize", _quantize, "made beforehand"),
    Row("num_batch", translated("--batch-size", int, "also `--ubatch-size`"), "prompt tokens worked on in one step"),
    Row("num_thread", _positive(equal("--threads")), "0: the physical cores that the process may use"),
    Row("num_gpu", _layers, "-1: as many layers as fit"),
    Row("main_gpu", translated("--main-gpu", int, "with `--split-mode none`"), "the one GPU to use"),
    Row("use_mmap", _only_when(False, translated("--load-mode", lambda _: "none")), "true is what llama.cpp does"),
    Row("serve.kv_cache", _kv_cache, "keys and values alike"),
    Row("serve.prefix_caching", _only_when(False, translated("--no-cache-prompt", lambda _: True)),
        "true is what llama.cpp does, in each slot"),
    Row("serve.gpu_memory", _off(0.9, "llama.cpp places layers, it does not reserve memory; see `num_gpu`"), ""),
    Row("serve.tensor_parallel", _off(1, "llama.cpp splits layers over all the GPUs that it sees by itself"), ""),
    llama_adapters.ROW,
    Row("template", translated("--chat-template-file", lambda _: f"{RUN}/chat_template.jinja"), "Jinja as it is"),
    # Of each request.
    *(Row(name, equal(name), _FIELD) for name in ("temperature", "top_p", "top_k", "min_p", "seed", "stop",
                                                  "presence_penalty", "frequency_penalty", "system", "messages")),
    Row("repeat_penalty", translated("repeat_penalty", float), _FIELD),
    Row("num_predict", translated("max_tokens", int, "a default, not a cap"), _FIELD),
    Row("repeat_last_n", _repeat_last_n, "how far the penalties look back"),
    Row("typical_p", _off(1.0, "vLLM has no typical sampling, and a request means the same on every engine"), ""),
    Row("num_keep", lost("a conversation ends where its context does; nothing is shifted out of it"), ""),
    Row("draft_num_predict", lost("draft models come with a later release"), ""),
    # Of the answer.
    Row("serve.tool_parser", approximated("chat template", str, "tool calls are read as the chat template writes them"),
        "that there is one lets a model choose its tools"),
    Row("serve.reasoning_parser", approximated("chat template", str, "reasoning is read as it writes it"), ""),
    *(Row(name, lost(_IGNORED), "") for name in ("f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta",
                                                 "mirostat_tau", "penalize_newline", "use_mlock", "vocab_only")),
)
"""What every setting of the language becomes. Targets that begin with `--` are llama-server's flags, others request
fields; `llama_host.attributes` says the flags to the wheel."""

_OURS = frozenset((
    "--model", "--alias", "--host", "--port", "--reuse-port", "--path", "--api-prefix", "--api-key", "--api-key-file",
    "--ssl-key-file", "--ssl-cert-file", "--hf-repo", "--hf-file", "--model-url", "--docker-repo", "--models-dir",
    "--models-preset", "--models-max", "--ctx-size", "--parallel", "--kv-unified-per-slot",
    "--lora", "--lora-scaled", "--lora-init-without-apply",
    "--sse-ping-interval", "--server-base", "-hf", "-hfr", "-hff", "-mu", "-dr",
))
"""Flags that say what the plan has already said, or where this engine listens."""

_UNSAFE = frozenset((
    "--ui", "--webui", "--slots", "--props", "--tools", "--agent", "--ui-mcp-proxy", "--webui-mcp-proxy",
    "--media-path", "--mcp-servers-config", "--mcp-servers-json", "--slot-save-path", "--cors-origins",
    "--cors-credentials", "--log-prompts-dir",
))
"""Flags that open more of llama-server than the contract covers."""


def probe() -> Engine | None:
    """The llama.cpp of this machine: `$LLAMA_SERVER`, `llama-server` on PATH, else the wheel, not imported.

    Raises Failure when `$LLAMA_SERVER` names something else.
    """
    named = os.environ.get("LLAMA_SERVER")
    binary = named or shutil.which("llama-server")
    if binary and (version := _version(binary)) is not None:
        return Engine(name="llama.cpp", provider="llama-server", version=version, command=(binary,))
    if named:
        raise Failure("not-llama-server", f"LLAMA_SERVER names {named}, which is no llama-server that runs",
                      hint="name one that answers --version, or unset it")
    if importlib.util.find_spec("xllamacpp") is None:
        return None
    return Engine(name="llama.cpp", provider="xllamacpp", version=importlib.metadata.version("xllamacpp"),
                  command=(sys.executable,))


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What every setting and every FLAG of the plan becomes."""
    provider = plan.engine.provider if plan.engine else "xllamacpp"
    return (*table.lower(SETTINGS, plan), *(_flag(one, provider) for one in _author_flags(plan.flags)))


def presume_machine(plan: Plan) -> None:
    """llama.cpp computes with every GGUF wherever it runs."""


def launch(plan: Plan) -> Launch:
    """How to start the plan's engine. Raises Failure while the engine or the weights are missing."""
    engine, weights = plan.engine, plan.weights
    if engine is None or weights is None:
        raise Failure("not-ready", f"stage `{plan.stage}` cannot start yet", hint="modelkit plan says what it needs")
    provider: Literal["llama-server", "xllamacpp"] = "xllamacpp" if engine.provider == "xllamacpp" else "llama-server"
    config = Config(
        provider=provider, command=() if provider == "xllamacpp" else engine.command,
        flags=tuple(_flags(plan, weights.path)), optional=_OPTIONAL, model=weights.path,
        socket=f"{RUN}/engine.sock", upstream=f"{RUN}/llama.sock", profile=f"{RUN}/profile.json",
        fingerprint=f"{provider}-{engine.version}", context_length=plan.context_length, slots=plan.max_concurrency)
    files = [File("profile.json", json.dumps(plan.profile, indent=1, sort_keys=True) + "\n"),
             File("llama_host.json", json.dumps(config.as_json(), indent=1, sort_keys=True) + "\n")]
    if plan.chat_template is not None:
        files.append(File("chat_template.jinja", plan.chat_template))
    python = engine.command[0] if provider == "xllamacpp" else sys.executable
    return Launch(
        argv=(python, "-P", "-m", "modelkit.engines.llama_host", "--config", f"{RUN}/llama_host.json"),
        files=tuple(files), start_seconds=60.0 + weights.size / 50e6, grace_seconds=10.0,
        log_progress=("loading model", "model loaded"))


_OPTIONAL = ("--no-ui", "--no-slots", "--metrics", "--cors-origins", "--no-prefill-assistant", "--sse-ping-interval",
             "--cache-ram", "--offline")
"""Flags that a binary may be too old to know; without them it is less tidy, not less right."""


def _flags(plan: Plan, model: str) -> Iterator[Words]:
    """Every flag, the author's last: of a flag that comes twice llama-server takes the last."""
    chosen = {one.target: one for one in table.lower(SETTINGS, plan) if one.target.startswith("--")}
    yield "--model", model
    yield "--alias", plan.name
    yield "--host", f"{RUN}/llama.sock"
    yield "--ctx-size", str(plan.context_length * plan.max_concurrency)
    yield "--parallel", str(plan.max_concurrency)
    batch = chosen.get("--batch-size")
    for flag in ("--batch-size", "--ubatch-size"):
        yield flag, str(batch.value if batch else BATCH)
    yield "--cache-ram", "0"  # prompts are kept in their slots; beyond, the default takes up to 8 GiB more
    yield "--sse-ping-interval", "-1"  # comments in a stream that no other engine makes
    yield "--cors-origins", "localhost"
    yield from (("--no-prefill-assistant",), ("--no-ui",), ("--no-slots",), ("--metrics",), ("--offline",))
    if "--main-gpu" in chosen:
        yield "--split-mode", "none"
    if "--cache-type-k" in chosen:
        yield "--cache-type-v", str(chosen["--cache-type-k"].value)
    for flag, one in chosen.items():
        if flag not in ("--ctx-size", "--parallel", "--batch-size", "--lora"):
            yield words((one,))
    yield from ((word.flag, str(word.value)) for word in llama_adapters.lora_words(plan))
    provider = plan.engine.provider if plan.engine else "xllamacpp"
    yield from (said for said in _author_flags(plan.flags) if _flag(said, provider).verdict != "lost")


_NUMBER = re.compile(r"-\d")


def _author_flags(argv: tuple[str, ...]) -> Iterator[Words]:
    """The author's words, one tuple a flag: what begins with a dash and is no number begins a flag."""
    said: list[str] = []
    for word in argv:
        if word.startswith("-") and not _NUMBER.match(word):
            if said:
                yield tuple(said)
            said = []
        said.append(word)
    if said:
        yield tuple(said)


def _flag(said: Words, provider: str) -> Lowered:
    """What one FLAG becomes."""
    flag, value = attributes.canonical(said[0]), " ".join(said[1:]) or None
    reason = ("modelkit says it itself" if flag in _OURS else
              "it would open more than this API" if flag in _UNSAFE else
              attributes.problem(said) if provider == "xllamacpp" else None)
    return Lowered(setting=f"flag {said[0]}", verdict="lost" if reason else "equal", target="" if reason else said[0],
                   value=value, reason=reason or "")


def _version(binary: str) -> str | None:
    """The build number that `--version` tells, as a version; None when it is not llama-server."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False,
                              stdin=subprocess.DEVNULL, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    # "version: 6123 (abcdef0)", since 2026 "version: 0.5.0 (build 11434, commit abcdef0)"
    found = (re.search(r"^version: \S+ \(build (\d+)", said.stdout + said.stderr, re.M)
             or re.search(r"^version: (\d+)", said.stdout + said.stderr, re.M))
    return found[1] if found else None
