"""Platform `systemd`: a user's unit that runs `modelkit up` in the foreground, with the engine as a process.

Facts are those of systemd 252. The unit is ready when the engine has answered (`Type=notify`), and SIGTERM goes to
modelkit alone, which drains before it stops the engine (`KillMode=mixed`).
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

from modelkit import engines
from modelkit.engines.launch import File, Launch
from modelkit.places import place
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms import machine, process
from modelkit.platforms.manifests import DIRECTORY, Client, Command, Manifests
from modelkit.platforms.unit_file import Line, command, text, unit, word

DRAIN_SECONDS = 30  # that `modelkit up` gives requests in flight when it is told to end
_SPARE = 30
_KEY = "api-key.env"

_PLACES = ("MODELKIT_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME")


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """The same as on platform `process`, which the unit keeps running."""
    return process.lower(plan)


def manifests(plan: Plan) -> Manifests:
    """The unit. It names this machine's modelkit and the Modelfile's path: a bundle for this machine alone."""
    launch, name = engines.launch(plan), machine.unit_name(plan)
    return Manifests(plan, (File(f"{name}.service", _unit(plan, launch, name), 0o644),), _client(plan, name),
                     _notes(plan, name))


def arguments(plan: Plan) -> tuple[str, ...]:
    """The command that the unit runs."""
    return (sys.executable, "-m", "modelkit", "up", "--here", "--frozen", "-s", plan.stage,
            str(Path(plan.modelfile).absolute()))


def _unit(plan: Plan, launch: Launch, name: str) -> str:
    variable = _key_variable(plan)
    key: list[Line] = [("EnvironmentFile", f"%E/modelkit/{name}/{_KEY}")] if variable else []
    moved: list[Line] = [("Environment", word(f"{one}={os.environ[one]}")) for one in _PLACES if os.environ.get(one)]
    return unit(
        ("Unit", [("Description", text(f"{plan.name} ({plan.stage}) on {plan.engine_name}, by modelkit")),
                  ("StartLimitIntervalSec", "600"), ("StartLimitBurst", "5")]),
        ("Service", [
            ("Type", "notify"), ("ExecStart", command(arguments(plan))), *moved, *key,
            ("TimeoutStartSec", str(math.ceil(launch.start_seconds) + _SPARE)),
            ("TimeoutStopSec", str(DRAIN_SECONDS + math.ceil(launch.grace_seconds) + _SPARE)),
            ("KillMode", "mixed"), ("SuccessExitStatus", "130 143"), ("Restart", "on-failure"), ("RestartSec", "5"),
            *_hardened()]),
        ("Install", [("WantedBy", "default.target")]))


def _hardened() -> list[Line]:
    """GPUs are devices, and engines compile code: neither devices nor writable code are taken away."""
    writable = " ".join(word(f"-{path}") for path in dict.fromkeys(_places()))
    return [("UMask", "0077"), ("NoNewPrivileges", "yes"), ("PrivateTmp", "yes"), ("ProtectSystem", "strict"),
            ("ProtectHome", "read-only"), ("ReadWritePaths", writable), ("ProtectKernelTunables", "yes"),
            ("ProtectKernelModules", "yes"), ("ProtectControlGroups", "yes"), ("ProtectClock", "yes"),
            ("RestrictSUIDSGID", "yes"), ("RestrictRealtime", "yes"), ("LockPersonality", "yes"),
            ("SystemCallArchitectures", "native"), ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK")]


def _places() -> tuple[str, ...]:
    """What modelkit writes: its store, its state, its caches."""
    return tuple(str(place(kind)) for kind in ("data", "state", "run", "cache"))


def _key_variable(plan: Plan) -> str | None:
    scheme, _, name = (plan.api_key or "").partition(":")
    return name if scheme == "env" else None


_WRITE_KEY = ('umask 077; mkdir -p "$(dirname "$1")" && eval "value=\\${$2}" && '
              'value=$(printf %s "$value" | sed \'s/[\\\\"]/\\\\&/g\') && '
              'printf \'%s="%s"\\n\' "$2" "$value" > "$1.new" && mv "$1.new" "$1"')
"""Puts a key, in the quotes of systemd.exec(5), where only its owner reads it. It is never on a command line."""

_CONFIG = "${XDG_CONFIG_HOME:-$HOME/.config}"

_PUT = (f'd="{_CONFIG}/systemd/user"; if cmp -s "$1" "$d/$2"; then exit 0; fi; '
        'mkdir -p "$d" && cp "$1" "$d/.$2.new" && mv "$d/.$2.new" "$d/$2" && systemctl --user daemon-reload && '
        'systemctl --user enable "$2" && systemctl --user stop "$2"')
"""Puts the unit in its place; what runs from another one is stopped, so that `start` begins anew."""

_TAKE = (f'd="{_CONFIG}"; systemctl --user disable --now "$1" && '
         'rm -f "$d/systemd/user/$1" && rm -rf "$d/modelkit/$2" && systemctl --user daemon-reload')


def _client(plan: Plan, name: str) -> Client:
    service, variable = f"{name}.service", _key_variable(plan)
    key: tuple[Command, ...] = ()
    if variable:
        key = (("sh", "-c", f'p="{_CONFIG}/modelkit/$1/{_KEY}"; set -- "$p" "$2"; {_WRITE_KEY}', "sh", name, variable),)
    return Client(
        programs=("systemctl", "journalctl"), install="systemd, with a manager for this user",
        up=(("mkdir", "-p", *dict.fromkeys(_places())), *key,
            ("sh", "-c", _PUT, "sh", f"{DIRECTORY}/{service}", service),
            ("systemctl", "--user", "start", "--no-block", service)),
        ready=(("systemctl", "--user", "start", service),),
        down=(("sh", "-c", _TAKE, "sh", service, name),),
        status=(("systemctl", "--user", "status", "--no-pager", "--lines=0", service),),
        logs=(("journalctl", "--user", "--no-pager", "--output=cat", f"--user-unit={service}"),),
        tail="--lines", variables={variable: f"env:{variable}"} if variable else {})


def _notes(plan: Plan, name: str) -> tuple[str, ...]:
    variable = _key_variable(plan)
    key = (f"the unit reads `{variable}=…` from ~/.config/modelkit/{name}/{_KEY}, which `modelkit up` writes",) \
        if variable else ()
    return (*key, "`loginctl enable-linger` lets it run while nobody is logged in")
