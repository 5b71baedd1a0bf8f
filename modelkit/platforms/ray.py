"""Platform `ray`: Ray Serve LLM, on a cluster of Ray's own (`serve deploy`) or on Kubernetes (KubeRay's RayService).

Facts are those of Ray 2.60 (`ray/serve/schema.py`, `ray/llm/_internal/serve`) and KubeRay 1.7. Each replica serves
vLLM's own API with the contract in it (`children/modelkit_ray.py`): a request means what it means everywhere.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from modelkit import engines
from modelkit.engines.container import CONFIG, Container
from modelkit.engines.flags import table
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Plan
from modelkit.platforms.kubernetes_names import object_name
from modelkit.platforms.kubernetes_scaling import max_replicas, replicas
from modelkit.platforms.manifests import DIRECTORY, Client, Manifests
from modelkit.platforms.ray_arguments import arguments
from modelkit.platforms.ray_cluster import cluster_files, cluster_notes
from modelkit.platforms.ray_lowering import lower, ray_accelerator
from modelkit.platforms.yaml import dump

__all__ = ["lower", "manifests", "serve_config"]

PROGRAM = "modelkit_ray"
"""The module of the application, beside the contract."""

_RAYS = ("GLOO_SOCKET_IFNAME", "VLLM_HOST_IP")
"""Variables that keep an engine's parts on loopback. Those of several GPUs may be on several of Ray's nodes."""

_TAKEN = frozenset({"model", "served_model_name"})
"""What Ray says to vLLM itself, from `model_loading_config`."""


def manifests(plan: Plan) -> Manifests:
    """`serve.yaml` with the engine's files, and the same as a RayService.

    Raises Failure for an engine that Ray Serve LLM does not run, and for a FLAG that it can't pass on.
    """
    container = _presume(plan)
    program = files("modelkit.platforms").joinpath(f"children/{PROGRAM}.py").read_text("utf-8")
    shown = (*(f for f in container.files if f.path != "vllm.yaml"), File(f"python/{PROGRAM}.py", program))
    config = serve_config(plan, container)
    written = [File("serve.yaml", dump(config), 0o644), *(File(f"etc/{f.path}", f.content, 0o644) for f in shown)]
    if not _is_here(plan):  # a pod would have to mount it
        written += cluster_files(plan, container, shown, config)
    return Manifests(plan, tuple(written), _client(container, object_name(plan)), _notes(plan, container))


def _is_here(plan: Plan) -> bool:
    """Whether the model is a folder: of this machine, or of all of Ray's nodes under one path."""
    return plan.source is not None and plan.source.kind == "folder"


def _presume(plan: Plan) -> Container:
    if plan.engine_name != "vllm":
        raise Failure("engine-not-on-ray", f"Ray Serve LLM runs vLLM, not {plan.engine_name}",
                      hint="write `ENGINE vllm` in this stage, or choose another PLATFORM")
    return engines.container(plan)


def serve_config(plan: Plan, container: Container) -> dict[str, Any]:
    """The configuration for `serve deploy`: one application, one deployment, a replica for each copy of the engine."""
    return {"proxy_location": "EveryNode", "http_options": {"host": plan.host, "port": plan.port}, "applications": [{
        "name": object_name(plan), "route_prefix": "/", "import_path": f"{PROGRAM}:application",
        "runtime_env": {"env_vars": _variables(container)}, "args": {"llm_config": _llm_config(plan, container)}}]}


def _llm_config(plan: Plan, container: Container) -> dict[str, Any]:
    assert plan.engine is not None
    said = [word for word in engines.words(plan) if word.origin.kind != "platform"]  # which say where it listens
    flags = table(plan.engine_name, plan.engine.version)
    if flags is None:
        raise Failure("engine-version-unknown", f"the arguments of vLLM {plan.engine.version} are not known to this "
                      "release", hint="take the image of a Ray that has a vLLM which `modelkit check` knows")
    engine = arguments(said, flags)
    assert plan.source is not None
    model = plan.source.name if _is_here(plan) else next(str(word.value) for word in said if not word.flag)
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": engine["served_model_name"][0], "model_source": model},
        "engine_kwargs": {name: value for name, value in engine.items() if name not in _TAKEN}}
    if not container.gpus:
        config["accelerator_config"] = {"kind": "cpu"}
    elif (kind := ray_accelerator(plan)) is not None:
        config["accelerator_type"] = kind
    return config | {"deployment_config": _deployment(plan, container)}


