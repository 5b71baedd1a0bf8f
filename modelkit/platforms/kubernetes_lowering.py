"""What becomes of the settings that no engine sees, on every platform made of pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelkit.planning.plan import Lowered, Plan, Setting, Verdict
from modelkit.platforms.kubernetes_names import object_name, secret_name
from modelkit.platforms.kubernetes_nodes import GKE, PRODUCT, node_affinity

Rule = Callable[[Setting, Plan], Lowered]


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What a Deployment, a Service and a Secret make of a plan's settings."""
    return lowered(plan, RULES)


def lowered(plan: Plan, rules: Mapping[str, Rule]) -> tuple[Lowered, ...]:
    """The settings of a plan that have a rule, each with what it becomes."""
    return tuple(rules[one.name](one, plan) for one in plan.settings if one.name in rules)


def says(verdict: Verdict, target: str, reason: str = "") -> Rule:
    """A rule for any value. `{name}` and `{secret}` in its texts are what the stage's objects are called."""
    def rule(setting: Setting, plan: Plan) -> Lowered:
        names = {"name": object_name(plan), "secret": secret_name(plan)}
        return Lowered(setting=setting.name, verdict=verdict, target=target.format(**names), value=setting.value,
                       reason=reason.format(**names))

    return rule


def _accelerator(setting: Setting, plan: Plan) -> Lowered:
    if str(setting.value).lower() == "cpu":
        return Lowered(setting=setting.name, verdict="equal", target="resources", reason="no GPU is asked for")
    if node_affinity(plan) is not None:
        return Lowered(setting=setting.name, verdict="translated", target="nodeAffinity", value=setting.value,
                       reason=f"nodes that say so in {PRODUCT} or {GKE}")
    return Lowered(setting=setting.name, verdict="approximated", target="nvidia.com/gpu", value=setting.value,
                   reason="how nodes name this GPU is not known: any node with free NVIDIA GPUs is taken")


def _keep_alive(setting: Setting, plan: Plan) -> Lowered:
    return Lowered(setting=setting.name, verdict="equal" if float(setting.value) < 0 else "lost", target="",
                   reason="an engine stays until it is deleted")


RULES: Mapping[str, Rule] = {
    "serve.host": says("translated", "Service {name}", "reached inside the cluster only, by the Service's name; a "
                       "Gateway or Ingress of yours opens it further"),
    "serve.port": says("equal", "Service {name}", "the Service's port"),
    "serve.api_key": says("translated", "Secret {secret}", "from the Secret that you create; the engine asks for it"),
    "serve.replicas": says("equal", "Deployment {name}", "pods at first, and at least"),
    "serve.max_replicas": says("translated", "ScaledObject {name}", "KEDA adds pods while requests wait"),
    "serve.image": says("equal", "image"),
    "serve.accelerator": _accelerator,
    "serve.keep_alive": _keep_alive,
}
