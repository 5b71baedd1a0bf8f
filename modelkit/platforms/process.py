"""Platform `process`: the engine as a child of this machine's supervisor."""

from __future__ import annotations

from modelkit import engines
from modelkit.planning.plan import Plan
from modelkit.platforms.bundle import Bundle


def render(plan: Plan) -> Bundle:
    """The engine's own launch; the supervisor adds the address."""
    return Bundle(plan, engines.launch(plan))
