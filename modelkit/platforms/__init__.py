"""One file per platform that keeps an engine running. This file is the registry."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from modelkit.failure import Failure
from modelkit.planning.plan import Lowered

# Now and not later: loading a submodule binds its name here, and would put it in the place of the function `manifests`.
from modelkit.platforms.manifests import Manifests

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle

Where = Literal["process", "here", "elsewhere"]


class Row(NamedTuple):
    """A platform: the module that knows it, and where its engines run.

    `process`: this machine's own process. `here`: a container of this machine, which mounts what is here.
    `elsewhere`: containers of other machines, which fetch models themselves.
    """

    module: str
    where: Where


PLATFORMS: dict[str, Row] = {
    "process": Row("modelkit.platforms.process", "process"),
    "systemd": Row("modelkit.platforms.systemd", "process"),
    "compose": Row("modelkit.platforms.compose", "here"),
    "quadlet": Row("modelkit.platforms.quadlet", "here"),
    "kubernetes": Row("modelkit.platforms.kubernetes", "elsewhere"),
    "llm-d": Row("modelkit.platforms.llm_d", "elsewhere"),
    "kserve": Row("modelkit.platforms.kserve", "elsewhere"),
    "production-stack": Row("modelkit.platforms.production_stack", "elsewhere"),
    "ray": Row("modelkit.platforms.ray", "elsewhere"),
    "skypilot": Row("modelkit.platforms.skypilot", "elsewhere"),
}
"""The language's word for a platform. Modules are loaded when they are needed."""


class PlatformModule(Protocol):
    """What a platform's file has."""

    def lower(self, plan: Plan) -> tuple[Lowered, ...]:
        """What becomes of the settings that no engine sees."""

    def manifests(self, plan: Plan) -> Manifests:
        """What is written for a plan whose engine, image and model source are known."""


def platform_row(name: str) -> Row:
    """Raises Failure for a platform that this release does not know."""
    if (row := PLATFORMS.get(name)) is None:
        raise Failure("platform-not-yet", f"platform {name} cannot be rendered by this release",
                      hint=f"it can render {', '.join(PLATFORMS)}")
    return row


def platform_module(name: str) -> PlatformModule:
    """The platform of that name. Raises Failure for one that this release does not know."""
    return cast(PlatformModule, import_module(platform_row(name).module))


def render(plan: Plan) -> Bundle:
    """How this machine's supervisor launches a plan that has its engine and weights."""
    from modelkit.platforms import process

    presume_process(plan.platform, plan.stage)
    return process.render(plan)


def presume_process(platform: str, stage: str) -> None:
    """Raise Failure where this machine's supervisor can't run a stage of that platform."""
    if platform_row(platform).where != "process":
        raise Failure("platform-is-not-process", f"stage `{stage}` runs on platform {platform}, which this machine's "
                      "supervisor does not keep", hint=f"`modelkit up -s {stage}` applies it")


def manifests(plan: Plan) -> Manifests:
    """What is written for a plan that has its engine, whatever its platform."""
    return platform_module(plan.platform).manifests(plan)


def images(plan: Plan) -> tuple[str, ...]:
    """The images, by tag, that a plan's platform needs besides the engine's."""
    wanted = getattr(platform_module(plan.platform), "images", None)
    return () if wanted is None else tuple(wanted(plan))


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What a plan's settings become, on its engine and on its platform."""
    from modelkit import engines

    module = platform_module(plan.platform)
    seen = getattr(module, "engine_plan", None)  # where a platform does a part of an engine's work
    lowered = {item.setting: item for item in engines.lower(plan if seen is None else seen(plan))}
    lowered |= {item.setting: item for item in module.lower(plan)}
    return (*lowered.values(), *_unsaid(plan, set(lowered)))


_NEUTRAL = {"serve.replicas": 1, "serve.task": "chat", "serve.speculative": "off", "serve.thinking": "auto"}


def _unsaid(plan: Plan, covered: set[str]) -> Iterator[Lowered]:
    """What neither engine nor platform said a word about, so that nothing is dropped in silence."""
    from modelkit import engines

    known = engines.module_of(plan).SETTINGS
    for setting in plan.settings:
        if setting.name in covered or setting.name in ("engine", "platform"):
            continue
        if setting.name in known or _NEUTRAL.get(setting.name) == setting.value:
            yield Lowered(setting=setting.name, verdict="equal", target="", reason="what the engine does anyway")
        else:
            yield Lowered(setting=setting.name, verdict="lost", target="", reason="this platform has nothing like it")
