"""vLLM 0.32: `vllm serve` on a folder of safetensors, with the contract loaded into its own API server.

Facts about vLLM here were measured on 0.32.0; where a newer one differs, this file is what changes. The launch for
NVIDIA GPUs is made from the same facts and has not been run by this project: its test machines have no GPU.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Protocol

from modelkit.engines import table
from modelkit.engines.container import CONFIG, MODEL, Container, Mount, SecretVariable
from modelkit.engines.flags import presume_flags
from modelkit.engines.launch import RUN, File, Launch
from modelkit.engines.vllm_adapters import lora_mounts, lora_words, served_name
from modelkit.engines.vllm_exits import explain_exit
from modelkit.engines.vllm_settings import (
    REASONING_PARSERS,
    SETTINGS,
    TEMPLATE_FILE,
    TOOL_PARSERS,
    on_cpu,
    unfit_processor,
)
from modelkit.engines.word import argv as argv_of
from modelkit.failure import Failure
from modelkit.places import place
from modelkit.planning.plan import Engine, Lowered, Plan

__all__ = ["SETTINGS", "container", "engine", "explain_exit", "launch", "lower"]

MIDDLEWARE = "modelkit.contract.middleware.Contract"

OURS = ("--api-key", "--config", "--generation-config", "--grpc", "--headless", "--host", "--lora-modules",
        "--max-model-len", "--max-num-seqs", "--middleware", "--model", "--port", "--root-path",
        "--served-model-name", "--ssl-certfile", "--ssl-keyfile", "--trust-remote-code",
        "--trust-request-chat-template", "--uds")
"""Flags that a Modelfile may not set: they say where the engine listens, what a request means, or what code it runs."""

_GIB = 1024**3
_KV_AT_MOST = 4 * _GIB
_KV_UNKNOWN = 128 * 1024  # bytes a token, where the model's shape is unknown: that of an 8B model
_BLOCK = 128  # tokens, vLLM's on CPUs

_OFFLINE_AND_SILENT = {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
}


class Environment(Protocol):
    """What is known of an installed vLLM."""

    @property
    def version(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def command(self) -> str: ...


def engine(environment: Environment) -> Engine:
    """The plan's engine for an installed environment."""
    return Engine(name="vllm", provider="environment", version=environment.version, variant=environment.variant,
                  command=(environment.command,))


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What each setting of the plan becomes on vLLM."""
    return table.lower(SETTINGS, plan)


def launch(plan: Plan) -> Launch:
    """The process that serves a plan whose engine and weights are there. Pure but for the place of vLLM's cache.

    Raises Failure for a FLAG that vLLM does not have or that is not the author's to set, and for an unknown parser.
    """
    assert plan.engine is not None and plan.weights is not None, "a plan with needs cannot be launched"
    presume_machine(plan)
    _presume_parsers(plan)
    presume_flags("vllm", plan.engine.version, plan.flags, OURS)
    lowered = [one for one in lower(plan) if one.target not in OURS]  # the plan's own fields say those
    argv = (
        *plan.engine.command, "serve", plan.weights.path,
        "--uds", f"{RUN}/engine.sock",
        "--served-model-name", served_name(plan),
        "--max-model-len", str(plan.context_length),
        "--max-num-seqs", str(plan.max_concurrency),
        "--load-format", "safetensors",  # `auto` would fall back to pickled weights
        "--generation-config", "vllm",  # the folder's own defaults are not the Modelfile's
        "--middleware", MIDDLEWARE,
        "--max-logprobs", str(max(20, plan.profile["limits"]["top_logprobs"])),
        "--allowed-media-domains", "none.invalid",  # no list would mean every host
        "--shutdown-timeout", "0",  # requests were drained before; any other value is waited for in full
        "--disable-fastapi-docs", "--disable-uvicorn-access-log", "--uvicorn-log-level", "warning",
        *(_on_cpu(plan) if on_cpu(plan) else ("--dtype", "auto")),
        *table.words(lowered),
        *_tools(lowered),
        *argv_of(lora_words(plan)),
        *plan.flags,
    )
    return Launch(argv, _environment(plan), _files(plan), start_seconds=_start_seconds(plan), grace_seconds=30.0,
                  ready_logprobs=True,  # vLLM has been seen healthy and unable to answer
                  log_progress=("Loading weights took", "Loading safetensors", "KV cache size", "torch.compile took",
                                "Capturing CUDA graph", "Starting vLLM"))


def container(plan: Plan) -> Container:
    """The same engine in its image: native settings in `vllm.yaml`, the contract beside it."""
    assert plan.image is not None and plan.source is not None, "a plan with needs has no container"
    source = plan.source
    mounts = () if source.kind == "hub" else (Mount(MODEL, source),)
    model = (source.name, "--revision", source.revision) if source.kind == "hub" else (MODEL,)
    lowered = [one for one in lower(plan) if one.target.startswith("--") and one.target not in OURS]
    lora = {word.flag.removeprefix("--"): list(word.value) if isinstance(word.value, tuple) else word.value or True
            for word in lora_words(plan, contained=True)}
    config = {"served-model-name": served_name(plan), "max-model-len": plan.context_length,
              "max-num-seqs": plan.max_concurrency,
              "generation-config": "vllm", "load-format": "safetensors", "middleware": MIDDLEWARE,
              **{one.target.removeprefix("--"): one.value for one in lowered if one.value is not None}, **lora}
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
    files = tuple(File(f.path, f.content.replace(RUN, CONFIG)) for f in _files(plan))
    secrets = () if plan.api_key is None else (SecretVariable("VLLM_API_KEY", plan.api_key, "api-key"),)
    return Container(plan.image, (*model, "--config", f"{CONFIG}/vllm.yaml", "--shutdown-timeout", "60"),
                     env={"PYTHONPATH": f"{CONFIG}/python", "MODELKIT_PROFILE": f"{CONFIG}/profile.json"},
                     secrets=secrets, files=(File("vllm.yaml", text), *files),
                     mounts=(*mounts, *lora_mounts(plan)),
                     gpus=0 if on_cpu(plan) else 1)


def presume_machine(plan: Plan) -> None:
    """Raise Failure for a precision that this machine's processor would compute wrongly, or not at all."""
    said = plan.setting("quantize")
    if said is not None and (reason := unfit_processor(str(said.value), plan)) is not None:
        raise Failure("precision-not-here", f"{reason} ({said.origin.where or said.origin})",
                      hint="take `QUANTIZE fp8` or `none` for this machine, or run the stage on another one")


