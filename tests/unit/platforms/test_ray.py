"""What is written for Ray is what Ray 2.60, vLLM 0.29 and KubeRay 1.7 read: field by field, for every case."""

from __future__ import annotations

import ast
import copy
import json
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from modelkit.engines.flags import table
from modelkit.engines.word import Word
from modelkit.failure import Failure
from modelkit.planning.accelerators import ACCELERATORS
from modelkit.planning.plan import Origin, OriginKind
from modelkit.platforms import lower, ray
from modelkit.platforms.manifests import DIRECTORY, Manifests
from modelkit.platforms.ray_arguments import arguments
from modelkit.platforms.ray_lowering import _TYPES
from tests.unit.platforms.cases import CASES, plan_of, rendered
from tests.unit.platforms.shapes import LABELS, NAME, POD_PART, YES, closed, kind, some, text, whole
from tests.unit.platforms.written import VERSIONS, as_pod, core_faults

SCHEMAS = Path(__file__).parents[2] / "schemas"
KNOWN = json.loads((SCHEMAS / "ray/ray-2.60.0.json").read_text("utf-8"))
FIELDS: dict[str, set[str]] = {name: set(fields) for name, fields in KNOWN["fields"].items()}


def _written() -> dict[str, Manifests]:
    found = {}
    for case in CASES:
        try:
            found[case] = rendered(case, "ray")
        except Failure:
            continue
    return found


WRITTEN = _written()
EVERY = pytest.mark.parametrize("case", sorted(WRITTEN))


def content(manifests: Manifests, path: str) -> Any:
    return yaml.safe_load(next(f.content for f in manifests.files if f.path == path))


def config_of(case: str) -> dict[str, Any]:
    return dict(content(WRITTEN[case], "serve.yaml"))


def llm_of(case: str) -> dict[str, Any]:
    return dict(config_of(case)["applications"][0]["args"]["llm_config"])


def test_most_cases_can_be_written() -> None:
    assert len(WRITTEN) >= 12


@EVERY
def test_every_field_is_one_that_ray_has(case: str) -> None:
    config = config_of(case)
    (application,), llm = config["applications"], llm_of(case)
    deployment = llm["deployment_config"]
    for value, name in ((config, "ServeDeploySchema"), (config["http_options"], "HTTPOptionsSchema"),
                        (application, "ServeApplicationSchema"), (llm, "LLMConfig"),
                        (llm["model_loading_config"], "ModelLoadingConfig"),
                        (deployment["ray_actor_options"], "RayActorOptionsSchema"),
                        (deployment.get("autoscaling_config", {}), "AutoscalingConfig")):
        assert set(value) <= FIELDS[name]
    assert set(deployment) - {"ray_actor_options"} <= FIELDS["DeploymentConfig"]
    assert ("num_replicas" in deployment) != ("autoscaling_config" in deployment), "Ray takes one of the two"
    assert llm.get("accelerator_type") in (None, *KNOWN["accelerators"])
    assert set(application["args"]) == {"llm_config"}


@EVERY
def test_every_argument_is_one_that_its_vllm_has(case: str) -> None:
    engine = llm_of(case)["engine_kwargs"]
    assert set(engine) <= FIELDS["EngineArgs"] | FIELDS["AsyncEngineArgs"] | FIELDS["FrontendArgs"]
    assert not set(engine) & {"model", "served_model_name", "host", "port"}, "what Ray says to vLLM itself"
    assert engine["middleware"] == ["modelkit.contract.middleware.Contract"]


@EVERY
def test_variables_are_texts_and_hold_no_secret(case: str) -> None:
    variables = config_of(case)["applications"][0]["runtime_env"]["env_vars"]
    assert all(isinstance(value, str) for value in variables.values())
    assert "VLLM_API_KEY" not in variables
    said = plan_of(case, "ray").api_key is not None
    assert (variables.get("MODELKIT_NEEDS") == "VLLM_API_KEY") == said


@EVERY
def test_the_application_and_all_that_it_reads_is_there(case: str) -> None:
    config, paths = config_of(case), {f.path for f in WRITTEN[case].files}
    (application,) = config["applications"]
    module, _, name = application["import_path"].partition(":")
    assert f"etc/python/{module}.py" in paths and "etc/python/modelkit/contract/middleware.py" in paths
    source = next(f.content for f in WRITTEN[case].files if f.path == f"etc/python/{module}.py")
    assert name in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    variables, engine = application["runtime_env"]["env_vars"], llm_of(case)["engine_kwargs"]
    for path in filter(None, (variables["MODELKIT_PROFILE"], engine.get("chat_template"))):
        assert path.replace("/etc/modelkit", "etc") in paths


