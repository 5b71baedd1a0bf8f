"""Platform `kubernetes`: names, volumes, scaling, refusals, and what a person is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelkit.engines.container import SecretVariable
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Origin, Plan, Setting
from modelkit.platforms import kubernetes, kubernetes_config, kubernetes_pod, kubernetes_scaling
from modelkit.platforms.kubernetes_names import object_name, secret_notes
from tests.unit.platforms.cases import plan_of
from tests.unit.platforms.written import manifests_of, objects, pod_spec


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of("plain", "kubernetes")


def setting(plan: Plan, **values: Any) -> Plan:
    """The plan with more said under SERVE."""
    more = tuple(Setting(name=f"serve.{name}", value=value, origin=Origin(kind="stage", where="Modelfile:3"))
                 for name, value in values.items())
    return plan.model_copy(update={"settings": (*plan.settings, *more)})


@pytest.mark.parametrize(("name", "stage", "expected"), [
    ("support", "prod", "support-prod"), ("qwen3-8b", "prod", "qwen3-8b-prod"),
    ("my/model:1", "prod", "my-model-1-prod-"), ("Support", "prod", "support-prod-"), ("3b", "prod", "m-3b-prod-"),
    ("ä", "prod", "prod-"), ("x" * 60, "prod", "x" * 31 + "-"), ("a", "b-c", "a-b-c-")])
def test_a_name_is_a_dns_label_and_nobody_elses(plan: Plan, name: str, stage: str, expected: str) -> None:
    found = object_name(plan.model_copy(update={"name": name, "stage": stage}))
    assert found.startswith(expected) and (found == expected or len(found) == len(expected) + 8)
    assert len(found) <= 40 and found.replace("-", "a").isalnum() and found == found.lower()


def test_two_names_never_meet(plan: Plan) -> None:
    names = [("acme/bot", "prod"), ("acme-bot", "prod"), ("acme_bot", "prod"), ("Acme-bot", "prod"),
             ("acme", "bot-prod"), ("x" * 60, "prod"), ("x" * 61, "prod")]
    made = {object_name(plan.model_copy(update={"name": name, "stage": stage})) for name, stage in names}
    assert len(made) == len(names)


def test_files_become_keys_and_come_back_as_paths(plan: Plan) -> None:
    files = (File("vllm.yaml", "a"), File("python/m/__init__.py", "b"), File("python/m/c.py", "c"))
    maps = kubernetes_config.config_maps(plan, files)
    assert [sorted(one["data"]) for one in maps] == [["vllm.yaml"], ["python..m..__init__.py", "python..m..c.py"]]
    volume = kubernetes_config.config_volume("config", maps, files)
    paths = [item["path"] for source in volume["projected"]["sources"] for item in source["configMap"]["items"]]
    assert sorted(paths) == sorted(file.path for file in files)


def test_a_changed_file_makes_a_new_name_and_the_contract_keeps_its(plan: Plan) -> None:
    before = kubernetes_config.config_maps(plan, (File("vllm.yaml", "a"), File("python/c.py", "c")))
    after = kubernetes_config.config_maps(plan, (File("vllm.yaml", "b"), File("python/c.py", "c")))
    assert before[0]["metadata"]["name"] != after[0]["metadata"]["name"] and before[1] == after[1]


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_what_a_configmap_cannot_hold_is_refused(plan: Plan, letter: str) -> None:
    room = kubernetes_config.LIMIT - len("profile.json")
    kubernetes_config.config_maps(plan, [File("profile.json", letter * (room // len(letter.encode())))])
    with pytest.raises(Failure, match="1048") as caught:
        kubernetes_config.config_maps(plan, [File("profile.json", letter * (room // len(letter.encode()) + 1))])
    assert caught.value.code == "config-too-large" and "`profile.json`" in str(caught.value.hint)


def test_a_registrys_model_is_an_image_volume_and_nothing_is_kept() -> None:
    manifests = manifests_of("kubernetes")["oci"]
    volumes = {one["name"]: one for one in pod_spec(manifests)["volumes"]}
    assert volumes["model-0"]["image"]["reference"].startswith("registry.example/models/qwen@sha256:")
    assert "persistentvolumeclaim.yaml" not in objects(manifests)
    assert any("1.33" in note for note in manifests.notes)


def test_adapters_of_a_registry_are_image_volumes_beside_the_model() -> None:
    plan, source = plan_of("adapters", "kserve"), plan_of("oci", "kserve").source
    adapters = tuple(one.model_copy(update={"source": source}) for one in plan.adapters)
    made = kubernetes.manifests(plan.model_copy(update={"platform": "kubernetes", "adapters": adapters}))
    seen = {mount["mountPath"]: mount["name"] for mount in pod_spec(made)["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in pod_spec(made)["volumes"]}
    assert "image" in volumes[seen["/models/adapters/tone"]] and "/models/adapters/legal-de" in seen


def test_a_folder_of_this_machine_is_refused(plan: Plan) -> None:
    here = plan_of("plain", "compose").source
    with pytest.raises(Failure) as caught:
        kubernetes.manifests(plan.model_copy(update={"source": here}))
    assert caught.value.code == "weights-not-reachable"


def test_an_autoscaler_has_the_number_of_pods(plan: Plan) -> None:
    made = objects(manifests_of("kubernetes")["replicas"])
    assert "replicas" not in made["deployment.yaml"]["spec"]
    spec = made["scaledobject.yaml"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 6)
    assert spec["triggers"][0]["metadata"]["query"] == 'sum(vllm:num_requests_waiting{job="support-prod"})'
    assert made["poddisruptionbudget.yaml"]["spec"]["maxUnavailable"] == 1


def test_a_single_pod_holds_no_node(plan: Plan) -> None:
    assert not {"poddisruptionbudget.yaml", "scaledobject.yaml"} & set(objects(manifests_of("kubernetes")["plain"]))


def test_fewer_at_most_than_at_least_is_refused(plan: Plan) -> None:
    with pytest.raises(Failure) as caught:
        kubernetes_scaling.max_replicas(setting(plan, replicas=4, max_replicas=3))
    assert caught.value.code == "replicas-contradict" and "Modelfile:3" in caught.value.message
    assert kubernetes_scaling.max_replicas(setting(plan, replicas=4, max_replicas=4)) is None


def test_an_engine_that_hides_its_queue_is_not_scaled(plan: Plan) -> None:
    assert plan.engine is not None
    other = plan.model_copy(update={"engine": plan.engine.model_copy(update={"name": "tensorrt-llm"})})
    with pytest.raises(Failure) as caught:
        kubernetes_scaling.scaling_spec(other, 3)
    assert caught.value.code == "no-queue-metric"


def test_the_kubelet_replaces_nothing_in_a_word() -> None:
    assert kubernetes_pod.literal("$(HOME) $HOME $$") == "$$(HOME) $$HOME $$$$"


def test_an_image_that_is_not_roots_gets_a_cache_of_its_own(plan: Plan) -> None:
    image = f"docker.io/vllm/vllm-openai-nonroot@sha256:{'a' * 64}"
    made = kubernetes.manifests(plan.model_copy(update={"image": image}))
    spec = pod_spec(made)
    env = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert env["HF_HOME"] in [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]


@pytest.mark.parametrize(("accelerator", "values"), [
    ("L4", {"NVIDIA-L4", "nvidia-l4"}), ("nvidia-l4", {"NVIDIA-L4", "nvidia-l4"}), ("A100-80GB", {
        "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe", "nvidia-a100-80gb"}), ("cpu", None), ("Quantum9", None)])
def test_a_named_gpu_chooses_nodes(plan: Plan, accelerator: str, values: set[str] | None) -> None:
    spec = pod_spec(kubernetes.manifests(setting(plan, accelerator=accelerator)))
    if values is None:
        assert "affinity" not in spec
        return
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {v for term in terms for e in term["matchExpressions"] for v in e["values"]} == values


@pytest.mark.parametrize(("name", "value", "verdict"), [
    ("keep_alive", 1800.0, "lost"), ("keep_alive", -1.0, "equal"), ("replicas", 3, "equal"),
    ("max_replicas", 3, "translated"), ("api_key", "env:K", "translated"), ("host", "0.0.0.0", "translated"),
    ("port", 80, "equal"), ("accelerator", "L4", "translated"), ("accelerator", "Quantum9", "approximated"),
    ("accelerator", "cpu", "equal"), ("image", "x", "equal")])
def test_what_becomes_of_a_setting(plan: Plan, name: str, value: Any, verdict: str) -> None:
    bare = plan.model_copy(update={"settings": ()})
    (lowered,) = kubernetes.lower(setting(bare, **{name: value}))
    assert lowered.verdict == verdict


def test_how_secrets_are_made_is_said_and_no_ps_shows_them(plan: Plan) -> None:
    key = SecretVariable("VLLM_API_KEY", "env:MY_KEY", "api-key")
    token = SecretVariable("HF_TOKEN", "file:/run/my keys/hf", "hf-token", optional=True)
    first, second = secret_notes(plan, (key, token))
    assert first.endswith('create secret generic support-prod-keys --from-file=api-key=<(printf %s "$MY_KEY")')
    assert "--from-file=hf-token='/run/my keys/hf'" in second
    assert secret_notes(plan, ()) == ()


def test_the_bundle_says_what_it_is(plan: Plan) -> None:
    def said(one: Plan) -> str:
        made = objects(kubernetes.manifests(one))
        return str(made["deployment.yaml"]["metadata"]["annotations"][kubernetes.BUNDLE])

    assert said(plan) == said(plan) != said(plan.model_copy(update={"port": 9999}))


def test_commands_are_the_clients(plan: Plan) -> None:
    client = kubernetes.manifests(plan).client
    assert client is not None and client.programs == ("kubectl",)
    assert "--server-side" in client.up[0]  # an annotation with the whole contract would be refused
    assert "deployment/support-prod" in client.ready[0]
    assert "DIRECTORY" in json.dumps(client.down)
