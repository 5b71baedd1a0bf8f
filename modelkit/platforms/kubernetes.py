"""Platform `kubernetes`: a Deployment behind a Service, with all that it needs, for `kubectl apply -k`."""

from __future__ import annotations

from modelkit import engines
from modelkit.engines.container import Container
from modelkit.engines.launch import File
from modelkit.models.digests import digest
from modelkit.planning.plan import Plan
from modelkit.platforms import yaml
from modelkit.platforms.asking import asking
from modelkit.platforms.dashboards import monitoring
from modelkit.platforms.kubernetes_config import config_maps
from modelkit.platforms.kubernetes_lowering import lower
from modelkit.platforms.kubernetes_names import Object, metadata, object_name, secret_notes, selector
from modelkit.platforms.kubernetes_pod import cache_room, keeps_cache, pod_template
from modelkit.platforms.kubernetes_scaling import (
    disruption_budget,
    max_replicas,
    replicas,
    scaled_object,
    strategy,
)
from modelkit.platforms.manifests import DIRECTORY, Client, Command, Manifests

__all__ = ["BUNDLE", "lower", "manifests"]

KUBECTL = "kubectl: https://kubernetes.io/docs/tasks/tools"

BUNDLE = "modelkit.dev/bundle"
"""The annotation with the digest of what was applied together."""


def manifests(plan: Plan) -> Manifests:
    """The stage's objects and the kustomization that applies them. Raises Failure for what a cluster can't do."""
    container = engines.container(plan)
    objects = workload(plan, container)
    return Manifests(plan, (*kustomized(objects), *monitoring(plan, container)), client(plan, container),
                     notes(plan, container))


def workload(plan: Plan, container: Container) -> dict[str, Object]:
    """Everything about a stage's pods, by the name of its file."""
    least, most = replicas(plan), max_replicas(plan)
    maps = config_maps(plan, container.files)
    template, keeps = pod_template(plan, container, maps, most or least), keeps_cache(container, most or least)
    objects: dict[str, Object] = {
        f"configmap-{one['metadata']['name'].removeprefix(object_name(plan) + '-').rpartition('-')[0]}.yaml": one
        for one in maps}
    objects["deployment.yaml"] = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(plan), "spec": {
        **({} if most else {"replicas": least}),  # an autoscaler's own business, else
        "revisionHistoryLimit": 3, "progressDeadlineSeconds": container.start_seconds + 600,
        "strategy": strategy(container.gpus, keeps),
        "selector": {"matchLabels": selector(plan)}, "template": template}}
    objects["service.yaml"] = service(plan)
    objects["networkpolicy.yaml"] = network_policy(plan, container)
    if keeps:
        objects["persistentvolumeclaim.yaml"] = cache_claim(plan)
    if (most or least) > 1:
        objects["poddisruptionbudget.yaml"] = disruption_budget(plan)
    if most:
        objects["scaledobject.yaml"] = scaled_object(plan, most)
    return sealed(objects, "deployment.yaml")


def sealed(objects: dict[str, Object], main: str) -> dict[str, Object]:
    """The objects, with the digest of them all on one of them: what the cluster says it has, and what we would write,
    are compared by it."""
    objects[main]["metadata"]["annotations"][BUNDLE] = digest(objects)
    return objects


def service(plan: Plan) -> Object:
    """The stage's address inside the cluster."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(plan), "spec": {
        "type": "ClusterIP", "selector": selector(plan),
        "ports": [{"name": "http", "port": plan.port, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}]}}


def network_policy(plan: Plan, container: Container) -> Object:
    """In: the API's port. Out: nothing, but for an engine that fetches its model: names and HTTPS."""
    fetches = plan.source is not None and plan.source.kind == "hub"
    out = [{"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
           {"ports": [{"protocol": "TCP", "port": 443}]}] if fetches else []
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata(plan), "spec": {
        "podSelector": {"matchLabels": selector(plan)}, "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": container.port}]}], "egress": out}}


def cache_claim(plan: Plan) -> Object:
    """A volume for what the engine fetches."""
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata(plan), "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": cache_room(plan)}}}}


def kustomized(objects: dict[str, Object]) -> tuple[File, ...]:
    """The objects as files, and the kustomization that names them."""
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                     "resources": list(objects)}
    return (File("kustomization.yaml", yaml.dump(kustomization), 0o644),
            *(File(name, yaml.dump(value), 0o644) for name, value in objects.items()))


def client(plan: Plan, container: Container) -> Client:
    """`kubectl`, in the namespace and cluster of its current context."""
    name = object_name(plan)
    mine = ("-l", f"app.kubernetes.io/instance={name}")
    return Client(
        programs=("kubectl",), install=KUBECTL, up=(apply(),), diff=(difference(),),
        ready=(rolled_out(name, container.start_seconds),),
        # ConfigMaps of versions before this one go with it: they have its label, too.
        down=(("kubectl", "delete", "--ignore-not-found", "-k", DIRECTORY),
              ("kubectl", "delete", "configmap", "--ignore-not-found", *mine)),
        status=(("kubectl", "get", "deployment,pod,service", *mine),),
        logs=(("kubectl", "logs", "--prefix", "--tail=-1", "--max-log-requests=20", *mine),),
        effective=(("kubectl", "exec", f"deployment/{name}", "--", *asking(container)),))


def apply() -> Command:
    """On the server's side: an object as large as the contract has no room for a copy of itself in an annotation."""
    return ("kubectl", "apply", "--server-side", "--field-manager=modelkit", "-k", DIRECTORY)


def difference() -> Command:
    """What `apply` would change; `kubectl diff` ends with 1 where that is anything."""
    return ("kubectl", "diff", "--server-side", "--field-manager=modelkit", "-k", DIRECTORY)


def rolled_out(deployment: str, seconds: int) -> Command:
    """Waits until all pods of a Deployment are of its newest version, and ready."""
    return ("kubectl", "rollout", "status", f"deployment/{deployment}", f"--timeout={seconds}s")


def notes(plan: Plan, container: Container) -> tuple[str, ...]:
    """What a person should know who applies it."""
    said = [*secret_notes(plan, container.secrets)]
    if any(mount.source.kind == "oci" for mount in container.mounts):
        said.append("the model is mounted as an image volume: that takes Kubernetes 1.33 or newer, a container runtime "
                    "that has it, and the right to pull the model where it is private")
    if max_replicas(plan):
        said.append("pods are added by KEDA, which must be installed, by what Prometheus knows: put your Prometheus' "
                    "address into scaledobject.yaml, and apply the folder `monitoring` for it to know the stage")
    elif replicas(plan) > 1 and container.cache and not container.mounts:
        said.append("each pod fetches the model for itself when it starts; `modelkit push` it and write `FROM oci://…` "
                    "for the nodes to keep it")
    return tuple(said)
