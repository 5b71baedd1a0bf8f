"""A stage on Ray as KubeRay's RayService: a head that only keeps order, and a worker for each copy of the engine."""

from __future__ import annotations

from modelkit.engines.container import CONFIG, Container
from modelkit.engines.launch import File
from modelkit.planning.plan import Plan
from modelkit.platforms import yaml
from modelkit.platforms.kubernetes_config import config_maps, config_volume
from modelkit.platforms.kubernetes_names import Object, labels, metadata, object_name, provenance, secret_notes
from modelkit.platforms.kubernetes_nodes import node_affinity
from modelkit.platforms.kubernetes_pod import (
    GIB,
    container_security,
    environment,
    grace_seconds,
    image_volumes,
    quantity,
    resources,
    tolerations,
)
from modelkit.platforms.kubernetes_scaling import max_replicas, replicas

RAY = "2.60.0"
"""Whose configuration this release writes."""

FOLDER = "kubernetes"

_HOME = "/home/ray/.cache/huggingface"
_USER, _GROUP = 1000, 100  # those of Ray's own images


def cluster_files(plan: Plan, container: Container, shown: tuple[File, ...], config: Object) -> tuple[File, ...]:
    """The RayService, its ConfigMaps, and the kustomization that applies them, in a folder of their own."""
    maps = config_maps(plan, shown)
    objects: dict[str, Object] = {
        f"configmap-{one['metadata']['name'].removeprefix(object_name(plan) + '-').rpartition('-')[0]}.yaml": one
        for one in maps}
    objects["rayservice.yaml"] = ray_service(plan, container, maps, shown, config)
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                     "resources": list(objects)}
    return tuple(File(f"{FOLDER}/{name}", yaml.dump(value), 0o644)
                 for name, value in {"kustomization.yaml": kustomization, **objects}.items())


def cluster_notes(plan: Plan, container: Container) -> tuple[str, ...]:
    """What a person should know who applies the folder to Kubernetes."""
    where = f"on Kubernetes with KubeRay 1.5 or newer: kubectl apply --server-side -k {FOLDER}"
    return (where, *(f"on Kubernetes, {note}" for note in secret_notes(plan, container.secrets)))


def ray_service(plan: Plan, container: Container, maps: tuple[Object, ...], shown: tuple[File, ...],
                config: Object) -> Object:
    """A change of it makes KubeRay start a new cluster beside the old one, and switch when that one answers."""
    least, most = replicas(plan), max_replicas(plan)
    inside = {**config, "http_options": {"host": "0.0.0.0", "port": container.port}}
    volumes = [config_volume("config", maps, shown), *image_volumes(container), *_scratch(container)]
    head = _pod(plan, container, volumes[:1], {"requests": {"cpu": "1", "memory": quantity(4 * GIB)},
                                                "limits": {"memory": quantity(4 * GIB)}}, engine=False)
    worker = _pod(plan, container, volumes, resources(plan, container), engine=True)
    return {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": metadata(plan), "spec": {
        "serveConfigV2": yaml.dump(inside), "excludeHeadPodFromServeSvc": True,
        "rayClusterConfig": {
            "rayVersion": RAY, **({"enableInTreeAutoscaling": True} if most else {}),
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0", "num-gpus": "0"}, "template": head},
            "workerGroupSpecs": [{
                "groupName": "engine", "replicas": least, "minReplicas": least, "maxReplicas": most or least,
                "rayStartParams": {"num-gpus": str(container.gpus)}, "template": worker}]}}}


def _pod(plan: Plan, container: Container, volumes: list[Object], wants: Object, *, engine: bool) -> Object:
    seen = [{"name": "config", "mountPath": CONFIG, "readOnly": True}]
    if engine:
        seen += [{"name": f"model-{number}", "mountPath": mount.path, "readOnly": True}
                 for number, mount in enumerate(container.mounts)]
        seen += [{"name": "shm", "mountPath": "/dev/shm"}, {"name": "cache", "mountPath": _HOME}]
    ports = [("serve", container.port), ("metrics", 8080)]
    ports += [] if engine else [("gcs", 6379), ("dashboard", 8265), ("client", 10001)]
    # The application's module is imported on the head, too: its path is the whole container's.
    paths = [{"name": name, "value": container.env[name]} for name in ("PYTHONPATH",) if name in container.env]
    secrets = [one for one in environment(plan, container) if "valueFrom" in one]
    spec: Object = {
        "enableServiceLinks": False, "terminationGracePeriodSeconds": grace_seconds(container),
        "securityContext": {"runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _GROUP, "fsGroup": _GROUP,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "ray-worker" if engine else "ray-head", "image": container.image,
            "imagePullPolicy": "IfNotPresent", "env": [*paths, *secrets],
            "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports],
            "resources": wants, "securityContext": container_security(), "volumeMounts": seen}],
        "volumes": volumes}
    if engine:
        spec |= tolerations(container)
        if (affinity := node_affinity(plan)) is not None:
            spec["affinity"] = {"nodeAffinity": affinity}
    return {"metadata": {"labels": labels(plan), "annotations": provenance(plan)}, "spec": spec}


def _scratch(container: Container) -> list[Object]:
    """Ray keeps its objects, and GPUs' workers their talk, in /dev/shm; what is fetched lasts as long as the pod."""
    size = max(container.shm_bytes, 2 * GIB)
    return [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": quantity(size)}},
            {"name": "cache", "emptyDir": {}}]
