"""Versions of a stage on KServe, side by side in one folder: each an LLMInferenceService of its own in the same route,
with its part of the requests.

A promotion there is a change of weights. The version before keeps its object, stopped and without requests, until the
next one comes: the way back is another change of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import yaml as reader

from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.platforms import yaml
from modelkit.platforms.kubernetes_names import Object, object_name
from modelkit.platforms.manifests import Manifests

STOP = "serving.kserve.io/stop"
"""KServe takes away the pods of an object with this annotation, and keeps the object."""

_SERVICE = "llminferenceservice.yaml"


@dataclass(frozen=True)
class Version:
    """One version in a folder: its files by name, and its percent of the requests."""

    id: str
    weight: int
    files: Mapping[str, str]


def versions_in(files: Mapping[str, str]) -> tuple[Version, ...]:
    """The versions that a folder's files hold, the one with most requests first."""
    found: dict[str, dict[str, str]] = {}
    for path, text in files.items():
        folder, slash, name = path.partition("/")
        if slash and "/" not in name:
            found.setdefault(folder, {})[name] = text
    known = [Version(name, int(_service(held)["spec"]["router"]["route"]["weight"]), held)
             for name, held in found.items() if _SERVICE in held]
    return tuple(sorted(known, key=lambda one: (-one.weight, one.id)))


def weighted(made: Manifests, before: tuple[Version, ...], weight: int) -> Manifests:
    """The folder with this version at `weight` percent, and the one that served most at the rest.

    Others go: of what neither serves nor served last nobody needs a way back.
    """
    plan = made.plan
    if plan.platform != "kserve":
        raise Failure("usage", f"weights are for platform kserve, and stage `{plan.stage}` is on {plan.platform}",
                      hint="leave --weight out")
    new = made.digest.removeprefix("sha256:")[:8]
    stable = next((one for one in before if one.id != new), None)
    if stable is None and weight != 100:
        raise Failure("no-version-before", f"there is no other version of stage `{plan.stage}` to answer the other "
                      f"{100 - weight} %", hint="render the first one without --weight")
    held = {file.path: file.content for file in made.files if "/" not in file.path}
    versions = [_at(Version(new, weight, held), f"{object_name(plan)}-{new}")]
    if stable is not None:
        versions.append(_at(replace(stable, weight=100 - weight), f"{object_name(plan)}-{stable.id}"))
    top = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
           "resources": [one.id for one in versions]}
    files = [File("kustomization.yaml", yaml.dump(top), 0o644),
             *(File(f"{one.id}/{name}", text, 0o644) for one in versions for name, text in sorted(one.files.items()))]
    return replace(made, files=tuple(files), client=None, notes=(*made.notes, *_notes(versions)))


def _at(version: Version, name: str) -> Version:
    """A version whose object has that name, its weight, and runs if it has requests."""
    service = _service(version.files)
    service["metadata"]["name"] = name
    service["spec"]["router"]["route"]["weight"] = version.weight
    annotations = service["metadata"].setdefault("annotations", {})
    annotations.pop(STOP, None)
    if version.weight == 0:
        annotations[STOP] = "true"
    return replace(version, files={**version.files, _SERVICE: yaml.dump(service)})


def _service(files: Mapping[str, str]) -> Object:
    return dict(reader.safe_load(files[_SERVICE]))


def _notes(versions: list[Version]) -> list[str]:
    shares = ", ".join(f"{one.id} {one.weight} %" for one in versions)
    said = [f"requests: {shares}"]
    if len(versions) > 1 and versions[1].weight == 0:
        said.append(f"{versions[1].id} is stopped and kept: `git revert` brings it back")
    return said
