"""Which machine a stage runs on: this one, or what its words say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.planning.accelerators import accelerator

if TYPE_CHECKING:
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.plan import Engine, Plan

_BUILT_FOR = {"vllm": ("cpu", "cuda", "rocm"), "sglang": ("cuda", "rocm"), "tensorrt-llm": ("cuda",)}
"""Hardware that an engine has a build for; llama.cpp has one for all."""


def presume_built(engine: str, hardware: Hardware) -> None:
    """Raise Failure where an engine has no build for that hardware."""
    kind = hardware.devices[0].kind if hardware.devices else "cpu"
    if kind not in _BUILT_FOR.get(engine, (kind,)):
        raise Failure("engine-not-there", f"{engine} has no build for {hardware.name}, which computes on {kind}",
                      hint="write `ENGINE llama.cpp`, or name other hardware")


def hardware_of(plan: Plan) -> Hardware | None:
    """Where a stage runs: this machine; elsewhere what `SERVE accelerator` and the numbers of GPUs say, None where
    nothing is said. A stage of this machine whose engine is not here yet is believed, too."""
    from modelkit.platforms import platform_row

    where, said = platform_row(plan.platform).where, plan.setting("serve.accelerator")
    if said is not None and str(said.value).lower() != "cpu" and (where != "process" or plan.engine is None):
        from modelkit.planning.fit.profiles import accelerated

        return accelerated(str(said.value), gpus(plan))
    if where == "elsewhere":
        return None
    from modelkit.runtime import hardware

    machine = hardware.here()
    on_cpu = plan.engine is not None and plan.engine.variant in ("", "cpu") and plan.image is None
    return replace(machine, devices=()) if on_cpu else machine


def gpus(plan: Plan) -> int:
    """How many one copy takes."""
    count = 1
    for name in ("serve.tensor_parallel", "serve.pipeline_parallel"):
        said = plan.setting(name)
        count *= int(said.value) if said is not None else 1
    return count


def computed_on(plan: Plan, hardware: Hardware) -> Plan:
    """The plan as if its engine were a build for that hardware."""
    from modelkit.planning.plan import Engine

    variant = hardware.devices[0].kind if hardware.devices else "cpu"
    engine: Engine = plan.engine or Engine(name=plan.engine_name, provider=_provider(plan), version="", command=())
    known = accelerator(hardware.devices[0].name) if hardware.devices else None
    return plan.model_copy(update={"engine": engine.model_copy(update={"variant": variant}),
                                   "accelerator": known.name if known else None})


def _provider(plan: Plan) -> str:
    from modelkit.planning.forms import OWN

    return OWN if plan.engine_name == "llama.cpp" else "xllamacpp" if plan.engine_name == "llama-server" \
        else "environment"


def class_of(hardware: Hardware) -> str:
    """What a rung that was chosen depends on, as the lock says it: machines of one class are taken to be alike.

    >>> class_of(Hardware("my laptop", cpus=8, ram=16_600_000_000))
    'cpu 8 cores 14+ GiB'
    """
    if hardware.devices:
        first, count = hardware.devices[0], len(hardware.devices)
        return f"{f'{count} x ' if count > 1 else ''}{first.name} {_rounded(first.memory)}"
    memory = f" {_rounded(hardware.ram)}" if hardware.ram is not None else ""
    return f"cpu {hardware.cpus} cores{memory}"


def _rounded(size: int) -> str:
    """Down to two binary digits behind the first: a firmware that keeps some more for itself makes no other class."""
    step = max(1, (1 << max(size.bit_length() - 1, 0)) // 4)
    size -= size % step
    return f"{size / (1 << 30):g}+ GiB" if size >= 1 << 30 else f"{size / (1 << 20):g}+ MiB"
