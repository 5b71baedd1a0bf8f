"""What gets launched or written for one stage. No timestamps: same plan, same bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import prod
from typing import Any

from modelkit.engines.launch import File, Launch
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
