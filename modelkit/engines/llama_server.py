"""llama.cpp over llama-server's protocol: a `llama-server` binary, or the whole of it in the `xllamacpp` wheel.

The engine is one process, `modelkit.engines.llama_host`: llama-server behind the contract, on a Unix socket.
Facts about flags and words are of llama.cpp b11549 (2026-10); a binary that is older is asked what it knows.
"""

from __future__ import annotations

import json
import sys
from typing import Literal

from modelkit.engines import pooling, table
from modelkit.engines.container import Container
from modelkit.engines.launch import RUN, File, Launch
from modelkit.engines.llama_exits import explain_exit
from modelkit.engines.llama_host.config import Config
from modelkit.engines.llama_settings import SETTINGS
from modelkit.engines.llama_words import OPTIONAL, author_flags, lowered_flag, words
from modelkit.engines.word import argv
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan

__all__ = ["SETTINGS", "container", "explain_exit", "launch", "lower", "presume_machine", "words"]


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What every setting and every FLAG of the plan becomes."""
    provider = plan.engine.provider if plan.engine else "xllamacpp"
    return (*table.lower(SETTINGS, plan), *(lowered_flag(one, provider) for one in author_flags(plan.flags)))


def presume_machine(plan: Plan) -> None:
    """llama.cpp computes with every GGUF wherever it runs."""


def launch(plan: Plan) -> Launch:
    """How to start the plan's engine. Raises Failure while the engine or the weights are missing."""
    engine, weights = plan.engine, plan.weights
    if engine is None or weights is None:
        raise Failure("not-ready", f"stage `{plan.stage}` cannot start yet", hint="modelkit plan says what it needs")
    pooling.presume_served(plan, lower(plan))
    provider: Literal["llama-server", "xllamacpp"] = "xllamacpp" if engine.provider == "xllamacpp" else "llama-server"
    config = Config(
        provider=provider, command=() if provider == "xllamacpp" else engine.command,
        flags=tuple(argv((word,)) for word in words(plan)), optional=OPTIONAL, model=weights.path,
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


def container(plan: Plan) -> Container:
    """Raises Failure: there is no image of it that speaks the contract."""
    raise Failure("engine-without-image", f"{plan.engine_name} runs as a process of this machine, not in a container",
                  hint="write `ENGINE vllm` in this stage, or `PLATFORM process` or `systemd`")
