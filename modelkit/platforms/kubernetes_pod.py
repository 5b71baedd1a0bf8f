"""An engine's container as a pod: what it runs, sees and may do. Every platform on Kubernetes builds on it."""

from __future__ import annotations

import math

from modelkit.engines.container import CONFIG, Container
from modelkit.failure import Failure
from modelkit.planning.plan import ModelSource, Plan
from modelkit.platforms.kubernetes_config import config_volume
from modelkit.platforms.kubernetes_names import Object, labels, object_name, provenance, secret_name, selector
from modelkit.platforms.kubernetes_nodes import node_affinity

GIB = 1 << 30

PRE_STOP = 10
"""Seconds between a pod's leaving the Service and its SIGTERM: every node must have heard of it."""

_MARGIN = 20  # seconds to end in, after the last request
_PROBE = 10  # seconds between two looks at a starting engine
_UNKNOWN_MODEL = 100 * GIB
_USER = 2000  # vLLM's images that don't run as root have this user


def grace_seconds(container: Container) -> int:
    """From a pod's end being asked for to SIGKILL."""
    return PRE_STOP + container.drain_seconds + _MARGIN


def pod_template(plan: Plan, container: Container, maps: tuple[Object, ...], replicas: int) -> Object:
    """The template of a Deployment's pods. Raises Failure for a model that only this machine has."""
    volumes = [config_volume("config", maps, container.files), *image_volumes(container)]
    if container.shm_bytes:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": quantity(container.shm_bytes)}})
    if container.cache:
        volumes.append(_cache(plan, container, replicas))
    spec: Object = {
        "enableServiceLinks": False,  # a Service named `vllm` would set VLLM_PORT to an address
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": grace_seconds(container),
        "securityContext": _pod_security(container.image),
        "containers": [_container(plan, container)], "volumes": volumes}
    spec |= tolerations(container)
    if (affinity := node_affinity(plan)) is not None:
        spec["affinity"] = {"nodeAffinity": affinity}
    if replicas > 1:
        spec["topologySpreadConstraints"] = [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(plan)}}]
    return {"metadata": {"labels": labels(plan), "annotations": provenance(plan)}, "spec": spec}


def _container(plan: Plan, container: Container) -> Object:
    said: Object = {"name": "engine", "image": container.image, "imagePullPolicy": "IfNotPresent"}
    if container.command:
        said["command"] = [literal(word) for word in container.command]
    return said | {
        "args": [literal(word) for word in container.args], "env": environment(plan, container),
        "ports": [{"name": "http", "containerPort": container.port, "protocol": "TCP"}],
        "resources": resources(plan, container), **probes(container),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP}}},  # by the kubelet: the image needs no `sleep`
        "securityContext": container_security(), "volumeMounts": volume_mounts(container),
        "terminationMessagePolicy": "FallbackToLogsOnError"}


def environment(plan: Plan, container: Container) -> list[Object]:
    """Variables by name; secrets stay in their Secret."""
    env = dict(container.env)
    if container.cache and non_root(container.image):
        env["HF_HOME"] = _cache_path(container)
    plain = [{"name": name, "value": literal(value)} for name, value in sorted(env.items())]
    return plain + [{"name": one.variable, "valueFrom": {"secretKeyRef": {
        "name": secret_name(plan), "key": one.key, **({"optional": True} if one.optional else {})}}}
        for one in container.secrets]


