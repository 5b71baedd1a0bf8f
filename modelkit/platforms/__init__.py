"""One file per platform that keeps an engine running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.planning.plan import Lowered

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle

_NEUTRAL = {"serve.replicas": 1, "serve.task": "chat", "serve.speculative": "off", "serve.thinking": "auto"}


def render(plan: Plan) -> Bundle:
    """The bundle of a plan that has its engine and weights. Raises Failure for a platform of a later release."""
    from modelkit.platforms import process

    _expect_process(plan)
    return process.render(plan)


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What a plan's settings become, on its engine and on its platform."""
    from modelkit import engines
    from modelkit.platforms import process

    _expect_process(plan)
    lowered = (*engines.lower(plan), *process.lower(plan))
    return (*lowered, *_unsaid(plan, {item.setting for item in lowered}))


def _unsaid(plan: Plan, covered: set[str]) -> Iterator[Lowered]:
    """What neither engine nor platform said a word about, so that nothing is dropped in silence."""
    from modelkit import engines

    known = engines.engine_module(plan.engine_name).SETTINGS
    for setting in plan.settings:
        if setting.name in covered or setting.name in ("engine", "platform"):
            continue
        if setting.name in known or _NEUTRAL.get(setting.name) == setting.value:
            yield Lowered(setting=setting.name, verdict="equal", target="", reason="what the engine does anyway")
        else:
            yield Lowered(setting=setting.name, verdict="lost", target="", reason="this release does not act on it yet")


def _expect_process(plan: Plan) -> None:
    if plan.platform != "process":
        raise Failure("platform-not-yet", f"platform {plan.platform} cannot be rendered by this release",
                      hint="it can run `PLATFORM process`")
