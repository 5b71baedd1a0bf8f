"""The digest of what a stage means, wherever it runs."""

from __future__ import annotations

from modelkit.planning.plan import Plan, digest


def meaning(plan: Plan) -> str:
    """No paths, no addresses: two machines that would serve the same have the same digest.

    Where other machines fetch the weights, the source that they fetch from stands for them.
    """
    elsewhere = plan.source if plan.weights is None else None
    return digest({
        "name": plan.name, "stage": plan.stage, "platform": plan.platform, "profile": plan.profile,
        "engine": [plan.engine_name, plan.engine.version if plan.engine else None],
        "weights": plan.weights.digest if plan.weights else None, "flags": list(plan.flags),
        "context_length": plan.context_length, "max_concurrency": plan.max_concurrency,
        "chat_template": plan.chat_template,
        **({"source": [elsewhere.kind, elsewhere.name, elsewhere.revision]} if elsewhere else {}),
        **({"adapters": [[one.name, one.digest] for one in plan.adapters]} if plan.adapters else {}),
    })
