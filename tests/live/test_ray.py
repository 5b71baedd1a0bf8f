"""Ray Serve LLM with vLLM on CPUs, from a Modelfile: it means what every other engine of the suite means.

Slow: half a gigabyte of Python is imported in six processes before anything answers. `make live-ray`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from modelkit import models, platforms
from modelkit.engines.images import image_engine
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.planning.facts import Facts
from modelkit.planning.plan import ModelSource, Plan
from modelkit.planning.resolve import resolve
from modelkit.platforms.manifests import DIRECTORY, Client, Command
from modelkit.runtime import environments
from tests.conformance import test_answers, test_meaning, test_mistakes
from tests.conformance.client import Server, user
from tests.conformance.meaning import CONTEXT, MODELFILE
from tests.live.cli import free_port
from tests.live.engines import BASE
from tests.live.ray_cluster import LOOPBACK, Ray, running

pytestmark = [pytest.mark.live_ray, pytest.mark.timeout(1200)]

STAGE = f"""STAGE prod {{
  PLATFORM ray
  PARAMETER num_thread 1
  FLAG --dtype float32
  SERVE accelerator cpu
  SERVE image registry.example/ray-with-vllm@sha256:{"0" * 64}
}}
"""
"""Elsewhere's processor is not known, so bfloat16 is presumed; one that has to emulate it takes four times as long."""

READY_WITHIN = 600.0


@pytest.fixture(scope="module")
def environment() -> environments.EngineEnvironment:
    found = environments.find("ray")
    if found is None:
        pytest.fail("Ray is not installed here: run `modelkit engine install ray --variant cpu`")
    return found


@pytest.fixture(scope="module")
def plan() -> Plan:
    """As the command line plans it, but that the model is a folder: a Ray of one machine needs no hub."""
    modelfile, diagnostics = compile_source(Source("Modelfile", MODELFILE + STAGE))
    assert modelfile is not None, diagnostics
    reference = models.Reference.parse(BASE, Path("/"))
    gguf = models.acquire(reference)
    folder = models.huggingface_folder(gguf)
    engine, image = image_engine("vllm", "", STAGE.partition("image ")[2].split()[0], "cpu", "ray")
    known = Facts(engines={"vllm": engine}, image=image, source=ModelSource(kind="folder", name=folder.path),
                  reference=reference.text, gguf=gguf, safetensors=folder, model=models.facts(gguf),
                  cpus=os.cpu_count() or 1)
    return resolve(modelfile, "prod", known).model_copy(update={"port": free_port()})


@dataclass
class Deployed:
    """What `modelkit up` would do: the files written, the client's commands run."""

    ray: Ray
    client: Client
    folder: Path
    plan: Plan

    def run(self, commands: tuple[Command, ...], timeout: float = 120) -> str:
        said = ""
        for command in commands:
            done = self.ray.run(*(word.replace(DIRECTORY, str(self.folder)) for word in command), timeout=timeout)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}\n{self.ray.logs()}"
            said += done.stdout
        return said


@pytest.fixture(scope="module")
def deployed(environment: environments.EngineEnvironment, plan: Plan) -> Iterator[Deployed]:
    written = platforms.manifests(plan)
    assert written.client is not None
    with running(environment) as ray:
        for file in written.files:
            path = ray.folder / "bundle" / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content, "utf-8")
        here = Deployed(ray, written.client, ray.folder / "bundle", plan)
        started = time.monotonic()
        here.run(written.client.up)
        here.run(written.client.ready, READY_WITHIN)
        print(f"\nready {time.monotonic() - started:.0f} s after `serve deploy`")
        yield here


@pytest.fixture
def server(deployed: Deployed) -> Iterator[Server]:
    """What the conformance suite asks; this module's takes the place of its own."""
    with httpx.Client(base_url=f"http://127.0.0.1:{deployed.plan.port}", timeout=120) as http:
        yield Server("vllm", http)


def test_rays_own_models_take_what_is_written(environment: environments.EngineEnvironment, deployed: Deployed) -> None:
    """ServeDeploySchema and LLMConfig refuse unknown fields; the arguments are those that vLLM's parser would make."""
    code = ("import sys, yaml\n"
            "from ray.serve.schema import ServeDeploySchema\n"
            "from ray.serve.llm import LLMConfig\n"
            "said = yaml.safe_load(open(sys.argv[1]))\n"
            "llm = ServeDeploySchema.model_validate(said).applications[0].args['llm_config']\n"
            "config = LLMConfig.model_validate(llm).get_engine_config()\n"
            "print('TAKEN', config.hf_model_id, config.accelerator.__class__.__name__)\n")
    done = deployed.ray.run(f"{environment.path}/bin/python", "-c", code, str(deployed.folder / "serve.yaml"),
                            timeout=300)
    assert done.returncode == 0 and "TAKEN" in done.stdout and "CPUAccelerator" in done.stdout, done.stderr[-3000:]


def test_ray_says_that_it_runs(deployed: Deployed) -> None:
    said = yaml.safe_load(deployed.run(deployed.client.status))
    assert said["status"] == "RUNNING"
    assert {one["replica_states"]["RUNNING"] for one in said["deployments"].values()} == {1}


def test_log_probabilities_do_not_end_it(server: Server) -> None:
    answer = server.chat(messages=user(), logprobs=True, top_logprobs=2, max_tokens=2)
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2


NEWER = "test_a_prompt_that_leaves_no_room_for_an_answer_is_too_long"
"""What vLLM keeps since a version after the 0.29 that Ray 2.60 pins: see the test of the same thing below."""

for _module in (test_meaning, test_answers, test_mistakes):
    globals().update({name: one for name, one in vars(_module).items() if name.startswith("test_") and name != NEWER})


def test_a_limit_beyond_the_context_is_refused_by_this_vllm(server: Server) -> None:
    """Newer ones give what there is room for. Without a limit of the client's it is the Modelfile's that counts."""
    error = server.refused("/v1/completions", prompt=[300] * CONTEXT)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    error = server.refused("/v1/completions", prompt=[300] * (CONTEXT - 2), max_tokens=9)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
    answer = server.complete(prompt=[300] * (CONTEXT - 2), max_tokens=2, stop=[], ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 2


def test_what_is_asked_of_it_is_reached_on_loopback_only(deployed: Deployed) -> None:
    """The API's port; Ray's own parts have others."""
    found = {c.laddr.ip for process in deployed.ray.processes() for c in process.net_connections("inet")
             if c.status == psutil.CONN_LISTEN and c.laddr.port == deployed.plan.port}
    assert found and found <= {"127.0.0.1", LOOPBACK}


def test_zz_down_leaves_no_engine_and_ray_stop_nothing(deployed: Deployed) -> None:
    """The last test of this Ray."""
    deployed.run(deployed.client.down)
    engine = [one for one in deployed.ray.processes() if "VLLM" in " ".join(one.cmdline())]
    _, alive = psutil.wait_procs(engine, timeout=60)
    assert alive == [], deployed.ray.logs()
    done = deployed.ray.run("ray", "stop", "--grace-period", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    assert deployed.ray.until_gone(30) == []
