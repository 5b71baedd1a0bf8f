"""Platform `skypilot`: a SkyServe service. Facts are those of SkyPilot 0.14.1 (`sky/utils/schemas.py`, `sky/serve`).

The task runs inside the engine's image, in a shell: the image's entry point counts for nothing there, so it is said.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from modelkit import engines
from modelkit.engines.container import CONFIG, Container
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan, Setting, Verdict
from modelkit.platforms import machine
from modelkit.platforms.manifests import DIRECTORY, Client, Manifests
from modelkit.platforms.yaml import dump

_STREAM_SECONDS = 3600  # SkyServe's balancer would end an answer after 120
_PROBE_SECONDS = 15

_OURS = "SkyServe's own: `sky serve status --endpoint` says it"


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What becomes of the settings that no engine sees."""
    return tuple(_lower(plan))


def _lower(plan: Plan) -> Iterator[Lowered]:
    for setting in plan.settings:
        verdict, target, reason = _meaning(plan, setting) or ("", "", "")
        if verdict:
            yield Lowered(setting=setting.name, verdict=verdict, target=target, value=setting.value, reason=reason)


def _meaning(plan: Plan, setting: Setting) -> tuple[Verdict, str, str] | None:
    said = setting.origin.kind != "default"
    match setting.name:
        case "serve.port" | "serve.host":
            return ("lost" if said else "equal"), "", f"the address is {_OURS}"
        case "serve.api_key":
            return "translated", "secrets", "a reference, resolved when it is started"
        case "serve.replicas":
            return "equal", "service.replicas", ""
        case "serve.max_replicas" if int(setting.value) <= machine.replicas(plan):
            return "equal", "service.replicas", ""
        case "serve.max_replicas":
            return "lost", "", "SkyServe adds copies by requests a second, which a Modelfile does not say"
        case "serve.keep_alive":
            return ("equal" if float(setting.value) < 0 else "lost"), "", "a service stays until it is taken down"
        case "serve.image":
            return "equal", "resources.image_id", "by its digest"
        case "serve.accelerator":
            return "equal", "resources.accelerators", ""
    return None


def manifests(plan: Plan) -> Manifests:
    """`service.yaml`, and the engine's files beside it.

    Raises Failure where no GPU is named, and for a model that would have to be mounted.
    """
    container, name = engines.container(plan), machine.unit_name(plan)
    if container.mounts:
        raise Failure("source-not-mountable", f"SkyPilot's machines cannot mount {container.mounts[0].source.name}",
                      hint="name a repository of the Hugging Face Hub in the stage's FROM")
    command = container.command or container.entry_point
    if not command:
        raise Failure("engine-without-command", f"SkyPilot starts engines by a command of their own, and the image of "
                      f"{plan.engine_name} has none that is known", hint="choose another PLATFORM for this stage")
    secrets = tuple(one for one in container.secrets if not one.optional)
    said: dict[str, Any] = {
        "name": name,
        "service": {
            "readiness_probe": {"path": container.health, "initial_delay_seconds": container.start_seconds,
                                "timeout_seconds": _PROBE_SECONDS},
            "replicas": machine.replicas(plan), "ports": container.port,
            "load_balancing_policy": "least_load",
            "load_balancer": {"stream_timeout_seconds": _STREAM_SECONDS}},
        "resources": {"image_id": f"docker:{container.image}", "ports": container.port, **_gpus(plan, container)},
    }
    if container.env:
        said["envs"] = dict(container.env)
    if secrets:
        said["secrets"] = {one.variable: None for one in secrets}
    said["file_mounts"] = {CONFIG: "./etc"}
    said["run"] = f"exec {shlex.join((*command, *container.args))}\n"
    files = (File("service.yaml", dump(said), 0o644),
             *(File(f"etc/{f.path}", f.content, 0o644) for f in container.files))
    return Manifests(plan, files, _client(container, name), _notes(container))


def _gpus(plan: Plan, container: Container) -> dict[str, Any]:
    if not container.gpus:
        return {}
    said = plan.setting("serve.accelerator")
    name = sky_name(plan.accelerator or (str(said.value) if said else ""))
    if not name:
        raise Failure("accelerator-not-said", f"SkyPilot rents machines by their GPUs, and stage `{plan.stage}` names "
                      "none", hint="write `SERVE accelerator L4` in it, or another GPU")
    return {"accelerators": f"{name}:{container.gpus}"}


def sky_name(accelerator: str) -> str:
    """A GPU's name in SkyPilot's catalogue: `RTX4090`, `RTX6000-Ada`, `A100` for the one of 40 GB."""
    plain = {"A100-40GB": "A100", "H100-80GB": "H100"}.get(accelerator, accelerator)
    return re.sub(r"^RTX-", "RTX", plain)


_UP = ('cd "$1" && name=$2 && shift 2 && if sky serve status "$name" 2>/dev/null | grep -q "^$name "; '
       'then exec sky serve update --yes "$@" "$name" service.yaml; '
       'else exec sky serve up --yes --service-name "$name" "$@" service.yaml; fi')

_READY = ('tries=$2; while [ "$tries" -gt 0 ]; do line=$(sky serve status "$1" | grep "^$1 ") || exit 1; '
          'case $line in *FAILED*) echo "$line" >&2; exit 1;; *NOT_READY*|*NO_REPLICA*) ;; *" READY "*) exit 0;; esac; '
          'sleep 10; tries=$((tries - 1)); done; echo "$line" >&2; exit 1')


def _client(container: Container, name: str) -> Client:
    required = [one for one in container.secrets if not one.optional]
    secrets = tuple(word for one in required for word in ("--secret", one.variable))
    tries = str(container.start_seconds // 10 + 60)  # a machine is found, and its image fetched, in ten minutes
    return Client(
        programs=("sky",), install="SkyPilot: `pip install 'skypilot[…]'` with your cloud, then `sky check`",
        up=(("sh", "-c", _UP, "sh", DIRECTORY, name, *secrets),),
        ready=(("sh", "-c", _READY, "sh", name, tries),),
        down=(("sky", "serve", "down", "--yes", name),), status=(("sky", "serve", "status", name),),
        logs=(("sky", "serve", "logs", "--no-follow", name, "1"),),
        variables={one.variable: one.reference for one in required})


def _notes(container: Container) -> tuple[str, ...]:
    return tuple(f"`sky serve up --secret {one.variable} service.yaml`, in this folder, takes the key from the "
                 f"variable {one.variable}: put there what {one.reference} holds"
                 for one in container.secrets if not one.optional)
