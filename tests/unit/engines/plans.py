"""Plans of engines that run in images, and what the tests of their tables ask of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from modelkit.contract.profile import Profile
from modelkit.engines.container import Container
from modelkit.planning.plan import Engine, ModelSource, Origin, Plan, Setting, Weights

TEXTS = {"system", "messages", "template", "quantize", "adapters", "draft", "projector"}
"""Instructions that are settings."""


def contained_plan(engine: str, version: str, settings: dict[str, Any] | None, *, profile: dict[str, Any] | None = None,
                   **more: Any) -> Plan:
    """A plan of an engine in its image, its model mounted; settings come from line 3 of the Modelfile."""
    made = Profile(name="support", dialect=engine, context_length=4096, stop=("a", "b")).as_json()
    return Plan(**{
        "name": "support", "modelfile": "Modelfile", "stage": "prod", "platform": "compose", "engine_name": engine,
        "engine": Engine(name=engine, provider="image", version=version, command=(), variant="cuda"),
        "reference": "hf://acme/m", "image": f"registry.example/{engine}@sha256:{'e' * 64}",
        "weights": Weights(reference="r", form="safetensors", path="/m/folder", digest="sha256:1", size=10**9),
        "source": ModelSource(kind="folder", name="/m/folder"), "context_length": 4096, "max_concurrency": 16,
        "profile": made | (profile or {}),
        "settings": tuple(Setting(name=name, value=value, origin=Origin(kind="modelfile", where="Modelfile:3"))
                          for name, value in (settings or {}).items()), **more})


def lowered(engine: ModuleType, plan: Plan) -> tuple[str, str, Any] | None:
    """Verdict, target and value of a plan's one setting; what is lost or near must say why."""
    found = engine.lower(plan)
    assert not [one for one in found if one.verdict in ("lost", "approximated") and not one.reason]
    return (found[0].verdict, found[0].target, found[0].value) if found else None


def options_of(container: Container) -> dict[str, str]:
    """Flags with the word that follows each."""
    return dict(zip(container.args, container.args[1:], strict=False))
