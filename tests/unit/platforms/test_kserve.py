"""Platform `kserve`: what its shell and its templates would do to arguments, its sources, adapters and weights."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.platforms import kserve, manifests
from tests.unit.platforms.cases import CASES, plan_of
from tests.unit.platforms.written import manifests_of, objects, pod_spec

SCRIPT = 'eval "exec printf %s\\\\\\\\n --served-model-name "name" \\\n  ${NOTHING} \\\n  $@"'
"""How KServe's own start script ends: the arguments are read by a shell a second time."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("plain", "kserve")


def service(case: str) -> dict:  # type: ignore[type-arg]
    return dict(objects(manifests_of("kserve")[case])["llminferenceservice.yaml"]["spec"])


@pytest.mark.parametrize("case", ["plain", "flags", "texts"])
def test_arguments_come_through_kserves_shell_as_they_are(case: str) -> None:
    args = [word.replace("$$", "$") for word in pod_spec(manifests_of("kserve")[case])["containers"][0]["args"]]
    done = subprocess.run(["bash", "-c", SCRIPT, "--", *args], capture_output=True, text=True, check=True,
                          timeout=20)
    assert done.stdout.splitlines()[2:] == [shlex.split(word)[0] for word in args]


def test_json_among_them_would_be_mangled_without_quotes() -> None:
    done = subprocess.run(["bash", "-c", SCRIPT, "--", '{"a": 1}'], capture_output=True, text=True, check=True,
                          timeout=20)
    assert done.stdout.splitlines()[2:] == ["{a:", "1}"]


def test_the_model_is_kserves_to_fetch_at_its_commit() -> None:
    assert service("plain")["model"]["uri"].startswith("hf://Qwen/Qwen3-8B:7ae55760")
    assert service("oci")["model"]["uri"].startswith("oci://registry.example/models/qwen@sha256:")
    args = pod_spec(manifests_of("kserve")["plain"])["containers"][0]["args"]
    assert args[0] == "--config" and "--revision" not in args


def test_adapters_are_kserves_too_with_room_for_the_largest() -> None:
    lora = service("adapters")["model"]["lora"]
    assert [one["name"] for one in lora["adapters"]] == ["tone", "legal-de"]
    assert all(one["uri"].count(":") == 2 for one in lora["adapters"])  # each at its commit
    assert (lora["maxRank"], lora["maxAdapters"]) == (16, 2)
    config = objects(manifests_of("kserve")["adapters"])["configmap-1.yaml"]["data"]["vllm.yaml"]
    assert "lora-modules" not in config


def test_an_adapter_of_a_registry_is_refused() -> None:
    plan = plan_of("adapters", "kserve")
    oci = plan.adapters[0].model_copy(update={"source": plan_of("oci", "kserve").source})
    with pytest.raises(Failure) as caught:
        kserve.manifests(plan.model_copy(update={"adapters": (oci,)}))
    assert caught.value.code == "adapter-not-reachable"
    large = plan.adapters[0].model_copy(update={"rank": 1024})
    with pytest.raises(Failure) as caught:
        kserve.manifests(plan.model_copy(update={"adapters": (large,)}))
    assert caught.value.code == "adapter-rank"


def test_versions_of_a_model_share_a_route_by_weight(plan: Plan) -> None:
    route = service("plain")["router"]["route"]
    assert route == {"group": "support-route", "weight": 100}
    assert kserve.group(plan.model_copy(update={"stage": "dev"})) == route["group"]


def test_pods_are_said_once() -> None:
    assert service("plain")["replicas"] == 1 and "scaling" not in service("plain")
    scaled = service("replicas")
    assert "replicas" not in scaled and (scaled["scaling"]["minReplicas"], scaled["scaling"]["maxReplicas"]) == (2, 6)


def test_kserves_templates_find_nothing_to_fill_in(plan: Plan) -> None:
    with pytest.raises(Failure) as caught:
        kserve.manifests(plan.model_copy(update={"flags": ("--hf-overrides", '{"a": "{{ .Spec }}"}')}))
    assert caught.value.code == "kserve-template"


@pytest.mark.parametrize("platform", ["kserve", "production-stack"])
@pytest.mark.parametrize("case", [name for name in ("sglang", "tensorrt-llm") if name in CASES])
def test_what_starts_vllm_starts_nothing_else(case: str, platform: str) -> None:
    with pytest.raises(Failure) as caught:
        manifests(plan_of(case, platform))
    assert caught.value.code == "engine-not-on-platform"
