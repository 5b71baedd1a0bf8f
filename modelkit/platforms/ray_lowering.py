"""What becomes of the settings that no engine sees, on Ray Serve."""

from __future__ import annotations

from collections.abc import Mapping

from modelkit.planning.accelerators import accelerator
from modelkit.planning.plan import Lowered, Plan, Setting
from modelkit.platforms.kubernetes_lowering import Rule, lowered, says

_TYPES: Mapping[str, str] = {
    **{name: name for name in ("V100", "P100", "T4", "P4", "A10G", "L4", "L40S", "A100", "H20", "H100", "H200", "B200",
                               "B300", "GB200", "GB300", "RTX-PRO-6000")},
    "A100-40GB": "A100-40G", "A100-80GB": "A100-80G", "H100-80GB": "H100", "V100-32GB": "V100"}
"""The GPUs that Ray 2.60 finds on its nodes by name (`ray/util/accelerators`); it takes an A10 for an A10G."""


def ray_accelerator(plan: Plan) -> str | None:
    """Ray's name of the GPU that `SERVE accelerator` names; None where any will do, or Ray has no name for it."""
    said = plan.setting("serve.accelerator")
    known = accelerator(str(said.value)) if said is not None else None
    return _TYPES.get(known.name) if known is not None else None


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What Ray Serve makes of a plan's settings."""
    return lowered(plan, RULES)


def _accelerator(setting: Setting, plan: Plan) -> Lowered:
    if str(setting.value).lower() == "cpu":
        return Lowered(setting=setting.name, verdict="equal", target="accelerator_config", reason="no GPU is asked for")
    if (kind := ray_accelerator(plan)) is not None:
        return Lowered(setting=setting.name, verdict="translated", target="accelerator_type", value=kind,
                       reason="nodes on which Ray has found this GPU")
    return Lowered(setting=setting.name, verdict="approximated", target="num_gpus", value=setting.value,
                   reason="Ray has no name for this GPU: any node with free GPUs is taken")


def _keep_alive(setting: Setting, plan: Plan) -> Lowered:
    return Lowered(setting=setting.name, verdict="equal" if float(setting.value) < 0 else "lost", target="",
                   reason="a replica stays until the application is taken down")


RULES: Mapping[str, Rule] = {
    "serve.host": says("equal", "http_options.host", "Ray's own proxy listens there; under KubeRay, its Service does"),
    "serve.port": says("equal", "http_options.port", "Ray's own proxy listens there; under KubeRay it is 8000"),
    "serve.api_key": says("translated", "VLLM_API_KEY", "from the environment of Ray's nodes; the engine asks for it"),
    "serve.replicas": says("equal", "num_replicas", "replicas at first, and at least"),
    "serve.max_replicas": says("translated", "autoscaling_config", "Ray Serve adds replicas by requests in flight"),
    "serve.image": says("equal", "image", "KubeRay's nodes run it; it must have Ray and vLLM in it"),
    "serve.accelerator": _accelerator,
    "serve.keep_alive": _keep_alive,
}