@pytest.mark.parametrize(("case", "path", "value"), [
    ("replicas", "deployment_config", {"autoscaling_config": {
        "min_replicas": 2, "initial_replicas": 2, "max_replicas": 6, "target_ongoing_requests": 12}}),
    ("plain", "deployment_config", {"num_replicas": 1}),
    ("context", "engine_kwargs", {"max_model_len": 32768, "max_num_seqs": 64, "kv_cache_dtype": "fp8",
                                  "enable_prefix_caching": True, "gpu_memory_utilization": 0.85}),
    ("tensor-parallel", "engine_kwargs", {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}),
    ("flags", "engine_kwargs", {"enforce_eager": True, "max_num_batched_tokens": 4096,
                                "hf_overrides": {"rope_theta": 1e6}}),
    ("parsers", "engine_kwargs", {"tool_call_parser": "hermes", "reasoning_parser": "qwen3"}),
    ("plain", "engine_kwargs", {"revision": "7ae557604adf67be50417f59c2c2f167def9a775"}),
])
def test_a_setting_becomes(case: str, path: str, value: dict[str, Any]) -> None:
    said = llm_of(case)[path]
    assert {name: said.get(name) for name in value} == value


def test_the_gpu_is_named_as_ray_names_it() -> None:
    assert llm_of("replicas")["accelerator_type"] == "L4"
    assert set(_TYPES.values()) <= set(KNOWN["accelerators"]) and set(_TYPES) <= set(ACCELERATORS)


def test_an_engine_that_ray_does_not_run_is_refused() -> None:
    with pytest.raises(Failure, match="Ray Serve LLM runs vLLM, not sglang"):
        rendered("sglang", "ray")


@EVERY
def test_nothing_is_lost_in_silence(case: str) -> None:
    plan = plan_of(case, "ray")
    assert {one.setting for one in lower(plan)} >= {one.name for one in plan.settings
                                                    if one.name not in ("engine", "platform")}


# An engine's words as arguments.

VLLM = table("vllm", "0.29.0")
assert VLLM is not None


def word(flag: str, value: str | tuple[str, ...] | None = None, kind: OriginKind = "modelfile") -> Word:
    return Word(flag, value, Origin(kind=kind, where="Modelfile:3"), "")


@pytest.mark.parametrize(("said", "found"), [
    ([word("", "org/model"), word("--max-model-len", "4096")], {"max_model_len": 4096}),
    ([word("--gpu-memory-utilization", "0.5")], {"gpu_memory_utilization": 0.5}),
    ([word("--enforce-eager")], {"enforce_eager": True}),
    ([word("--no-enable-prefix-caching")], {"enable_prefix_caching": False}),
    ([word("--enforce-eager", "false")], {"enforce_eager": False}),
    ([word("--middleware", "a.B")], {"middleware": ["a.B"]}),
    ([word("--served-model-name", "one"), word("", "two")], {"served_model_name": ["one", "two"]}),
    ([word("--lora-modules", ("a=/x", "b=/y"))], {"lora_modules": ["a=/x", "b=/y"]}),
    ([word("--override-generation-config", '{"top_k": 3}')], {"override_generation_config": {"top_k": 3}}),
    ([word("-sc", '{"method": "ngram"}')], {"speculative_config": {"method": "ngram"}}),
    ([word("--max-num-seqs", "4", "engine"), word("--max-num-seqs=8")], {"max_num_seqs": 8}),
    ([word("OMP_NUM_THREADS", "4", "engine")], {}),
    ([word("--flag-of-another-version", "4", "engine")], {}),
])
def test_words_become_arguments(said: list[Word], found: dict[str, Any]) -> None:
    assert VLLM is not None
    assert arguments(said, VLLM) == found


@pytest.mark.parametrize(("said", "message"), [
    (word("--flag-of-another-version"), "vllm 0.29.0 has no argument for it"),
    (word("--hf-overrides.rope_theta", "1"), "no argument for it"),
    (word("--max-num-seqs", "many"), "`many` is not a whole number"),
    (word("--override-generation-config", "{"), "`{` is not JSON"),
    (word("--max-num-seqs"), "it wants a value"),
])
def test_a_word_that_cannot_be_said_is_refused_with_its_place(said: Word, message: str) -> None:
    assert VLLM is not None
    with pytest.raises(Failure) as raised:
        arguments([said], VLLM)
    assert message in str(raised.value) and "Modelfile:3" in str(raised.value)


# KubeRay.

_START = {"type": "object", "additionalProperties": {"type": "string"}}  # flags of `ray start`: never numbers
_POD = closed("metadata spec", metadata=closed("labels", labels=LABELS, annotations={"type": "object"}), spec=POD_PART)
_HEAD = closed("rayStartParams template", rayStartParams=_START, template=_POD)
_GROUP = closed("groupName minReplicas maxReplicas rayStartParams template", groupName=NAME, replicas=whole(0),
                minReplicas=whole(0), maxReplicas=whole(1), rayStartParams=_START, template=_POD)
_CLUSTER = closed("headGroupSpec", rayVersion=text(), enableInTreeAutoscaling=YES, headGroupSpec=_HEAD,
                  workerGroupSpecs=some(_GROUP))
SERVICE = Draft202012Validator(kind("ray.io/v1", "RayService", closed(
    "serveConfigV2 rayClusterConfig", serveConfigV2=text(), excludeHeadPodFromServeSvc=YES, rayClusterConfig=_CLUSTER)))
"""The fields that we write, and no others, as KubeRay 1.7 defines them (`ray-operator/config/crd/bases`)."""


