"""Every object that is written for a cluster, held strictly against the other side's schema; a typo does not pass."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from modelkit.platforms.manifests import Manifests
from tests.unit.platforms.shapes import CHART_VALUES, SHAPES, faults
from tests.unit.platforms.written import (
    CLUSTERS,
    VERSIONS,
    as_pod,
    core_faults,
    every,
    manifests_of,
    objects,
    pod_spec,
)


def _faults(manifests: Manifests, version: str) -> list[str]:
    found = []
    for path, one in objects(manifests).items():
        shape = SHAPES.get((one["apiVersion"], one["kind"]))
        found += [f"{path} {fault}" for fault in (faults(one, shape) if shape else core_faults(one, version))]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("platform", CLUSTERS)
def test_every_object_is_as_the_other_side_has_it(platform: str, version: str) -> None:
    assert {name: found for name, one in every(platform) if (found := _faults(one, version))} == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_kserves_pods_are_pods(version: str) -> None:
    assert {name: found for name, one in every("kserve")
            if (found := core_faults(as_pod(pod_spec(one)), version))} == {}


def _values(manifests: Manifests) -> dict[str, Any]:
    return dict(yaml.safe_load(next(f.content for f in manifests.files if f.path == "values.yaml")))


_PASSED_ON = {"affinity", "containerSecurityContext", "env", "extraVolumes", "extraVolumeMounts", "labels",
              "securityContext", "strategy", "tolerations"}
"""Values of the chart that it puts as they are into what it writes."""


def test_the_charts_values_are_those_that_it_reads() -> None:
    assert {name: found for name, one in every("production-stack")
            if (found := faults(_values(one), CHART_VALUES))} == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_chart_puts_into_its_pods_fits_there(version: str) -> None:
    for name, manifests in every("production-stack"):
        engine = _values(manifests)["servingEngineSpec"]
        model = engine["modelSpec"][0]
        spec = {"securityContext": engine["securityContext"], "affinity": model.get("affinity", {}),
                "tolerations": model.get("tolerations", []), "volumes": model["extraVolumes"], "containers": [{
                    "name": "vllm", "image": f"{model['repository']}:{model['tag']}", "env": model["env"],
                    "args": model["vllmConfig"]["extraArgs"], "securityContext": engine["containerSecurityContext"],
                    "volumeMounts": model["extraVolumeMounts"], "startupProbe": engine["startupProbe"]}]}
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "any"}, "spec": {
            "strategy": engine["strategy"], "selector": {"matchLabels": engine["labels"]},
            "template": {"metadata": {"labels": engine["labels"]}, "spec": spec}}}
        assert core_faults(deployment, version) == [], name


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a mapping has a field whose name the other side knows: not a label's, an annotation's or a resource's."""
    if isinstance(value, dict):
        free = at and at[-1] in ("labels", "annotations", "data", "requests", "limits")
        here = [] if free else [(*at, key) for key in value if "/" not in key]
        return here + [place for key, one in value.items() for place in _places(one, (*at, key))]
    if isinstance(value, list):
        return [place for number, one in enumerate(value[:1]) for place in _places(one, (*at, number))]
    return []


def _misspelt(value: Any, place: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(value)
    at = changed
    for step in place[:-1]:
        at = at[step]
    at[place[-1] + "x"] = at.pop(place[-1])
    return changed


@pytest.mark.parametrize("platform", ("kubernetes", "llm-d", "kserve"))
def test_a_misspelt_field_is_found_wherever_it_is(platform: str) -> None:
    manifests = manifests_of(platform)["replicas"]
    for path, one in objects(manifests).items():
        if one["kind"] == "ConfigMap" and not path.endswith("config.yaml"):
            continue
        shape = SHAPES.get((one["apiVersion"], one["kind"]))
        for place in _places(one):
            if place[0] in ("apiVersion", "kind"):
                continue
            wrong = _misspelt(one, place)
            if place[:2] == ("spec", "template") and shape and len(place) > 2:
                found = core_faults(as_pod(wrong["spec"]["template"]), VERSIONS[-1])
            else:
                found = faults(wrong, shape) if shape else core_faults(wrong, VERSIONS[-1])
            assert found, (path, place)


def test_a_misspelt_value_of_the_chart_is_found() -> None:
    values = _values(manifests_of("production-stack")["replicas"])
    for place in _places(values):
        if not set(place[:-1]) & _PASSED_ON:
            assert faults(_misspelt(values, place), CHART_VALUES), place
