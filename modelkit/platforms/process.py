"""Platform `process`: the engine as a child of this machine's supervisor."""

from __future__ import annotations

import json

from modelkit import engines
from modelkit.engines.launch import File
from modelkit.planning.plan import Lowered, Plan
from modelkit.platforms.bundle import Bundle
from modelkit.platforms.manifests import Manifests

_ADDRESS = {"serve.host": "the edge's address", "serve.port": "the edge's address",
            "serve.api_key": "asked for by the edge"}


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What the platform does with the settings that no engine sees."""
    found = [Lowered(setting=s.name, verdict="equal", target=_ADDRESS[s.name], value=s.value)
             for s in plan.settings if s.name in _ADDRESS]
    if (replicas := plan.setting("serve.replicas")) is not None:
        found.append(Lowered(setting=replicas.name, verdict="equal", target="engines behind one address",
                             value=replicas.value))
    if (keep_alive := plan.setting("serve.keep_alive")) is not None:
        found.append(Lowered(setting=keep_alive.name, verdict="lost", target="", reason="prod is never unloaded")
                     if plan.kind == "prod" and keep_alive.value >= 0 else
                     Lowered(setting=keep_alive.name, verdict="equal", target="unloads an idle engine",
                             value=keep_alive.value))
    if plan.setting("serve.max_replicas") is not None:
        found.append(Lowered(setting="serve.max_replicas", verdict="lost", target="",
                             reason="on one machine nothing adds engines under load; say SERVE replicas"))
    return tuple(found)


def render(plan: Plan) -> Bundle:
    """The engine's own launch; the supervisor adds the address."""
    return Bundle(plan, engines.launch(plan))


def manifests(plan: Plan) -> Manifests:
    """What `up` would launch, to be read: `launch.json`, the files of the engine's run directory under `run/`, and what
    Prometheus and Grafana need for the edge under `monitoring/`."""
    from modelkit.platforms.dashboards import edge_monitoring  # writes YAML, which `up` never does

    launch = engines.launch(plan)
    said = {"argv": list(launch.argv), "env": launch.env, "files": {f.path: f"{f.mode:04o}" for f in launch.files},
            "start_seconds": launch.start_seconds, "grace_seconds": launch.grace_seconds}
    files = (File("launch.json", json.dumps(said, ensure_ascii=False, indent=2) + "\n"),
             *(File(f"run/{f.path}", f.content, f.mode) for f in launch.files), *edge_monitoring(plan))
    return Manifests(plan, files, notes=("`@RUN@` stands for the engine's run directory, which `modelkit up` makes",))
