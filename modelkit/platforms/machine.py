"""What platforms of one machine's containers share: a name, an address, Envoy in front of several copies."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterator

from modelkit.engines.container import Container, SecretVariable
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan, Verdict
from modelkit.platforms import envoy

ENVOY = "docker.io/envoyproxy/envoy:v1.40.0"
"""Stands in front where there are several copies; its digest goes into the lock with the engine's."""

EDGE_PORT = 8484  # Envoy's own, inside its container
ENVOY_USER = "101:101"  # as its image has it; so its entry point needs no right to change users

_LONGEST = 48


def unit_name(plan: Plan) -> str:
    """`name-stage` in the letters that every platform allows; names that differ stay different.

    Lower case, digits and `-`, at most 57 characters, beginning with a letter.
    """
    said = f"{plan.name}-{plan.stage}"
    plain = re.sub(r"[^a-z0-9]+", "-", said.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}".rstrip("-")
    if plain == said and len(plain) <= _LONGEST:
        return plain
    return f"{plain[:_LONGEST].rstrip('-')}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def address(plan: Plan) -> str:
    """The IP address to publish on. Raises Failure for a host's name: a container engine binds addresses."""
    host = {"localhost": "127.0.0.1", "*": "0.0.0.0"}.get(plan.host, plan.host).strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise Failure("host-is-no-address", f"platform {plan.platform} publishes ports on IP addresses, and `SERVE "
                      f"host` is {plan.host}", hint="write the address: `SERVE host 0.0.0.0` for all of them") from None


def replicas(plan: Plan) -> int:
    """Copies of the engine."""
    said = plan.setting("serve.replicas")
    return 1 if said is None else int(said.value)


def images(plan: Plan) -> tuple[str, ...]:
    """The images that such a platform needs besides the engine's."""
    return (ENVOY,) if replicas(plan) > 1 else ()


def gpus_of(copy: int, container: Container) -> tuple[str, ...]:
    """The GPUs of the copy of that number, from 0: each has its own, none is shared."""
    return tuple(str(copy * container.gpus + index) for index in range(container.gpus))


def edge_file(plan: Plan, names: tuple[str, ...], port: int) -> File:
    """Envoy's configuration for engines that are found under `names`."""
    listen = {"socket_address": {"address": "0.0.0.0", "port_value": EDGE_PORT}}
    said = envoy.bootstrap(listen, envoy.from_names(dict.fromkeys(names, port)),
                           body_bytes=plan.profile["limits"]["body_bytes"])
    return File("edge/envoy.json", json.dumps(said, indent=1) + "\n", 0o644)


def health_command(container: Container) -> tuple[str, ...]:
    """Asks the engine in its container whether it answers; every engine's image has Python, not every one has curl."""
    url = f"http://127.0.0.1:{container.port}{container.health}"
    return ("python3", "-c", f"import urllib.request as r; r.urlopen('{url}', timeout=5)")


EDGE_HEALTH = ("bash", "-c", f": > /dev/tcp/127.0.0.1/{EDGE_PORT}")
"""Envoy's image has no client for HTTP."""


def cache(container: Container) -> str | None:
    """The folder that is worth a volume: none where the model is mounted, and nothing is fetched."""
    return None if container.mounts else container.cache


def surroundings(container: Container) -> dict[str, str]:
    """Variables that make a read-only image writable where it must be: what is not worth keeping goes to /tmp."""
    kept = {} if (folder := cache(container)) is None else {"HF_HOME": folder}
    return {"HOME": "/tmp", **kept, **container.env}


def config_digest(files: tuple[File, ...]) -> str:
    """Of the mounted files: a container that has it written on it is made anew when they change."""
    said = "".join(f"{f.path}\0{f.content}\0" for f in sorted(files, key=lambda f: f.path))
    return hashlib.sha256(said.encode()).hexdigest()


def variable_of(secret: SecretVariable) -> str:
    """The variable of the platform's client that has a secret: the Modelfile's own, else one after its key."""
    scheme, _, name = secret.reference.partition(":")
    return name if scheme == "env" else "MODELKIT_" + re.sub(r"[^A-Z0-9]+", "_", secret.key.upper())


def lower(plan: Plan, *, published: str, key: str) -> Iterator[Lowered]:
    """What becomes of the settings that no engine sees; `published` and `key` are the platform's words."""
    for setting in plan.settings:
        name, value = setting.name.removeprefix("serve."), setting.value
        found: tuple[Verdict, str, str] | None = None
        if name in ("port", "host"):
            found = ("equal", published, "the address that is published")
        elif name == "api_key":
            found = ("translated", key, "a reference, resolved when it is started")
        elif name == "replicas":
            found = ("equal", "", "one container") if int(value) == 1 else \
                ("translated", "containers", "containers behind Envoy, each with GPUs of its own")
        elif name == "max_replicas":
            found = ("equal", "", "no more than there are") if int(value) <= replicas(plan) else \
                ("lost", "", f"{plan.platform} adds no copies under load: there are {replicas(plan)}")
        elif name == "keep_alive":
            found = ("equal", "", "the container stays") if float(value) < 0 else \
                ("lost", "", "the container stays until it is stopped")
        elif name == "image":
            found = ("equal", "image", "by its digest")
        elif name == "accelerator":
            found = ("equal", "", "this machine has it, or has not: nothing is scheduled")
        if found is not None:
            yield Lowered(setting=setting.name, verdict=found[0], target=found[1], value=value, reason=found[2])
