"""One file per platform that keeps an engine running."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan
    from modelkit.platforms.bundle import Bundle


def render(plan: Plan) -> Bundle:
    """The bundle of a plan that has its engine and weights. Raises Failure for a platform of a later release."""
    if plan.platform != "process":
        raise Failure("platform-not-yet", f"platform {plan.platform} cannot be rendered by this release",
                      hint="it can run `PLATFORM process`")
    from modelkit.platforms import process

    return process.render(plan)
