"""How many pods of a stage there are, and who adds more."""

from __future__ import annotations

from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.platforms.dashboards import QUEUE
from modelkit.platforms.kubernetes_names import Object, metadata, object_name, selector

PROMETHEUS = "http://prometheus-operated.monitoring.svc:9090"
"""Where the Prometheus operator's own Service is, if it was installed into the usual namespace."""


def replicas(plan: Plan) -> int:
    """Pods at first, and at least."""
    said = plan.setting("serve.replicas")
    return int(said.value) if said is not None else 1


def max_replicas(plan: Plan) -> int | None:
    """Pods at most, where the stage grows under load. Raises Failure for less than it begins with."""
    said = plan.setting("serve.max_replicas")
    if said is None:
        return None
    most, least = int(said.value), replicas(plan)
    if most < least:
        raise Failure("replicas-contradict", f"`SERVE max_replicas {most}` ({said.origin}) is less than "
                      f"`SERVE replicas {least}`", hint=f"write `SERVE max_replicas {least}` or more, or take it out")
    return most if most > least else None


def strategy(gpus: int, own_volume: bool) -> Object:
    """How a new version takes over. A pod more would wait for a GPU, or a volume, that the old one has."""
    if gpus or own_volume:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def scaling_spec(plan: Plan, most: int) -> Object:
    """KEDA's own words, less what they act on: pods are added while conversations wait, and taken away slowly."""
    assert plan.engine is not None
    if (queue := QUEUE.get(plan.engine.name)) is None:
        raise Failure("no-queue-metric", f"{plan.engine.name} does not say how many requests wait, and `SERVE "
                      "max_replicas` goes by that", hint="take it out, and say the copies with `SERVE replicas`")
    waiting = max(1, plan.max_concurrency // 4)
    return {"minReplicaCount": replicas(plan), "maxReplicaCount": most, "pollingInterval": 15,
            "fallback": {"failureThreshold": 4, "replicas": replicas(plan), "behavior": "currentReplicasIfHigher"},
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 60},
                "scaleDown": {"stabilizationWindowSeconds": 600,
                              "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}]}}}},
            "triggers": [{"type": "prometheus", "metricType": "AverageValue", "metadata": {
                "serverAddress": PROMETHEUS, "query": f'sum({queue}{{job="{object_name(plan)}"}})',
                "threshold": str(waiting)}}]}


def scaled_object(plan: Plan, most: int) -> Object:
    """The ScaledObject of a stage's Deployment."""
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata(plan),
            "spec": {"scaleTargetRef": {"name": object_name(plan)}, **scaling_spec(plan, most)}}


def disruption_budget(plan: Plan) -> Object:
    """One pod at a time may go when nodes are emptied. A single pod has none: it would hold its node for ever."""
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(plan),
            "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow",
                     "selector": {"matchLabels": selector(plan)}}}
