"""One file per platform that keeps an engine running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.planning.plan import Lowered, Plan
    from modelkit.platforms.bundle import Bundle


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
    return (*engines.lower(plan), *process.lower(plan))


def _expect_process(plan: Plan) -> None:
    if plan.platform != "process":
        raise Failure("platform-not-yet", f"platform {plan.platform} cannot be rendered by this release",
                      hint="it can run `PLATFORM process`")
