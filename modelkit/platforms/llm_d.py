"""Platform `llm-d`: the pods of platform `kubernetes` behind an InferencePool, whose endpoint picker sends each request
where its prompt is already in the cache and the queue is short.

The endpoint picker is installed once, by llm-d's own chart; `router-values.yaml` is what it is told of this stage.
"""

from __future__ import annotations

from modelkit import engines
from modelkit.engines.container import Container
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms import yaml
from modelkit.platforms.dashboards import monitoring
from modelkit.platforms.kubernetes import client, kustomized, notes, workload
from modelkit.platforms.kubernetes_lowering import RULES, lowered, says
from modelkit.platforms.kubernetes_names import Object, metadata, object_name, selector
from modelkit.platforms.manifests import Manifests

GROUP = "inference.networking.k8s.io"
GATEWAY = "inference-gateway"
"""The Gateway that llm-d's own guides make. Another one is written into httproute.yaml."""

PICKER_PORT = 9002

_SERVERS = {"vllm": "vllm", "sglang": "sglang", "tensorrt-llm": "trtllm-serve"}
"""An engine as the endpoint picker calls it, to know its metrics."""


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """As on Kubernetes, but that clients come through a Gateway."""
    return lowered(plan, {**RULES, "serve.host": says(
        "translated", f"Gateway {GATEWAY}", "the Gateway's address is the stage's; it decides who reaches it")})


def manifests(plan: Plan) -> Manifests:
    """Kubernetes' objects, the pool, its route, and the values of the endpoint picker's chart."""
    container = engines.container(plan)
    objects = workload(plan, container) | {
        "inferencepool.yaml": inference_pool(plan, container), "httproute.yaml": http_route(plan),
        "inferencemodelrewrite.yaml": model_rewrite(plan)}
    values = File("router-values.yaml", yaml.dump(router_values(plan, container)), 0o644)
    return Manifests(plan, (*kustomized(objects), values, *monitoring(plan, container)), client(plan, container),
                     (*notes(plan, container), _install_picker(plan), f"the route belongs to the Gateway `{GATEWAY}`: "
                      "put the name of yours into httproute.yaml"))


def inference_pool(plan: Plan, container: Container) -> Object:
    """The stage's pods as one pool. Where the endpoint picker is away, requests go to any of them."""
    return {"apiVersion": f"{GROUP}/v1", "kind": "InferencePool", "metadata": metadata(plan), "spec": {
        "selector": {"matchLabels": selector(plan)}, "targetPorts": [{"number": container.port}],
        "appProtocol": "http", "endpointPickerRef": {
            "name": picker(plan), "kind": "Service", "port": {"number": PICKER_PORT}, "failureMode": "FailOpen"}}}


def http_route(plan: Plan) -> Object:
    """The API's paths to the pool, without a limit to how long an answer takes."""
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata(plan), "spec": {
        "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": GATEWAY}],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                   "backendRefs": [{"group": GROUP, "kind": "InferencePool", "name": object_name(plan)}],
                   "timeouts": {"request": "0s", "backendRequest": "0s"}}]}}


def model_rewrite(plan: Plan) -> Object:
    """The model's name as clients say it, and what answers to it: the place for a second version with its weight."""
    return {"apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceModelRewrite", "metadata": metadata(plan), "spec": {
        "poolRef": {"group": GROUP, "kind": "InferencePool", "name": object_name(plan)},
        "rules": [{"matches": [{"model": {"type": "Exact", "value": plan.name}}],
                   "targets": [{"modelRewrite": plan.name, "weight": 100}]}]}}


def router_values(plan: Plan, container: Container) -> Object:
    """The values of chart `llm-d-router-gateway`. The pool that it makes is the same as ours, field by field."""
    if (server := _SERVERS.get(plan.engine_name)) is None:
        raise Failure("engine-unknown-to-router", f"llm-d's endpoint picker does not know {plan.engine_name}",
                      hint=f"it knows {', '.join(_SERVERS)}")
    return {"router": {"modelServers": {"type": server, "protocol": "http", "matchLabels": selector(plan),
                                        "targetPorts": [{"number": container.port}]},
                       "epp": {"extProcPort": PICKER_PORT},
                       "inferencePool": {"create": True, "failureMode": "FailOpen"}},
            "httpRoute": {"create": False}}


def picker(plan: Plan) -> str:
    """The endpoint picker's Service, as the chart calls it."""
    return f"{object_name(plan)}-epp"


def _install_picker(plan: Plan) -> str:
    return ("install the endpoint picker before the rest, from a release of llm-d-router: `helm install "
            f"{object_name(plan)} config/charts/llm-d-router-gateway -f router-values.yaml`")
