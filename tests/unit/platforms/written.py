"""What the platforms on Kubernetes write for every case, as objects, and Kubernetes' own schema held against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import kubernetes_validate
import yaml
from kubernetes_validate import utils

from modelkit.failure import Failure
from modelkit.platforms.manifests import Manifests
from tests.unit.platforms.cases import CASES, rendered

CLUSTERS = ("kubernetes", "llm-d", "kserve", "production-stack")
VERSIONS = ("1.33", "1.37")
"""Of Kubernetes: the oldest with all that is written, and the newest with a schema."""

Object = dict[str, Any]


@cache
def manifests_of(platform: str) -> dict[str, Manifests]:
    """By case; without those that are refused, which golden files show."""
    found = {}
    for case in CASES:
        try:
            found[case] = rendered(case, platform)
        except Failure:
            continue
    assert len(found) >= 12, "too much is refused"
    return found


def every(*platforms: str) -> Iterator[tuple[str, Manifests]]:
    """All manifests of platforms, each with a name for messages."""
    for platform in platforms or CLUSTERS:
        for case, manifests in manifests_of(platform).items():
            yield f"{case} on {platform}", manifests


def objects(manifests: Manifests) -> dict[str, Object]:
    """The Kubernetes objects among the files, by path."""
    documents = {file.path: _parsed(file.content) for file in manifests.files if file.path.endswith((".yaml", ".yml"))}
    return {path: one for path, one in documents.items()
            if isinstance(one, dict) and "kind" in one and one["kind"] != "Kustomization"}


@cache
def _parsed(content: str) -> Any:
    return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def pod_spec(manifests: Manifests) -> Object:
    """The spec of the pods that the engine runs in."""
    found = objects(manifests)
    if "deployment.yaml" in found:
        return dict(found["deployment.yaml"]["spec"]["template"]["spec"])
    return dict(found["llminferenceservice.yaml"]["spec"]["template"])


utils.schema_contents = cache(utils.schema_contents)  # it would read 2 MB of JSON for each object


def core_faults(value: Object, version: str) -> list[str]:
    """What Kubernetes' own strict schema says against an object."""
    return _core_faults(json.dumps(value), version)


@cache
def _core_faults(text: str, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def as_pod(spec: Object) -> Object:
    """A pod of that spec: for what a schema of its own hides inside a custom resource."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}
