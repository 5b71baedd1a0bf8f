"""vLLM 0.32: `vllm serve` on a folder of safetensors, with the contract loaded into its own API server.

Facts about vLLM here were measured on 0.32.0; where a newer one differs, this file is what changes. The launch for
NVIDIA GPUs is made from the same facts and has not been run by this project: its test machines have no GPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from modelkit.engines import table, vllm_container
from modelkit.engines.container import Container
from modelkit.engines.flags import presume_flags
from modelkit.engines.launch import Launch
from modelkit.engines.reserved import RESERVED
from modelkit.engines.vllm_exits import explain_exit
from modelkit.engines.vllm_hardware import presume_hardware
from modelkit.engines.vllm_parsers import REASONING_PARSERS, TOOL_PARSERS
from modelkit.engines.vllm_settings import SETTINGS
from modelkit.engines.vllm_words import MIDDLEWARE, config_files, kv_cache_bytes, words
from modelkit.engines.word import argv, variables
from modelkit.failure import Failure
from modelkit.planning.plan import Engine, Lowered, Plan

__all__ = ["MIDDLEWARE", "REASONING_PARSERS", "SETTINGS", "TOOL_PARSERS", "container", "engine", "explain_exit",
           "kv_cache_bytes", "launch", "lower", "presume_machine", "render_launch", "words"]

OURS = RESERVED["vllm"]
"""Flags that a Modelfile may not set: they say where the engine listens, what a request means, or what code it runs."""


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
    _presume(plan)
    said = words(plan)
    return Launch((*plan.engine.command, "serve", *argv(said)), variables(said), config_files(plan),
                  start_seconds=300.0 + plan.weights.size // (50 * 1024**2),  # from a slow disk
                  grace_seconds=30.0,
                  ready_logprobs=plan.task == "chat",  # it has been seen healthy and unable to answer
                  log_progress=("Loading weights took", "Loading safetensors", "KV cache size", "torch.compile took",
                                "Capturing CUDA graph", "Starting vLLM"))


def render_launch(plan: Plan) -> Launch:
    """The process that renders and tokenizes for such a plan and computes nothing: `vllm launch render`, which takes
    the same words. It reads no weights and needs no GPU. Raises Failure as `launch` does."""
    whole = launch(plan)
    at = len(plan.engine.command) if plan.engine else 0
    return replace(whole, argv=(*whole.argv[:at], "launch", "render", *whole.argv[at + 1 :]))


def container(plan: Plan) -> Container:
    """The same engine in its image. Raises Failure as `launch` does, and for weights that can't be made there."""
    _presume(plan)
    return vllm_container.container(plan)


def presume_machine(plan: Plan) -> None:
    """Raise Failure for a precision that the plan's processor or GPU would compute wrongly, or not at all."""
    presume_hardware(plan)


def _presume(plan: Plan) -> None:
    assert plan.engine is not None, "a plan with needs cannot be launched"
    presume_machine(plan)
    _presume_parsers(plan)
    presume_flags("vllm", plan.engine.version, plan.flags, OURS)


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
