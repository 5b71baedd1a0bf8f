"""Platform `production-stack`: values for vLLM's own Helm chart `vllm-stack`, and the ConfigMaps that its pods mount.

Facts about the chart are those of 0.1.12, read in its templates: it turns prefix caching off where nothing is said, has
no /dev/shm without `tensorParallelSize`, and installs two monitoring charts unless they are turned off.
"""

from __future__ import annotations

from modelkit import engines
from modelkit.engines.container import Container
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.models.digests import digest
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms import yaml
from modelkit.platforms.asking import asking
from modelkit.platforms.dashboards import dashboard_file
from modelkit.platforms.kubernetes import BUNDLE, apply, kustomized, rolled_out
from modelkit.platforms.kubernetes_config import config_maps, config_volume
from modelkit.platforms.kubernetes_lowering import RULES, lowered, says
from modelkit.platforms.kubernetes_names import Object, object_name, provenance, secret_name, secret_notes
from modelkit.platforms.kubernetes_nodes import node_affinity
from modelkit.platforms.kubernetes_pod import (
    cache_room,
    container_security,
    environment,
    image_volumes,
    keeps_cache,
    literal,
    quantity,
    requests,
    startup,
    tolerations,
    volume_mounts,
)
from modelkit.platforms.kubernetes_scaling import max_replicas, replicas, scaling_spec, strategy
from modelkit.platforms.manifests import DIRECTORY, Client, Manifests

CHART, REPOSITORY, VERSION = "vllm-stack", "https://vllm-project.github.io/production-stack", "0.1.12"

_MODEL = "engine"  # modelSpec's name: with the release's it makes a host name, which has 63 characters at most
_API_KEY = "VLLM_API_KEY"


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What the chart makes of a plan's settings."""
    return lowered(plan, {**RULES, "serve.host": says("translated", "Service {name}-router-service", "reached inside "
                                                      "the cluster only; the chart's routerSpec opens it further"),
                          "serve.port": says("equal", "routerSpec.servicePort", "the router's Service"),
                          "serve.replicas": says("equal", "replicaCount", "pods at first, and at least"),
                          "serve.max_replicas": says("translated", "keda", "KEDA adds pods while requests wait")})


def manifests(plan: Plan) -> Manifests:
    """The chart's values, and what must be there before it. Raises Failure for another engine."""
    if plan.engine_name != "vllm":
        raise Failure("engine-not-on-platform", f"the chart starts vLLM, and stage `{plan.stage}` asks for "
                      f"{plan.engine_name}", hint="write `ENGINE vllm`, or `PLATFORM kubernetes`")
    container = engines.container(plan)
    maps = config_maps(plan, container.files)
    objects = {f"configmap-{number}.yaml": one for number, one in enumerate(maps, 1)}
    said = chart_values(plan, container, maps)
    said["servingEngineSpec"]["modelSpec"][0]["annotations"][BUNDLE] = digest({**objects, "values.yaml": said})
    values = File("values.yaml", yaml.dump(said), 0o644)
    return Manifests(plan, (values, *kustomized(objects), *dashboard_file(plan, container)), _client(plan, container),
                     _notes(plan, container))


def chart_values(plan: Plan, container: Container, maps: tuple[Object, ...]) -> Object:
    """All that differs from the chart's own values."""
    keyed = {"secretName": secret_name(plan), "secretKey": "api-key"} if plan.api_key is not None else None
    pods = max_replicas(plan) or replicas(plan)
    probe = {"httpGet": {"path": container.health, "port": container.port}}
    engine: Object = {
        # The router takes every pod that has these: the chart's own are the same for all releases.
        "labels": {"environment": plan.stage, "release": object_name(plan)},
        "containerPort": container.port, "servicePort": container.port, "imagePullPolicy": "IfNotPresent",
        **({} if container.gpus else {"runtimeClassName": ""}), **({"vllmApiKey": keyed} if keyed else {}),
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containerSecurityContext": container_security(),
        "strategy": strategy(container.gpus, keeps_cache(container, pods)),
        "startupProbe": {**probe, "initialDelaySeconds": 5, **startup(container)},
        "readinessProbe": {**probe, "initialDelaySeconds": 5, "periodSeconds": 5, "failureThreshold": 3,
                           "timeoutSeconds": 5},
        "livenessProbe": {**probe, "initialDelaySeconds": 5, "periodSeconds": 10, "failureThreshold": 6,
                          "timeoutSeconds": 5},
        "modelSpec": [_model(plan, container, maps)]}
    router = {"servicePort": plan.port, "imagePullPolicy": "IfNotPresent",
              "routingLogic": "prefixaware" if pods > 1 else "roundrobin",
              "containerSecurityContext": container_security(), **({"vllmApiKey": keyed} if keyed else {})}
    return {"servingEngineSpec": engine, "routerSpec": router, "kube-prometheus-stack": {"enabled": False},
            "prometheus-adapter": {"enabled": False}}


