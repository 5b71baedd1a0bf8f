"""Platform `kserve`: an LLMInferenceService, and the ConfigMaps that its pods see.

KServe (0.21) fetches the model and starts vLLM with a shell script of its own, which reads its arguments a second time,
and fills Go templates in the whole object. So arguments are few, quoted for that shell, and never have `{{`.
"""

from __future__ import annotations

import shlex
from typing import Any

from modelkit import engines
from modelkit.engines.container import MODEL, Container
from modelkit.engines.vllm_adapters import RANKS, served_name  # KServe starts no other engine
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, ModelSource, Plan
from modelkit.platforms.dashboards import dashboard_file
from modelkit.platforms.kubernetes import KUBECTL, apply, difference, kustomized, sealed
from modelkit.platforms.kubernetes_config import config_maps, config_volume
from modelkit.platforms.kubernetes_lowering import RULES, lowered, says
from modelkit.platforms.kubernetes_names import Object, metadata, object_name, secret_notes
from modelkit.platforms.kubernetes_nodes import node_affinity
from modelkit.platforms.kubernetes_pod import (
    environment,
    grace_seconds,
    literal,
    non_root,
    quantity,
    resources,
    startup,
    tolerations,
    volume_mounts,
)
from modelkit.platforms.kubernetes_scaling import max_replicas, replicas, scaling_spec
from modelkit.platforms.manifests import DIRECTORY, Client, Manifests

WEIGHT = 100
"""This version's share of its route's requests; another object of the same group has the rest."""


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What an LLMInferenceService makes of a plan's settings."""
    gateway = "KServe makes the route; the Gateway's address is the stage's"
    return lowered(plan, {**RULES, "serve.host": says("translated", "Gateway", gateway),
                          "serve.port": says("translated", "Gateway", "the Gateway's port"),
                          "adapters": says("equal", "spec.model.lora", "KServe fetches them, each at its commit"),
                          "serve.replicas": says("equal", "spec.replicas", "pods"),
                          "serve.max_replicas": says("translated", "spec.scaling", "KEDA adds pods while requests "
                                                     "wait")})


def manifests(plan: Plan) -> Manifests:
    """The service and what its pods mount. Raises Failure for another engine, and for what KServe can't fetch."""
    if plan.engine_name != "vllm":
        raise Failure("engine-not-on-platform", f"KServe starts vLLM, and stage `{plan.stage}` asks for "
                      f"{plan.engine_name}", hint="write `ENGINE vllm`, or `PLATFORM kubernetes`")
    container = engines.container(engine_plan(plan))
    maps = config_maps(plan, container.files)
    objects = {f"configmap-{number}.yaml": one for number, one in enumerate(maps, 1)}
    objects["llminferenceservice.yaml"] = inference_service(plan, container, maps)
    files = (*kustomized(sealed(objects, "llminferenceservice.yaml")), *dashboard_file(plan, container))
    return Manifests(plan, files, _client(plan, container), tuple(_notes(plan, container)))


def engine_plan(plan: Plan) -> Plan:
    """The plan as the engine sees it: KServe mounts the model and the adapters itself, and says where they are."""
    mounted = ModelSource(kind="oci", name="model") if plan.source is not None else None
    return plan.model_copy(update={"source": mounted, "adapters": ()})


def inference_service(plan: Plan, container: Container, maps: tuple[Object, ...]) -> Object:
    """The LLMInferenceService: one version of a model, in a route that other versions may share by weight."""
    most = max_replicas(plan)
    spec: Object = {
        "model": {"uri": uri(plan.source), "name": served_name(plan), **_lora(plan)},
        **({"scaling": _scaling(plan, most)} if most else {"replicas": replicas(plan)}),
        "router": {"gateway": {}, "route": {"group": group(plan), "weight": WEIGHT}, "scheduler": {}},
        "template": _template(plan, container, maps)}
    _presume_no_templates(spec)
    return {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService", "metadata": metadata(plan),
            "spec": spec}


def group(plan: Plan) -> str:
    """The versions that share a route: those of one model name, whatever their stage."""
    return object_name(plan.model_copy(update={"stage": "route"}))


def uri(source: ModelSource | None) -> str:
    """A model's source as KServe's storage initializer reads it. Raises Failure for a folder of this machine."""
    assert source is not None
    if source.kind == "hub":
        return f"hf://{source.name}:{source.revision}"
    if source.kind == "oci":
        return f"oci://{source.name}"
    raise Failure("weights-not-reachable", f"KServe cannot fetch {source.name}",
                  hint="`modelkit push` it to a registry and write `FROM oci://…`")


