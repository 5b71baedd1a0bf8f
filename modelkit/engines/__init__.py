"""One file per engine: its settings, flags, environment and failure texts. This file is the registry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

# Now and not later: loading a submodule binds its name here, and would put it in the place of a function of that name.
from modelkit.engines.container import Container
from modelkit.engines.launch import Launch
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.engines.table import Row
    from modelkit.engines.word import Word
    from modelkit.planning.plan import Lowered, Plan

ENGINES = {
    "llama.cpp": "modelkit.engines.llama_cpp",
    "llama-server": "modelkit.engines.llama_server",
    "vllm": "modelkit.engines.vllm",
    "sglang": "modelkit.engines.sglang",
    "tensorrt-llm": "modelkit.engines.tensorrt_llm",
}
"""The language's word for an engine, and the module that knows it. Loaded when it is needed."""

class EngineModule(Protocol):
    """What an engine's file has."""

    SETTINGS: Mapping[str, Row]

    def lower(self, plan: Plan) -> tuple[Lowered, ...]: ...
    def presume_machine(self, plan: Plan) -> None: ...
    def words(self, plan: Plan) -> tuple[Word, ...]: ...
    def launch(self, plan: Plan) -> Launch: ...
    def container(self, plan: Plan) -> Container: ...
    def explain_exit(self, tail: list[str]) -> tuple[str, str] | None: ...


def engine_module(name: str) -> EngineModule:
    """The engine of that canonical name. Raises Failure for one that this release cannot run."""
    if (path := ENGINES.get(name)) is not None:
        return cast(EngineModule, import_module(path))
    known = ", ".join(ENGINES)
    raise Failure("unknown-engine", f"there is no engine `{name}`", hint=f"there are {known}")


def module_of(plan: Plan) -> EngineModule:
    """What knows the engine of a plan. Of llama.cpp it is whoever provides it: our own engine, or llama-server."""
    from modelkit.planning.forms import OWN

    provider = plan.engine.provider if plan.engine else OWN
    own = plan.engine_name != "llama.cpp" or provider == OWN
    return engine_module(plan.engine_name if own else "llama-server")


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What each setting of a plan becomes on its engine."""
    return module_of(plan).lower(plan)


def presume_machine(plan: Plan) -> None:
    """Raise Failure where this machine can't compute what a plan wants on its engine."""
    module_of(plan).presume_machine(plan)


def launch(plan: Plan) -> Launch:
    """How the engine of a plan without needs is started."""
    from modelkit.engines.expected import expected

    return replace(module_of(plan).launch(plan), expected=expected(plan))


def words(plan: Plan) -> tuple[Word, ...]:
    """Every flag and environment variable that the engine of a plan gets, each with its origin and reason."""
    return module_of(plan).words(plan)


def container(plan: Plan) -> Container:
    """How the engine of a plan with an image and a model source runs in a container.

    Raises Failure for an engine that has no image, and for what it can't do in one.
    """
    return module_of(plan).container(plan)


def explain_exit(engine: str, tail: Iterable[str]) -> str | None:
    """What an engine's last lines mean and what to do, in one sentence; None when that is not known."""
    said = engine_module(engine).explain_exit(list(tail)) if engine in ENGINES else None
    return None if said is None else ": ".join(said)
