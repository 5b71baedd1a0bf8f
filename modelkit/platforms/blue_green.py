"""A stage on Kubernetes under Argo Rollouts: the new version starts beside the old one, is judged, and takes its place.

What differs from platform `kubernetes` only: a Rollout in the Deployment's place, a Service in front of the version
that does not serve yet, and an AnalysisTemplate whose Jobs run modelkit against it (Argo Rollouts 1.9, `argoproj.io/
v1alpha1`). A Job can only succeed or fail: where modelkit says `inconclusive` (8), Argo reads a failure, and the old
version stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelkit import engines
from modelkit.engines.container import Container
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.platforms.kubernetes import kustomized, sealed, service, workload
from modelkit.platforms.kubernetes_config import config_maps, config_volume
from modelkit.platforms.kubernetes_names import Object, metadata, object_name, secret_name
from modelkit.platforms.kubernetes_pod import container_security, literal
from modelkit.platforms.manifests import Manifests

VERSION = "argoproj.io/v1alpha1"
API_KEY = "MODELKIT_API_KEY"

_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_LONGEST = 3600  # seconds that one Job may take
_FOLDER = "/modelkit"


@dataclass(frozen=True)
class Judges:
    """What judges a version before it serves.

    `image` has modelkit as the program `modelkit`; `files` are the Modelfile and what its tests read, by their paths
    beside it; `commands` are modelkit's words, by the name of what they show.
    """

    image: str
    files: Mapping[str, str]
    commands: Mapping[str, tuple[str, ...]]


def preview_url(plan: Plan) -> str:
    """Where the version that does not serve yet answers, inside the cluster."""
    return f"http://{object_name(plan)}-preview:{plan.port}/v1"


def blue_green(made: Manifests, judges: Judges | None, keep_warm: int) -> Manifests:
    """The same stage under a Rollout. Without judges nobody but a person lets a version serve. `keep_warm` is how many
    seconds the version before stays, for a way back at once."""
    plan = made.plan
    if plan.platform != "kubernetes":
        raise Failure("usage", f"blue-green is for platform kubernetes, and stage `{plan.stage}` is on {plan.platform}",
                      hint="leave --strategy out")
    container = engines.container(plan)
    objects = workload(plan, container)
    written = {*objects, "kustomization.yaml"}
    objects = _under_rollout(plan, objects, judges is not None, keep_warm)
    if judges is not None:
        objects |= _judging(plan, container, judges)
    objects["rollout.yaml"]["metadata"]["annotations"].pop("modelkit.dev/bundle", None)
    others = tuple(file for file in made.files if file.path not in written)
    return replace(made, files=(*kustomized(sealed(objects, "rollout.yaml")), *others), client=None,
                   notes=(*made.notes, *_notes(plan, container, judges)))


def _under_rollout(plan: Plan, objects: dict[str, Object], judged: bool, keep_warm: int) -> dict[str, Object]:
    name = object_name(plan)
    deployment = objects.pop("deployment.yaml")
    spec = {key: value for key, value in deployment["spec"].items() if key != "strategy"}
    spec["strategy"] = {"blueGreen": {
        "activeService": name, "previewService": f"{name}-preview", "autoPromotionEnabled": judged,
        "scaleDownDelaySeconds": max(30, keep_warm),
        **({"prePromotionAnalysis": {"templates": [{"templateName": f"{name}-gates"}]}} if judged else {})}}
    rollout = {"apiVersion": VERSION, "kind": "Rollout", "metadata": deployment["metadata"], "spec": spec}
    preview = service(plan)
    preview["metadata"] = metadata(plan, "-preview")
    if "scaledobject.yaml" in objects:
        objects["scaledobject.yaml"]["spec"]["scaleTargetRef"] = {"apiVersion": VERSION, "kind": "Rollout",
                                                                  "name": name}
    return {"rollout.yaml": rollout, **objects, "service-preview.yaml": preview}


def _judging(plan: Plan, container: Container, judges: Judges) -> dict[str, Object]:
    for path in judges.files:
        if not _NAME.fullmatch(path) or {"..", ""} & set(path.split("/")):
            raise Failure("gate-file", f"a Job cannot be given `{path}`", hint="its name must be of letters, digits, "
                          "`.`, `_` and `-`, in the Modelfile's folder or below")
    files = tuple(File(f"gates/{path}", text) for path, text in sorted(judges.files.items()))
    maps = config_maps(plan, files)
    volume = config_volume("gates", maps, files)
    metrics = [{"name": name, "failureLimit": 0,
                "provider": {"job": {"spec": _job(plan, container, judges, words, volume)}}}
               for name, words in judges.commands.items()]
    template = {"apiVersion": VERSION, "kind": "AnalysisTemplate", "metadata": metadata(plan, "-gates"),
                "spec": {"metrics": metrics}}
    return {"analysistemplate.yaml": template,
            **{f"configmap-gates-{number}.yaml": one for number, one in enumerate(maps, 1)}}


def _job(plan: Plan, container: Container, judges: Judges, words: Iterable[str], files: Object) -> Object:
    """One try: what fails now would fail again, or it would hide that it flickers."""
    args = [literal(word) for word in words]
    if any("{{" in word for word in args):
        raise Failure("gate-braces", "Argo would fill in the braces of a word for a gate's Job",
                      hint="take `{{` out of the value of --arg")
    main: Object = {
        "name": "modelkit", "image": judges.image, "imagePullPolicy": "IfNotPresent", "command": ["modelkit"],
        "args": args, "workingDir": f"{_FOLDER}/gates",
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": "MODELKIT_HOME", "value": "/tmp/modelkit"},
                *_key(plan, container)],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": {**container_security(), "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "gates", "mountPath": _FOLDER, "readOnly": True},
                         {"name": "tmp", "mountPath": "/tmp"}]}
    pod: Object = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main], "volumes": [files, {"name": "tmp", "emptyDir": {}}]}
    return {"backoffLimit": 0, "activeDeadlineSeconds": _LONGEST, "template": {"spec": pod}}


def _key(plan: Plan, container: Container) -> list[Any]:
    """The stage's own key, from its Secret."""
    return [{"name": API_KEY, "valueFrom": {"secretKeyRef": {"name": secret_name(plan), "key": one.key}}}
            for one in container.secrets if one.reference == plan.api_key]


def _notes(plan: Plan, container: Container, judges: Judges | None) -> Iterable[str]:
    yield "Argo Rollouts must be installed; two versions run at once for a while, each with its GPUs" if \
        container.gpus else "Argo Rollouts must be installed; two versions run at once for a while"
    if judges is None:
        yield (f"nothing judges a version: it waits for `kubectl argo rollouts promote {object_name(plan)}`; with "
               "--gate-image its tests do")
