"""Platform `process`: the engine as a child of this machine's supervisor."""

from __future__ import annotations

from modelkit import engines
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms.bundle import Bundle

_ADDRESS = {"serve.host": "the edge's address", "serve.port": "the edge's address",
            "serve.api_key": "asked for by the edge"}


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What the platform does with the settings that no engine sees."""
    return tuple(Lowered(setting=s.name, verdict="equal", target=_ADDRESS[s.name], value=s.value)
                 for s in plan.settings if s.name in _ADDRESS)


def render(plan: Plan) -> Bundle:
    """The engine's own launch; the supervisor adds the address."""
    return Bundle(plan, engines.launch(plan))
