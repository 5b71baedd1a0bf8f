"""Promotions for clusters: a Rollout with its analysis, weights of versions, each valid by the other side's schema."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import yaml

from modelkit.failure import Failure
from modelkit.platforms.blue_green import Judges, blue_green
from modelkit.platforms.manifests import Manifests
from modelkit.platforms.weighted import STOP, weighted
from tests.unit.platforms.cases import rendered
from tests.unit.platforms.promoted import FEW, IMAGE, another, folder, judges, promoted
from tests.unit.platforms.shapes import SHAPES, faults
from tests.unit.platforms.written import VERSIONS, as_pod, core_faults, objects

Object = dict[str, Any]


@cache
def kubernetes() -> Manifests:
    return rendered("replicas", "kubernetes")


@cache
def kserve() -> Manifests:
    return rendered("replicas", "kserve")


def job_faults(spec: Object) -> list[str]:
    return core_faults({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "any"}, "spec": spec},
                       VERSIONS[-1])


@pytest.mark.parametrize(("name", "made"), [pytest.param(name, made, id=name) for name, made in promoted(FEW)])
def test_every_object_is_as_the_other_side_has_it(name: str, made: Manifests) -> None:
    found = []
    for path, one in objects(made).items():
        shape = SHAPES.get((one["apiVersion"], one["kind"]))
        found += [f"{path} {fault}" for fault in (faults(one, shape) if shape else core_faults(one, VERSIONS[-1]))]
        if one["kind"] == "Rollout":
            found += core_faults(as_pod(one["spec"]["template"]["spec"]), VERSIONS[-1])
        if one["kind"] == "AnalysisTemplate":
            found += [fault for each in one["spec"]["metrics"] for fault in job_faults(each["provider"]["job"]["spec"])]
    assert found == []


def test_a_misspelt_field_of_a_rollout_is_found() -> None:
    rollout = objects(blue_green(kubernetes(), None, 0))["rollout.yaml"]
    rollout["spec"]["strategy"]["blueGreen"]["activService"] = "x"
    assert faults(rollout, SHAPES["argoproj.io/v1alpha1", "Rollout"])


def test_everything_named_is_there() -> None:
    made = objects(blue_green(kubernetes(), judges(kubernetes()), 600))
    said = made["rollout.yaml"]["spec"]["strategy"]["blueGreen"]
    names = {(one["kind"], one["metadata"]["name"]) for one in made.values()}
    assert {("Service", said["activeService"]), ("Service", said["previewService"])} <= names
    (template,) = said["prePromotionAnalysis"]["templates"]
    assert ("AnalysisTemplate", template["templateName"]) in names
    maps = {name for kind, name in names if kind == "ConfigMap"}
    for metric in made["analysistemplate.yaml"]["spec"]["metrics"]:
        pod = metric["provider"]["job"]["spec"]["template"]["spec"]
        files = pod["volumes"][0]["projected"]["sources"]
        assert {one["configMap"]["name"] for one in files} <= maps
        assert [item["path"] for one in files for item in one["configMap"]["items"]] == [
            "gates/Modelfile", "gates/tests/tools.json"]
        assert f"http://{said['previewService']}:" in pod["containers"][0]["args"][3]
    assert ("Deployment", "x") not in names and not any(kind == "Deployment" for kind, _ in names)
    listed = yaml.safe_load(next(file.content for file in blue_green(kubernetes(), judges(kubernetes()), 600).files
                                 if file.path == "kustomization.yaml"))["resources"]
    assert set(listed) == {path for path in made if "/" not in path}


def test_only_judges_let_a_version_serve_by_itself() -> None:
    alone, judged = blue_green(kubernetes(), None, 0), blue_green(kubernetes(), judges(kubernetes()), 600)
    said = [objects(one)["rollout.yaml"]["spec"]["strategy"]["blueGreen"] for one in (alone, judged)]
    assert [one["autoPromotionEnabled"] for one in said] == [False, True]
    assert [one["scaleDownDelaySeconds"] for one in said] == [30, 600]
    assert "kubectl argo rollouts promote" in alone.notes[-1]


def test_who_adds_pods_adds_them_to_the_rollout() -> None:
    scaled = objects(blue_green(kubernetes(), None, 0))["scaledobject.yaml"]
    assert scaled["spec"]["scaleTargetRef"]["kind"] == "Rollout"


def test_a_jobs_pod_may_do_nothing_but_ask() -> None:
    metric = objects(blue_green(kubernetes(), judges(kubernetes()), 0))["analysistemplate.yaml"]["spec"]["metrics"][0]
    spec = metric["provider"]["job"]["spec"]
    pod = spec["template"]["spec"]
    assert (spec["backoffLimit"], pod["restartPolicy"], pod["automountServiceAccountToken"]) == (0, "Never", False)
    assert pod["securityContext"]["runAsNonRoot"] and pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]


@pytest.mark.parametrize(("path", "word", "code"), [
    ("../x", "test", "gate-file"), ("a b", "test", "gate-file"), ("/etc/passwd", "test", "gate-file"),
    ("Modelfile", "{{args.x}}", "gate-braces")])
def test_what_a_job_cannot_have_is_refused(path: str, word: str, code: str) -> None:
    with pytest.raises(Failure) as raised:
        blue_green(kubernetes(), Judges(IMAGE, {path: "x"}, {"tests": (word,)}), 0)
    assert raised.value.code == code


def weights(made: Manifests) -> dict[str, tuple[int, bool]]:
    """By version: percent, and whether it is stopped."""
    return {path.partition("/")[0]: (one["spec"]["router"]["route"]["weight"],
                                     one["metadata"]["annotations"].get(STOP) == "true")
            for path, one in objects(made).items() if one["kind"] == "LLMInferenceService"}


def test_weights_go_from_one_version_to_the_next_and_back() -> None:
    old, new = (made.digest[7:15] for made in (kserve(), another(kserve())))
    first = weighted(kserve(), (), 100)
    assert weights(first) == {old: (100, False)}
    canary = weighted(another(kserve()), folder(first), 5)
    assert weights(canary) == {new: (5, False), old: (95, False)}
    full = weighted(another(kserve()), folder(canary), 100)
    assert weights(full) == {new: (100, False), old: (0, True)}
    back = weighted(kserve(), folder(full), 100)
    assert weights(back) == {old: (100, False), new: (0, True)}


def test_versions_have_names_of_their_own_and_one_route() -> None:
    canary = weighted(another(kserve()), folder(weighted(kserve(), (), 100)), 50)
    services = [one for one in objects(canary).values() if one["kind"] == "LLMInferenceService"]
    assert len({one["metadata"]["name"] for one in services}) == 2
    assert len({one["spec"]["router"]["route"]["group"] for one in services}) == 1
    top = yaml.safe_load(next(file.content for file in canary.files if file.path == "kustomization.yaml"))
    assert set(top["resources"]) == set(weights(canary))


def test_a_version_keeps_every_byte_but_its_weight() -> None:
    first = weighted(kserve(), (), 100)
    again = weighted(kserve(), folder(first), 100)
    assert {file.path: file.content for file in again.files} == {file.path: file.content for file in first.files}


def test_a_first_version_has_all_requests() -> None:
    with pytest.raises(Failure, match="there is no other version"):
        weighted(kserve(), (), 10)


@pytest.mark.parametrize("render", [lambda made: blue_green(made, None, 0), lambda made: weighted(made, (), 100)])
def test_each_is_for_its_platform(render: Any) -> None:
    with pytest.raises(Failure) as raised:
        render(rendered("replicas", "llm-d"))
    assert raised.value.code == "usage"
