"""Platform `compose`: Docker Compose on one machine. Facts are those of Compose 5.6 and of the Compose specification.

`compose.yaml` names the engine's files beside it instead of holding them: in a value of its own every `$` would be a
variable's. A container is made anew only when its own lines change, so the files' digest is written on it.
"""

from __future__ import annotations

from typing import Any

from modelkit import engines
from modelkit.engines.container import CONFIG, Container
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms import machine
from modelkit.platforms.asking import asking
from modelkit.platforms.manifests import DIRECTORY, Client, Manifests
from modelkit.platforms.yaml import dump

_STOP_SPARE = 10  # seconds that an engine may take to leave after its last request

images = machine.images


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What becomes of the settings that no engine sees."""
    return tuple(machine.lower(plan, published="ports", key="environment"))


def manifests(plan: Plan) -> Manifests:
    """`compose.yaml`, and beside it what its containers see under /etc.

    Raises Failure for a host that is no address, and for a model that is not a folder or on the Hub.
    """
    container = engines.container(plan)
    names = tuple(f"engine-{number}" for number in range(1, machine.replicas(plan) + 1))
    alone = len(names) == 1
    services: dict[str, Any] = {name: _engine(plan, container, copy, alone) for copy, name in enumerate(names)}
    files = tuple(File(f"etc/{f.path}", f.content, 0o644) for f in container.files)
    if not alone:
        edge = machine.edge_file(plan, names, container.port)
        services = {"edge": _edge(plan, names, edge), **services}
        files = (*files, edge)
    said: dict[str, Any] = {"name": machine.unit_name(plan), "services": services}
    if machine.cache(container) is not None:
        said["volumes"] = {"cache": {}}
    return Manifests(plan, (File("compose.yaml", dump(said), 0o644), *files), _client(plan, container),
                     _notes(container))


def _engine(plan: Plan, container: Container, copy: int, alone: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"image": container.image}
    if container.command:
        found["entrypoint"] = _literal(container.command)
    found["command"] = _literal(container.args)
    found["environment"] = {name: _literal(value) for name, value in machine.surroundings(container).items()} | {
        one.variable: _interpolated(one.reference, machine.variable_of(one), one.optional)
        for one in container.secrets}
    if alone:
        found["ports"] = [_port(plan, container.port)]
    found["volumes"] = _volumes(container)
    found["tmpfs"] = ["/tmp:exec,mode=1777"]  # engines load what they have compiled there
    if container.shm_bytes:
        found["shm_size"] = container.shm_bytes
    if container.gpus:
        # A count would give every copy the first GPUs.
        which = {"count": container.gpus} if alone else {"device_ids": list(machine.gpus_of(copy, container))}
        device = {"driver": "nvidia", **which, "capabilities": ["gpu"]}
        found["deploy"] = {"resources": {"reservations": {"devices": [device]}}}
    found |= _hardened()
    if any(mount.source.kind == "folder" for mount in container.mounts):
        found["cap_add"] = ["DAC_OVERRIDE"]  # root without it can't read a folder that belongs to its user alone
    found["healthcheck"] = {"test": ["CMD", *_literal(machine.health_command(container))], "interval": "10s",
                            "timeout": "10s", "retries": 3, "start_period": f"{container.start_seconds}s"}
    found["stop_grace_period"] = f"{container.drain_seconds + _STOP_SPARE}s"
    found["labels"] = {"modelkit.stage": plan.stage, "modelkit.model": _literal(plan.name),
                       "modelkit.files": machine.config_digest(container.files)}
    return found


def _edge(plan: Plan, names: tuple[str, ...], file: File) -> dict[str, Any]:
    return {
        "image": plan.images.get(machine.ENVOY, machine.ENVOY), "user": machine.ENVOY_USER,
        "command": ["--config-path", "/etc/envoy/envoy.json", "--log-level", "warning"],
        "ports": [_port(plan, machine.EDGE_PORT)],
        "volumes": [_bind("./edge", "/etc/envoy")],
        "depends_on": {name: {"condition": "service_healthy"} for name in names},
        **_hardened(),
        "healthcheck": {"test": ["CMD", *machine.EDGE_HEALTH], "interval": "5s", "timeout": "5s", "retries": 3,
                        "start_period": "30s"},
        "stop_grace_period": "10s",
        "labels": {"modelkit.stage": plan.stage, "modelkit.files": machine.config_digest((file,))},
    }


def _hardened() -> dict[str, Any]:
    return {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "init": True,
            "restart": "unless-stopped", "logging": {"driver": "local"}}  # the default driver's files never end


def _port(plan: Plan, target: int) -> dict[str, Any]:
    return {"target": target, "host_ip": machine.address(plan), "published": str(plan.port), "protocol": "tcp"}


def _volumes(container: Container) -> list[dict[str, Any]]:
    found = [_bind("./etc", CONFIG)]
    for mount in container.mounts:
        if mount.source.kind != "folder":
            raise Failure("source-not-mountable", f"compose mounts folders, and {mount.source.name} is none",
                          hint="let `modelkit up` or `modelkit build` fetch the model first")
        found.append(_bind(_literal(mount.source.name), mount.path))
    if (cache := machine.cache(container)) is not None:
        found.append({"type": "volume", "source": "cache", "target": cache})
    return found


def _bind(source: str, target: str) -> dict[str, Any]:
    """Read-only; a path that is not there is an error, not a new empty folder."""
    return {"type": "bind", "source": source, "target": target, "read_only": True,
            "bind": {"create_host_path": False}}


def _literal(value: Any) -> Any:
    """As Compose shall see it: `$` begins a variable in every value."""
    return value.replace("$", "$$") if isinstance(value, str) else [_literal(one) for one in value]


def _interpolated(reference: str, variable: str, optional: bool) -> str:
    return f"${{{variable}:-}}" if optional else f"${{{variable}:?it must hold the key of `{reference}`}}"


def _client(plan: Plan, container: Container) -> Client:
    compose = ("docker", "compose", "--project-name", machine.unit_name(plan), "--file", f"{DIRECTORY}/compose.yaml")
    waiting = ("--wait", "--wait-timeout", str(container.start_seconds))
    return Client(
        programs=("docker",), install="Docker Engine with its Compose plugin: https://docs.docker.com/compose/install/",
        up=((*compose, "up", "--detach", "--remove-orphans"),),
        ready=((*compose, "up", "--detach", "--no-recreate", *waiting),),
        diff=((*compose, "up", "--detach", "--remove-orphans", "--dry-run"),),
        down=((*compose, "down", "--remove-orphans"),), status=((*compose, "ps", "--all"),),
        logs=((*compose, "logs", "--no-color"),),
        effective=((*compose, "exec", "-T", "engine-1", *asking(container)),),
        variables={machine.variable_of(one): one.reference for one in container.secrets if not one.optional})


def _notes(container: Container) -> tuple[str, ...]:
    return tuple(f"`docker compose` reads the key `{one.key}` from the variable {machine.variable_of(one)}"
                 + ("" if one.reference.startswith("env:") else f": put there what {one.reference} holds")
                 for one in container.secrets if not one.optional)