def _deployment(plan: Plan, container: Container) -> dict[str, Any]:
    least, most = replicas(plan), max_replicas(plan)
    # An autoscaler's goal: a replica more before conversations have to wait in this one.
    copies: dict[str, Any] = {"num_replicas": least} if most is None else {"autoscaling_config": {
        "min_replicas": least, "initial_replicas": least, "max_replicas": most,
        "target_ongoing_requests": max(1, plan.max_concurrency * 3 // 4)}}
    return copies | {"graceful_shutdown_timeout_s": container.drain_seconds, "health_check_period_s": 10,
                     "health_check_timeout_s": 60, "ray_actor_options": {"num_cpus": 1}}


def _variables(container: Container) -> dict[str, str]:
    known = {name: value for name, value in container.env.items() if not (container.gpus and name in _RAYS)}
    needs = " ".join(one.variable for one in container.secrets if not one.optional)
    return {**known, **({"MODELKIT_NEEDS": needs} if needs else {})}


_ALONE = ('others=$(serve status | awk -v ours="$2:" \'/^applications:/ {on = 1; next} /^[^ ]/ {on = 0} '
          'on && /^  [^ ]/ && $1 != ours {print $1}\'); if [ -n "$others" ]; then echo "this Ray serves other '
          'applications, which $3 would end: $others" >&2; exit 1; fi; ')
"""A Serve configuration stands for everything that a cluster serves: what is not in it is taken down."""

_UP = _ALONE + (f'case "${{RAY_DASHBOARD_ADDRESS:-http://localhost:8265}}" in *//localhost:*|*//127.*) '
                f'sed "s#{CONFIG}#$1/etc#g" "$1/serve.yaml" > "$1/here.yaml"; exec serve deploy "$1/here.yaml";; '
                '*) exec serve deploy "$1/serve.yaml";; esac')
"""On this machine the files are where they were written; on others they must be where the configuration says."""

_READY = ('tries=$2; while [ "$tries" -gt 0 ]; do said=$(serve status --name "$1") || exit 1; case $said in '
          '*"status: DEPLOY_FAILED"*) echo "$said" >&2; exit 1;; "status: RUNNING"*) exit 0;; esac; sleep 5; '
          'tries=$((tries - 1)); done; echo "$said" >&2; exit 1')


def _client(container: Container, name: str) -> Client:
    """Ray's own `serve`, which talks to the dashboard of the cluster that RAY_DASHBOARD_ADDRESS names."""
    return Client(
        programs=("serve",), install="Ray with Ray Serve LLM: `modelkit engine install ray`, and put the folder `bin` "
        "of that environment on the PATH",
        up=(("sh", "-c", _UP, "sh", DIRECTORY, name, "up"),),
        ready=(("sh", "-c", _READY, "sh", name, str(container.start_seconds // 5)),),
        down=(("sh", "-c", f"{_ALONE}exec serve shutdown --yes", "sh", DIRECTORY, name, "down"),),
        status=(("serve", "status", "--name", name),), logs=())


def _notes(plan: Plan, container: Container) -> tuple[str, ...]:
    said = [f"Ray's nodes need {one.variable} in their environment, with what {one.reference} holds, when Ray is "
            "started there; without it no replica serves" for one in container.secrets if not one.optional]
    said.append(f"on a Ray cluster of several machines, put the folder `etc` at {CONFIG} of every node")
    said += [f"Ray's nodes must have {mount.source.name} at {mount.path}" for mount in container.mounts
             if mount.source.kind != "folder"]
    return (*said, *(() if _is_here(plan) else cluster_notes(plan, container)))
