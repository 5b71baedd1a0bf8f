"""What an engine must say that it has, once it runs as planned: the other half of `contract.effective`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelkit.contract.effective import Effective

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan

_CONTEXT_STEP = {"llama-server": 256, "xllamacpp": 256}
"""Providers that round the context of a conversation up to a multiple of this."""

_SAYS = {"context_length": "tokens of context", "max_concurrency": "conversations at once", "template":
         "chat template", "adapters": "adapters", "model": "model", "revision": "revision of the model",
         "tensor_parallel": "GPUs for one copy"}


@dataclass(frozen=True)
class Difference:
    """One thing that a running engine has otherwise than planned."""

    name: str
    planned: Any
    found: Any

    def __str__(self) -> str:
        name = _SAYS.get(self.name, self.name)
        return f"{name}: planned {self._shown(self.planned)}, found {self._shown(self.found)}"

    def _shown(self, value: Any) -> str:
        text = ", ".join(value) or "none" if isinstance(value, (list, tuple)) else str(value)
        return text[:19] + "…" if self.name == "template" else text


def expected(plan: Plan) -> dict[str, Any]:
    """Fields of `Effective` that the plan decides, as JSON has them."""
    from modelkit.engines.container import MODEL

    step = _CONTEXT_STEP.get(plan.engine.provider, 1) if plan.engine else 1
    said: dict[str, Any] = {"context_length": -(-plan.context_length // step) * step,
                            "max_concurrency": plan.max_concurrency,
                            "adapters": sorted(one.name for one in plan.adapters)}
    if plan.template_digest is not None:
        said["template"] = plan.template_digest
    if plan.source is not None:
        said["model"] = plan.source.name if plan.source.kind == "hub" else MODEL
        said |= {"revision": plan.source.revision} if plan.source.revision else {}
    elif plan.weights is not None:
        said["model"] = plan.weights.path
    parallel = plan.setting("serve.tensor_parallel")
    splits = plan.weights is None or plan.weights.form != "gguf"  # llama.cpp takes all the GPUs that it sees
    if parallel is not None and splits and plan.engine and plan.engine.variant != "cpu":
        said["tensor_parallel"] = parallel.value
    return said


def differences(planned: Mapping[str, Any], found: Effective) -> tuple[Difference, ...]:
    """Where a running engine is not as planned. What it does not say can't differ."""
    pairs = ((name, value, getattr(found, name)) for name, value in planned.items())
    return tuple(Difference(name, value, list(there) if isinstance(there, tuple) else there)
                 for name, value, there in pairs
                 if there is not None and (list(there) if isinstance(there, tuple) else there) != value)
