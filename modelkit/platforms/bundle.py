"""What gets launched or written for one stage. No timestamps: same plan, same bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from modelkit.engines.launch import File, Launch
from modelkit.failure import Failure
from modelkit.planning.plan import Plan, digest


@dataclass(frozen=True)
class Bundle:
    """A plan and how to launch it on platform `process`."""

    plan: Plan
    launch: Launch

    @property
    def replicas(self) -> int:
        """How many engines of this launch there are to be."""
        said = self.plan.setting("serve.replicas")
        return 1 if said is None else int(said.value)

    @property
    def keep_alive(self) -> float | None:
        """Seconds without a request after which it is unloaded; None: it stays."""
        said = self.plan.setting("serve.keep_alive")
        if said is None or said.value < 0 or self.plan.kind == "prod":
            return None
        return float(said.value)

    @property
    def gpus(self) -> int:
        """How many GPUs each of them takes for itself; 0 where there are none to be shared out."""
        if self.plan.engine is None or self.plan.engine.variant != "cuda":
            return 0
        wide = (self.plan.setting(f"serve.{name}") for name in ("tensor_parallel", "pipeline_parallel"))
        return prod(int(said.value) for said in wide if said is not None)

    @property
    def digest(self) -> str:
        """Identity of what one engine would run: equal bundles need no restart, wherever and however many they are."""
        return digest({"stage": self.plan.stage, "launch": dataclasses.asdict(self.launch)})

    def as_json(self) -> dict[str, Any]:
        return {"schema": "modelkit.bundle/1", "plan": self.plan.model_dump(mode="json", by_alias=False),
                "launch": dataclasses.asdict(self.launch)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Bundle:
        launch = dict(value["launch"])
        launch["files"] = tuple(File(**f) for f in launch["files"])
        launch["argv"], launch["log_progress"] = tuple(launch["argv"]), tuple(launch["log_progress"])
        return cls(Plan.model_validate(value["plan"]), Launch(**launch))


def presume_names_free(bundle: Bundle, others: Iterable[Bundle]) -> None:
    """Raise Failure when a model of `bundle` is called like one of another Modelfile at the same address."""
    for other in others:
        if shared := {bundle.plan.name, *bundle.plan.profile.get("adapters", ())} & {
                other.plan.name, *other.plan.profile.get("adapters", ())}:
            raise Failure("same-name", f"two Modelfiles at one address serve a model called `{min(shared)}`",
                          "give one of them another NAME")
