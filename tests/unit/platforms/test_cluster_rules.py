"""Known traps of engines on clusters: none of them is in anything that is written, whatever the case."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelkit.platforms.manifests import Manifests
from tests.unit.platforms.written import every, manifests_of, objects, pod_spec

PODS = [pytest.param(manifests, id=name) for name, manifests in every("kubernetes", "llm-d", "kserve")]


def _engine(manifests: Manifests) -> dict[str, Any]:
    return dict(pod_spec(manifests)["containers"][0])


@pytest.mark.parametrize("manifests", PODS)
class TestPods:
    def test_a_service_called_vllm_sets_no_variable(self, manifests: Manifests) -> None:
        assert pod_spec(manifests)["enableServiceLinks"] is False

    def test_several_gpus_talk_through_memory(self, manifests: Manifests) -> None:
        gpus = int(_engine(manifests)["resources"].get("limits", {}).get("nvidia.com/gpu", 0))
        volumes = [v for v in pod_spec(manifests)["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"]
        assert gpus < 2 or volumes

    def test_a_loading_engine_is_given_time(self, manifests: Manifests) -> None:
        probe = _engine(manifests)["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 1200

    def test_no_probe_asks_for_what_needs_a_key(self, manifests: Manifests) -> None:
        asked = [one["httpGet"]["path"] for name, one in _engine(manifests).items() if name.endswith("Probe")
                 and "httpGet" in one]
        assert not [path for path in asked if path.startswith("/v1")]

    def test_the_last_request_may_end(self, manifests: Manifests) -> None:
        args = [str(word).strip("'") for word in _engine(manifests)["args"]]
        drain = int(args[args.index("--shutdown-timeout") + 1]) if "--shutdown-timeout" in args else 0
        before = _engine(manifests).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod_spec(manifests)["terminationGracePeriodSeconds"] > drain + before

    def test_the_image_is_one_and_only_one(self, manifests: Manifests) -> None:
        assert re.fullmatch(r"[^@]+@sha256:[0-9a-f]{64}", _engine(manifests)["image"])

    def test_nothing_opens_the_engine(self, manifests: Manifests) -> None:
        text = " ".join([*map(str, _engine(manifests)["args"]), *(one["name"] for one in _engine(manifests)["env"])])
        for word in ("--trust-remote-code", "VLLM_SERVER_DEV_MODE", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "--api-key",
                     "--allowed-origins", "/workspace"):
            assert word not in text

    def test_keys_are_named_not_written(self, manifests: Manifests) -> None:
        for one in _engine(manifests)["env"]:
            if re.search("KEY|TOKEN", one["name"]):
                assert set(one["valueFrom"]) == {"secretKeyRef"}


@pytest.mark.parametrize("manifests", [p for p in PODS if "kserve" not in str(p.id)])
class TestOwnPods:
    def test_a_new_version_does_not_wait_for_the_old_ones_gpu_or_volume(self, manifests: Manifests) -> None:
        made = objects(manifests)
        scarce = "limits" in _engine(manifests)["resources"] or "persistentvolumeclaim.yaml" in made
        surge = made["deployment.yaml"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        assert surge == (0 if scarce else 1)

    def test_one_volume_is_for_one_pod(self, manifests: Manifests) -> None:
        made = objects(manifests)
        alone = made["deployment.yaml"]["spec"].get("replicas") == 1
        assert alone or "persistentvolumeclaim.yaml" not in made

    def test_a_pod_can_do_little(self, manifests: Manifests) -> None:
        spec, security = pod_spec(manifests), _engine(manifests)["securityContext"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

    def test_only_what_fetches_a_model_may_call_out(self, manifests: Manifests) -> None:
        policy = objects(manifests)["networkpolicy.yaml"]["spec"]
        fetches = manifests.plan.source is not None and manifests.plan.source.kind == "hub"
        ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert ports == ({53, 443} if fetches else set())
        assert [rule["ports"] for rule in policy["ingress"]] == [[{"protocol": "TCP", "port": 8000}]]

    def test_the_config_is_whole_and_cannot_change(self, manifests: Manifests) -> None:
        made = objects(manifests)
        maps = {one["metadata"]["name"]: one for one in made.values() if one["kind"] == "ConfigMap"}
        volume = next(v for v in pod_spec(manifests)["volumes"] if v["name"] == "config")
        seen = {}
        for source in volume["projected"]["sources"]:
            data = maps[source["configMap"]["name"]]["data"]
            seen |= {item["path"]: data[item["key"]] for item in source["configMap"]["items"]}
        assert "profile.json" in seen or "python/modelkit/contract/middleware.py" in seen
        assert all(one["immutable"] and re.search("-[0-9a-f]{10}$", name) for name, one in maps.items())


def test_the_chart_has_what_it_would_say_otherwise() -> None:
    import yaml

    for name, manifests in every("production-stack"):
        values = yaml.safe_load(next(f.content for f in manifests.files if f.path == "values.yaml"))
        model = values["servingEngineSpec"]["modelSpec"][0]
        assert model["vllmConfig"]["enablePrefixCaching"] in (True, False), name
        assert ("shmSize" in model) == ("tensorParallelSize" in model["vllmConfig"]), name
        assert "--trust-remote-code" not in model["vllmConfig"]["extraArgs"], name
        assert values["kube-prometheus-stack"] == values["prometheus-adapter"] == {"enabled": False}, name
        assert len(f"{values['servingEngineSpec']['labels']['release']}-engine-engine-service") <= 63, name


def test_same_plan_same_bytes() -> None:
    from tests.unit.platforms.cases import rendered

    for platform in ("kubernetes", "llm-d", "kserve", "production-stack"):
        assert rendered("texts", platform).files == manifests_of(platform)["texts"].files