def _lora(plan: Plan) -> Object:
    if not plan.adapters:
        return {}
    for one in plan.adapters:
        if one.source is None or one.source.kind != "hub":
            raise Failure("adapter-not-reachable", f"KServe fetches adapters from the Hugging Face Hub only, and "
                          f"`{one.name}` is {one.reference} ({one.origin})",
                          hint="publish it there, or write `PLATFORM kubernetes` and take the adapter from a registry")
    said: Object = {"adapters": [{"name": one.name, "uri": uri(one.source)} for one in plan.adapters],
                    "maxAdapters": len(plan.adapters)}
    if ranks := [one.rank for one in plan.adapters if one.rank is not None]:
        if max(ranks) > RANKS[-1]:
            raise Failure("adapter-rank", f"an adapter has rank {max(ranks)}, and vLLM takes {RANKS[-1]} at most",
                          hint="merge it into its base and name the result in FROM, or train one of a smaller rank")
        said["maxRank"] = next(rank for rank in RANKS if rank >= max(ranks))
    return {"lora": said}


def _scaling(plan: Plan, most: int) -> Object:
    spec = scaling_spec(plan, most)
    least, most = spec.pop("minReplicaCount"), spec.pop("maxReplicaCount")
    return {"minReplicas": least, "maxReplicas": most, "keda": spec}


def _template(plan: Plan, container: Container, maps: tuple[Object, ...]) -> Object:
    """What differs from KServe's own template; the two are merged, lists by name."""
    assert container.args[:1] == (MODEL,), "the model is not the first argument"
    own = [mount for mount in volume_mounts(container) if mount["name"] == "config"]
    main: Object = {
        "name": "main", "image": container.image, "imagePullPolicy": "IfNotPresent",
        "args": [literal(shlex.quote(word)) for word in container.args[1:]], "env": environment(plan, container),
        "resources": resources(plan, container), "volumeMounts": own, "startupProbe": startup(container)}
    if not non_root(container.image):  # KServe's own template asks for another user than root
        main["securityContext"] = {"runAsNonRoot": False}
    volumes = [config_volume("config", maps, container.files)]
    if container.shm_bytes:
        volumes.append({"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": quantity(container.shm_bytes)}})
    affinity = node_affinity(plan)
    return {"enableServiceLinks": False, "terminationGracePeriodSeconds": grace_seconds(container),
            "containers": [main], "volumes": volumes, **tolerations(container),
            **({"affinity": {"nodeAffinity": affinity}} if affinity else {})}


def _presume_no_templates(value: Any) -> None:
    for text in _texts(value):
        if "{{" in text:
            raise Failure("kserve-template", f"KServe would fill in the braces of {text[:60]!r}",
                          hint="take the FLAG out, or write `PLATFORM kubernetes`")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


def _client(plan: Plan, container: Container) -> Client:
    name = object_name(plan)
    mine = ("-l", f"app.kubernetes.io/instance={name}")
    pods = ("-l", f"app.kubernetes.io/name={name}")  # KServe's label
    return Client(
        programs=("kubectl",), install=KUBECTL, up=(apply(),), diff=(difference(),),
        ready=(("kubectl", "wait", "--for=condition=Ready", f"llminferenceservice/{name}",
                f"--timeout={container.start_seconds}s"),),
        down=(("kubectl", "delete", "--ignore-not-found", "-k", DIRECTORY),
              ("kubectl", "delete", "configmap", "--ignore-not-found", *mine)),
        status=(("kubectl", "get", "llminferenceservice", name), ("kubectl", "get", "pod", *pods)),
        logs=(("kubectl", "logs", "--prefix", "--tail=-1", "--max-log-requests=20", "-c", "main", *pods),))


def _notes(plan: Plan, container: Container) -> list[str]:
    said = [*secret_notes(plan, container.secrets)]
    if plan.source is not None and plan.source.kind == "hub":
        said.append("a private model's token is given to KServe's storage initializer, in a Secret of the namespace's "
                    "service account")
    elif plan.source is not None:
        said.append("KServe mounts an OCI model as a container image that has it in /models")
    if max_replicas(plan):
        said.append("pods are added by KEDA, which must be installed: put your Prometheus' address into "
                    "llminferenceservice.yaml")
    return said