def probes(container: Container) -> Object:
    """Health asks for no key; an engine may load for as long as `start_seconds` before anybody loses patience."""
    ask = {"httpGet": {"path": container.health, "port": "http"}}
    return {"startupProbe": {**ask, **startup(container)},
            "readinessProbe": {**ask, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
            "livenessProbe": {**ask, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6}}


def startup(container: Container) -> Object:
    """How often a starting engine is asked, and how often it may fail to answer."""
    return {"periodSeconds": _PROBE, "timeoutSeconds": 5,
            "failureThreshold": max(1, math.ceil(container.start_seconds / _PROBE))}


def tolerations(container: Container) -> Object:
    """A pod spec's field for nodes that only those who want a GPU may use; empty where none is wanted."""
    if not container.gpus:
        return {}
    return {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}


def volume_mounts(container: Container) -> list[Object]:
    """Where the pod's volumes are seen, by the volumes' names."""
    mounts: list[Object] = [{"name": "config", "mountPath": CONFIG, "readOnly": True}]
    mounts += [{"name": f"model-{number}", "mountPath": mount.path, "readOnly": True}
               for number, mount in enumerate(container.mounts)]
    if container.shm_bytes:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    if container.cache:
        mounts.append({"name": "cache", "mountPath": _cache_path(container)})
    return mounts


def image_volumes(container: Container) -> list[Object]:
    """What the kubelet pulls and shows the engine, as volumes."""
    return [{"name": f"model-{number}", "image": {"reference": image_volume(mount.source),
                                                  "pullPolicy": "IfNotPresent"}}
            for number, mount in enumerate(container.mounts)]


def image_volume(source: ModelSource) -> str:
    """The reference of a model that the kubelet pulls and mounts. Raises Failure for one that it can't."""
    if source.kind != "oci":
        raise Failure("weights-not-reachable", f"a cluster cannot mount {source.name}", hint="`modelkit push` it to a "
                      "registry and write `oci://…` in the Modelfile")
    return source.name


def keeps_cache(container: Container, pods: int) -> bool:
    """Whether what an engine fetches outlives its pod: where there is one pod only, since most volumes go to one node
    at a time, and where it fetches anything."""
    return container.cache is not None and pods == 1 and not container.mounts


def cache_room(plan: Plan) -> str:
    """The size of a volume for what an engine fetches: twice its weights, so that the next version fits beside this."""
    return quantity(2 * plan.weights.size + 8 * GIB if plan.weights is not None else _UNKNOWN_MODEL)


def _cache(plan: Plan, container: Container, pods: int) -> Object:
    if not keeps_cache(container, pods):
        return {"name": "cache", "emptyDir": {}}
    return {"name": "cache", "persistentVolumeClaim": {"claimName": object_name(plan)}}


def _cache_path(container: Container) -> str:
    assert container.cache is not None
    return "/cache/huggingface" if non_root(container.image) else container.cache


def resources(plan: Plan, container: Container) -> Object:
    """What a node must have, and the GPUs that nobody else gets."""
    limits: Object = {"limits": {"nvidia.com/gpu": str(container.gpus)}} if container.gpus else {}
    return {"requests": requests(plan, container), **limits}


def requests(plan: Plan, container: Container) -> Object:
    """What a node must have. GPUs hold the model; without one it lies in memory, beside the attention cache."""
    if container.gpus:
        return {"cpu": str(2 * container.gpus), "memory": quantity(8 * GIB * container.gpus + container.shm_bytes)}
    weights = plan.weights.size if plan.weights is not None else 8 * GIB
    conversations = (plan.kv_bytes_per_token or 0) * plan.context_length * plan.max_concurrency
    return {"cpu": "4", "memory": quantity(weights + min(conversations, 4 * GIB) + 4 * GIB + container.shm_bytes)}


def quantity(size: int) -> str:
    """Bytes as Kubernetes writes them: whole GiB, rounded up.

    >>> quantity(1), quantity(2 << 30)
    ('1Gi', '2Gi')
    """
    return f"{max(1, -(-size // GIB))}Gi"


def literal(word: str) -> str:
    """A word of a command line or a variable as it is: the kubelet replaces `$(NAME)` in it, and reads `$$` as `$`."""
    return word.replace("$", "$$")


def non_root(image: str) -> bool:
    """Whether an image is known to run as another user than root."""
    return "nonroot" in image.partition("@")[0].rpartition("/")[2]


def _pod_security(image: str) -> Object:
    """vLLM's common image runs as root and keeps its cache in root's home; the one named `nonroot` does not."""
    plain = {"seccompProfile": {"type": "RuntimeDefault"}}
    if not non_root(image):
        return plain
    return {"runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": 0, "fsGroup": _USER, **plain}


def container_security() -> Object:
    """No more rights than a process that reads files and listens on a high port needs."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
