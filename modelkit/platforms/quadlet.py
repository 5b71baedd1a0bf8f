"""Platform `quadlet`: Podman containers as systemd units, from Podman 5 on.

Facts are those of podman-systemd.unit(5). The folder goes below ~/.config/containers/systemd as it is: Podman finds
units in folders there, and paths that begin with `./` are relative to the unit that says them.
"""

from __future__ import annotations

import json

from modelkit import engines
from modelkit.engines.container import CONFIG, Container
from modelkit.engines.launch import File
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms import machine
from modelkit.platforms.asking import asking
from modelkit.platforms.manifests import DIRECTORY, Client, Command, Manifests
from modelkit.platforms.unit_file import Line, command, text, unit, word

_STOP_SPARE = 10  # seconds that an engine may take to leave after its last request

images = machine.images


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What becomes of the settings that no engine sees."""
    return tuple(machine.lower(plan, published="PublishPort", key="Secret"))


def manifests(plan: Plan) -> Manifests:
    """A `.container` for each copy of the engine, one for Envoy where there are several, and what they mount.

    Raises Failure for a host that is no address, and for a model that is not a folder.
    """
    container, name = engines.container(plan), machine.unit_name(plan)
    copies = machine.replicas(plan)
    names = (name,) if copies == 1 else tuple(f"{name}-{number}" for number in range(1, copies + 1))
    files = [File(f"{one}.container", _engine(plan, container, one, copy, name), 0o644)
             for copy, one in enumerate(names)]
    if copies > 1:
        edge = machine.edge_file(plan, names, container.port)
        files += [File(f"{name}.container", _edge(plan, name, names, edge), 0o644), edge,
                  File(f"{name}.network", unit(("Network", [("NetworkName", name)])), 0o644)]
    if machine.cache(container) is not None:
        files.append(File(f"{name}.volume", unit(("Volume", [("VolumeName", name)])), 0o644))
    files.append(File("environment", _environment(container), 0o644))
    files += [File(f"etc/{f.path}", f.content, 0o644) for f in container.files]
    return Manifests(plan, tuple(files), _client(container, name, names), _notes(container, name))


def _engine(plan: Plan, container: Container, name: str, copy: int, all_: str) -> str:
    lines: list[Line] = [("Image", container.image), ("ContainerName", name)]
    if container.command:
        lines.append(("Entrypoint", text(json.dumps(container.command)).replace("$", "$$")))
    lines += [("Exec", command(container.args)), ("EnvironmentFile", "./environment")]
    lines += [("Secret", f"{_secret(all_, one.key)},type=env,target={one.variable}")
              for one in container.secrets if not one.optional]
    lines += [("AddDevice", f"nvidia.com/gpu={gpu}") for gpu in machine.gpus_of(copy, container)]
    if name == all_:
        lines.append(("PublishPort", _published(plan, container.port)))
    else:
        lines.append(("Network", f"{all_}.network"))
    lines += [("Volume", f"./etc:{CONFIG}:ro"), *_volumes(container, all_), ("Tmpfs", "/tmp:rw,exec,mode=1777")]
    if container.shm_bytes:
        lines.append(("ShmSize", f"{container.shm_bytes}b"))
    lines += _hardened()
    if any(mount.source.kind == "folder" for mount in container.mounts):
        lines.append(("AddCapability", "CAP_DAC_OVERRIDE"))  # as root: the folder belongs to another user
    lines += [("HealthCmd", text(json.dumps(["CMD", *machine.health_command(container)]))),
              ("HealthInterval", "10s"), ("HealthTimeout", "10s"), ("HealthRetries", "3"),
              ("HealthStartPeriod", f"{container.start_seconds}s"), ("Notify", "healthy"),
              ("StopTimeout", str(container.drain_seconds + _STOP_SPARE)),
              ("Label", f"modelkit.stage={plan.stage}"), ("Label", word(f"modelkit.model={plan.name}"))]
    return _unit(f"{plan.name} ({plan.stage})", lines, start=container.start_seconds,
                 stop=container.drain_seconds + 2 * _STOP_SPARE)


def _edge(plan: Plan, name: str, names: tuple[str, ...], file: File) -> str:
    lines: list[Line] = [
        ("Image", plan.images.get(machine.ENVOY, machine.ENVOY)), ("ContainerName", name),
        ("User", machine.ENVOY_USER.partition(":")[0]), ("Group", machine.ENVOY_USER.partition(":")[2]),
        ("Exec", "--config-path /etc/envoy/envoy.json --log-level warning"), ("Network", f"{name}.network"),
        ("PublishPort", _published(plan, machine.EDGE_PORT)), ("Volume", "./edge:/etc/envoy:ro"), *_hardened(),
        ("HealthCmd", text(json.dumps(["CMD", *machine.EDGE_HEALTH]))), ("HealthInterval", "5s"),
        ("HealthTimeout", "5s"), ("HealthRetries", "3"), ("HealthStartPeriod", "30s"), ("Notify", "healthy"),
        ("Label", f"modelkit.stage={plan.stage}"), ("Label", f"modelkit.files={machine.config_digest((file,))}")]
    return _unit(f"{plan.name} ({plan.stage}), its address", lines, start=120, stop=30,
                 needs=[(key, f"{one}.container") for one in names for key in ("Wants", "After")])


def _unit(what: str, lines: list[Line], *, start: int, stop: int, needs: list[Line] | None = None) -> str:
    return unit(
        ("Unit", [("Description", text(f"{what}, by modelkit")), *(needs or [])]), ("Container", lines),
        ("Service", [("Restart", "always"), ("RestartSec", "5"), ("TimeoutStartSec", str(start)),
                     ("TimeoutStopSec", str(stop))]),
        ("Install", [("WantedBy", "default.target")]))


def _volumes(container: Container, name: str) -> list[Line]:
    found: list[Line] = []
    for mount in container.mounts:
        if mount.source.kind != "folder" or ":" in mount.source.name:
            raise Failure("source-not-mountable", f"podman cannot mount {mount.source.name}",
                          hint="let `modelkit up` or `modelkit build` fetch the model first, below a path without `:`")
        found.append(("Volume", word(f"{mount.source.name}:{mount.path}:ro").replace("$", "$$")))
    if (cache := machine.cache(container)) is not None:
        found.append(("Volume", f"{name}.volume:{cache}"))
    return found


def _hardened() -> list[Line]:
    return [("ReadOnly", "true"), ("DropCapability", "all"), ("NoNewPrivileges", "true"), ("RunInit", "true"),
            ("SecurityLabelDisable", "true"), ("LogDriver", "journald"), ("Pull", "missing")]


def _published(plan: Plan, port: int) -> str:
    address = machine.address(plan)
    return f"{f'[{address}]' if ':' in address else address}:{plan.port}:{port}"


def _environment(container: Container) -> str:
    """A line for each variable, as it is: such a file knows neither quotes nor variables nor specifiers."""
    return "".join(f"{name}={value}\n" for name, value in machine.surroundings(container).items())


def _secret(name: str, key: str) -> str:
    return f"{name}-{key}"


_PUT = ('d="${XDG_CONFIG_HOME:-$HOME/.config}/containers/systemd/$2"; '
        'if diff -r "$1" "$d" >/dev/null 2>&1; then exit 0; fi; '
        'mkdir -p "$d.new" && rm -rf "$d.new" "$d.old" && cp -R "$1" "$d.new" && '
        '{ [ ! -e "$d" ] || mv "$d" "$d.old"; } && mv "$d.new" "$d" && rm -rf "$d.old" && '
        'systemctl --user daemon-reload && shift 2 && systemctl --user stop "$@"')
"""Puts the folder in its place; what runs from another one is stopped, so that `start` begins anew."""

_TAKE = ('d="${XDG_CONFIG_HOME:-$HOME/.config}/containers/systemd/$1"; rm -rf "$d" && systemctl --user daemon-reload')


def _client(container: Container, name: str, names: tuple[str, ...]) -> Client:
    services = tuple(f"{one}.service" for one in dict.fromkeys((name, *names)))
    required = [one for one in container.secrets if not one.optional]
    keys: tuple[Command, ...] = tuple(("podman", "secret", "create", "--replace", "--env", _secret(name, one.key),
                                       machine.variable_of(one)) for one in required)
    return Client(
        programs=("podman", "systemctl", "journalctl"), install="Podman 5 or newer: https://podman.io/docs/installation",
        up=(*keys, ("sh", "-c", _PUT, "sh", DIRECTORY, name, *services),
            ("systemctl", "--user", "start", "--no-block", *services)),
        ready=(("systemctl", "--user", "start", *services),),
        diff=(),
        down=(("systemctl", "--user", "stop", *reversed(services)), ("sh", "-c", _TAKE, "sh", name),
              *(("podman", "secret", "rm", "--ignore", _secret(name, one.key)) for one in required)),
        status=(("systemctl", "--user", "status", "--no-pager", "--lines=0", *services),),
        logs=(("journalctl", "--user", "--no-pager", "--output=cat",
               *(f"--user-unit={service}" for service in services)),),
        effective=(("podman", "exec", names[0], *asking(container)),),
        tail="--lines", variables={machine.variable_of(one): one.reference for one in required})


def _notes(container: Container, name: str) -> tuple[str, ...]:
    keys = (f"the secret {_secret(name, one.key)} must be there: `podman secret create {_secret(name, one.key)} -`, "
            f"with what {one.reference} holds" for one in container.secrets if not one.optional)
    gpus = ("GPUs are named by CDI: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`",) \
        if container.gpus else ()
    return (*keys, *gpus, "`loginctl enable-linger` lets it run while nobody is logged in")