def _tools(lowered: list[Lowered]) -> tuple[str, ...]:
    """vLLM refuses forced tools, too, unless it has a parser; whether the model may choose is the contract's."""
    said = any(one.target == "--tool-call-parser" for one in lowered)
    # Without the strict level, forced arguments ignore the tool's schema.
    return ("--enable-auto-tool-choice", "--tool-strict-level", "parameter",
            *(() if said else ("--tool-call-parser", "hermes")))


def _on_cpu(plan: Plan) -> tuple[str, ...]:
    return ("--dtype", "bfloat16", "--enforce-eager", "--kv-cache-memory-bytes", str(kv_cache_bytes(plan)))


def kv_cache_bytes(plan: Plan) -> int:
    """Room for the attention cache on CPUs: all conversations at full length, bounded, but one always fits.

    vLLM takes the room at its start and lets conversations wait when it is full; left alone it would take nearly all
    of the machine's memory.
    """
    token = plan.kv_bytes_per_token or _KV_UNKNOWN
    one = (plan.context_length + _BLOCK) * token
    return min(one * plan.max_concurrency, max(one, _KV_AT_MOST)) + 2 * _BLOCK * token


def _environment(plan: Plan) -> dict[str, str]:
    assert plan.engine is not None
    limits = plan.profile["limits"]
    env = {
        **_OFFLINE_AND_SILENT,
        "MODELKIT_PROFILE": f"{RUN}/profile.json",
        "PYTHONPATH": f"{RUN}/python",
        "PYTHONSAFEPATH": "1",  # its helpers start with `-m`, which would import from the working directory first
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "VLLM_CACHE_ROOT": str(place("cache") / f"vllm-{plan.engine.version}"),  # what it learns of a model's class
        # Its parts talk over TCP with each other: on loopback, not on the address that the host's name stands for.
        "VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo",
        "VLLM_LOGGING_LEVEL": "INFO", "VLLM_LOGGING_COLOR": "0", "NO_COLOR": "1",
        "VLLM_MAX_STOP_STRINGS": str(limits["stop"] + len(plan.profile["stop"])),  # its own limit is 4
        "VLLM_MAX_N_SEQUENCES": str(limits["choices"]),
    }
    return env | _cpu_environment(plan) if on_cpu(plan) else env


def _cpu_environment(plan: Plan) -> dict[str, str]:
    said = plan.setting("num_thread")
    threads = int(said.value) if said is not None and int(said.value) > 0 else max(1, plan.cpus - 1)
    return {
        # One function is compiled even with --enforce-eager: the first request for log-probabilities would take 15 s,
        # and end the engine where there is no C++ compiler.
        "TORCH_COMPILE_DISABLE": "1",
        # One process less: 30 % less CPU time to start, half a GiB less memory. Threads must then be said: unset, they
        # spin against the API server and cost nine tenths of the speed.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": str(threads),
    }


def _files(plan: Plan) -> tuple[File, ...]:
    # RUN is replaced in contents too; a system prompt that happens to contain it must stay as it is.
    profile = json.dumps(plan.profile, ensure_ascii=False, indent=1, sort_keys=True).replace(RUN, "\\u0040RUN\\u0040")
    found = [File("profile.json", profile + "\n"), *contract_sources()]
    if plan.chat_template is not None:
        found.append(File(TEMPLATE_FILE, plan.chat_template))
    return tuple(found)


def contract_sources() -> list[File]:
    """The contract's own source files under `python/`: modelkit is not installed where vLLM runs."""
    room = files("modelkit.contract")
    sources = sorted((f for f in room.iterdir() if f.name.endswith(".py")), key=lambda f: f.name)
    return [File("python/modelkit/__init__.py", '"""The contract alone, for the engine that loads it."""\n'),
            *(File(f"python/modelkit/contract/{f.name}", f.read_text("utf-8")) for f in sources)]


def _start_seconds(plan: Plan) -> float:
    assert plan.weights is not None
    return 300.0 + plan.weights.size // (50 * 1024**2)  # from a slow disk


def _presume_parsers(plan: Plan) -> None:
    for setting, known, plugin in (("tool_parser", TOOL_PARSERS, "--tool-parser-plugin"),
                                   ("reasoning_parser", REASONING_PARSERS, "--reasoning-parser-plugin")):
        said = plan.setting(f"serve.{setting}")
        if said is None or said.value in known or any(word.startswith(plugin) for word in plan.flags):
            continue
        from difflib import get_close_matches

        near = " or ".join(f"`{name}`" for name in get_close_matches(str(said.value), known, 3, 0.5))
        hint = f"did you mean {near}?" if near else "it has " + ", ".join(sorted(known))
        raise Failure("unknown-parser", f"vLLM has no {setting.replace('_', ' ')} `{said.value}` "
                      f"({said.origin.where or said.origin})", hint=hint)