def _model(plan: Plan, container: Container, maps: tuple[Object, ...]) -> Object:
    repository, _, tag = container.image.rpartition(":")  # `name@sha256` and the digest: joined again with a colon
    need, most, affinity = requests(plan, container), max_replicas(plan), node_affinity(plan)
    pods = most or replicas(plan)
    mounts = [one for one in volume_mounts(container) if one["name"] not in ("shm", "cache")]
    model: Object = {
        "name": _MODEL, "annotations": provenance(plan), "repository": repository, "tag": tag,
        "modelURL": container.args[0], "replicaCount": replicas(plan), "requestCPU": int(need["cpu"]),
        "requestMemory": need["memory"],
        "requestGPU": container.gpus, "vllmConfig": _vllm(plan, container),
        "env": [one for one in environment(plan, container) if one["name"] != _API_KEY],
        "extraVolumes": [config_volume("config", maps, container.files), *image_volumes(container)],
        "extraVolumeMounts": mounts, **tolerations(container)}
    if container.shm_bytes:
        model["shmSize"] = quantity(container.shm_bytes)
    if container.cache and plan.source is not None and plan.source.kind == "hub":
        model["pvcStorage"] = cache_room(plan) if keeps_cache(container, pods) else {"emptyDir": {}}
    if affinity is not None:
        model["affinity"] = {"nodeAffinity": affinity}
    if most:
        model["keda"] = {"enabled": True, **scaling_spec(plan, most)}
    return model


def _vllm(plan: Plan, container: Container) -> Object:
    """The chart's own words for what it would say otherwise if they were left out; the rest is in `vllm.yaml`."""
    caching, shares = plan.setting("serve.prefix_caching"), plan.setting("serve.tensor_parallel")
    said: Object = {"enablePrefixCaching": bool(caching.value) if caching is not None else True,
                    "extraArgs": [literal(word) for word in container.args[1:]]}
    if container.shm_bytes:
        said["tensorParallelSize"] = int(shares.value) if shares is not None else 1
    return said


def _client(plan: Plan, container: Container) -> Client:
    name = object_name(plan)
    mine = ("-l", f"app.kubernetes.io/instance={name}")
    pods = ("-l", f"app.kubernetes.io/instance={name},app.kubernetes.io/component=serving-engine")
    return Client(
        programs=("kubectl", "helm"), install="kubectl and Helm 3: https://helm.sh/docs/intro/install",
        up=(apply(), ("helm", "upgrade", "--install", name, CHART, "--repo", REPOSITORY, "--version", VERSION,
                      "--values", f"{DIRECTORY}/values.yaml")),
        ready=tuple(rolled_out(f"{name}-{part}", container.start_seconds)
                    for part in (f"{_MODEL}-deployment-vllm", "deployment-router")),
        down=(("helm", "uninstall", name, "--ignore-not-found", "--wait"),
              ("kubectl", "delete", "configmap", "--ignore-not-found", *mine)),
        status=(("helm", "status", name), ("kubectl", "get", "deployment,pod,service", *mine)),
        logs=(("kubectl", "logs", "--prefix", "--tail=-1", "--max-log-requests=20", *pods),),
        effective=(("kubectl", "exec", f"deployment/{name}-{_MODEL}-deployment-vllm", "--", *asking(container)),))


def _notes(plan: Plan, container: Container) -> tuple[str, ...]:
    said = [*secret_notes(plan, container.secrets),
            "the chart's router comes by its newest tag: put a `repository` and `tag` of your choice under "
            "`routerSpec` in values.yaml",
            "the chart gives an ending pod 30 seconds: answers that take longer are cut when a version replaces "
            f"another (on platform kubernetes they have {container.drain_seconds})"]
    if max_replicas(plan):
        said.append("pods are added by KEDA, which must be installed: put your Prometheus' address into values.yaml")
    return tuple(said)