def service_of(case: str) -> dict[str, Any]:
    return dict(content(WRITTEN[case], "kubernetes/rayservice.yaml"))


@EVERY
def test_the_rayservice_is_as_kuberay_defines_it(case: str) -> None:
    service = service_of(case)
    assert [error.message for error in SERVICE.iter_errors(service)] == []
    inside = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert inside["applications"] == config_of(case)["applications"]
    assert inside["http_options"] == {"host": "0.0.0.0", "port": 8000}
    for version in VERSIONS:
        cluster = service["spec"]["rayClusterConfig"]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            assert core_faults(as_pod(group["template"]["spec"]), version) == []
        for file in WRITTEN[case].files:
            if file.path.startswith("kubernetes/configmap-"):
                assert core_faults(yaml.safe_load(file.content), version) == []


def test_a_misspelt_field_of_a_rayservice_is_found() -> None:
    good = service_of("replicas")
    for place in (("serveConfigV2",), ("rayClusterConfig", "headGroupSpec"), ("rayClusterConfig", "rayVersion"),
                  ("rayClusterConfig", "workerGroupSpecs", 0, "minReplicas")):
        wrong = copy.deepcopy(good)
        at: Any = wrong["spec"]
        for step in place[:-1]:
            at = at[step]
        at[f"{place[-1]}x"] = at.pop(place[-1])
        assert list(SERVICE.iter_errors(wrong))


def test_the_engines_work_and_the_head_does_not() -> None:
    cluster = service_of("replicas")["spec"]["rayClusterConfig"]
    (workers,), head = cluster["workerGroupSpecs"], cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0" and cluster["enableInTreeAutoscaling"] is True
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 2, 6)
    (engine,) = workers["template"]["spec"]["containers"]
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == "1" and "@sha256:" in engine["image"]


def test_the_key_comes_from_the_secret() -> None:
    cluster = service_of("api-key")["spec"]["rayClusterConfig"]
    (engine,) = cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"]
    key = next(one for one in engine["env"] if one["name"] == "VLLM_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "support-prod-keys", "key": "api-key"}


# The commands, with a `serve` that says what a test wants it to.

@pytest.fixture
def commands(tmp_path: Path) -> Any:
    """Runs a verb of the client; `serve status` answers a test's text, every other call is remembered."""
    folder, programs = tmp_path / "bundle", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (folder / "serve.yaml").write_text(next(f.content for f in WRITTEN["plain"].files if f.path == "serve.yaml"))
    script = programs / "serve"
    script.write_text(f'#!/bin/sh\nif [ "$1" = status ]; then cat {tmp_path}/status; '
                      f'else echo "$@" >> {tmp_path}/calls; fi\n')
    script.chmod(0o755)
    (tmp_path / "calls").touch()

    def run(verb: str, status: str, **env: str) -> tuple[subprocess.CompletedProcess[str], str]:
        (tmp_path / "status").write_text(status)
        client = WRITTEN["plain"].client
        assert client is not None
        (command,) = getattr(client, verb)
        done = subprocess.run([part.replace(DIRECTORY, str(folder)) for part in command], capture_output=True,
                              text=True, check=False, timeout=30,
                              env={"PATH": f"{programs}:/usr/bin:/bin", **env})
        return done, (tmp_path / "calls").read_text().replace(str(folder), "DIR")

    return run


STATUS = "proxies:\n  aa: HEALTHY\napplications:\n  support-prod:\n    status: RUNNING\n{more}target_capacity: null\n"


def test_up_on_this_machine_names_the_files_where_they_are(commands: Any, tmp_path: Path) -> None:
    done, calls = commands("up", STATUS.format(more=""))
    assert (done.returncode, calls) == (0, "deploy DIR/here.yaml\n"), done.stderr
    text = (tmp_path / "bundle/here.yaml").read_text()
    assert f"{tmp_path}/bundle/etc/profile.json" in text and "/etc/modelkit" not in text


def test_up_on_other_machines_leaves_the_paths_as_they_are(commands: Any) -> None:
    done, calls = commands("up", STATUS.format(more=""), RAY_DASHBOARD_ADDRESS="http://head.example:8265")
    assert (done.returncode, calls) == (0, "deploy DIR/serve.yaml\n"), done.stderr


@pytest.mark.parametrize("verb", ["up", "down"])
def test_applications_of_others_are_left_alone(commands: Any, verb: str) -> None:
    done, calls = commands(verb, STATUS.format(more="  theirs:\n    status: RUNNING\n"))
    assert done.returncode == 1 and calls == "" and "theirs" in done.stderr


@pytest.mark.parametrize(("status", "code"), [("status: RUNNING\nmessage: ''\n", 0),
                                              ("status: DEPLOY_FAILED\nmessage: no\n", 1)])
def test_ready_waits_for_an_answer(commands: Any, status: str, code: int) -> None:
    assert commands("ready", status)[0].returncode == code


def test_the_program_is_a_data_file_of_the_package() -> None:
    source = files("modelkit.platforms").joinpath(f"children/{ray.PROGRAM}.py").read_text("utf-8")
    compile(source, f"{ray.PROGRAM}.py", "exec")
