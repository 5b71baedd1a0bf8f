"""`modelkit status`."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from modelkit.contract.effective import Effective
    from modelkit.planning.plan import Plan
    from modelkit.release.changes import Change
    from modelkit.release.drift import Drift


def run(arguments: Namespace, terminal: Terminal) -> int:
    """What of a Modelfile runs, and with `--drift` in what it is not what the file says; 1 when it is not."""
    path = project.find(arguments.file)
    given = project.remembered(path) | project.given(arguments, path)
    stages = Stages(project.load(path, Terminal(quiet=True, stderr=terminal.stderr), given), arguments)
    seen = _at_url(arguments, stages) if arguments.url else [*_deployed(path, stages, arguments), *_local(path)]
    if not seen:
        raise Failure("not-running", f"no engine of {path} is ready", exit_code=1,
                      hint="`modelkit up` starts one; `modelkit ps` says what it waits for")
    documents, drifted = [], False
    for plan, found, routed in seen:
        drift, changes = _drift(stages, plan, found) if arguments.drift else ([], [])
        drifted |= bool(drift)
        documents.append({"model": plan.name, "stage": plan.stage, "engine": plan.engine_name, "serving": routed,
                          "effective": found.as_json(), "drift": [asdict(one) | {"text": str(one)} for one in drift],
                          "changes": [one.model_dump(mode="json") for one in changes]})
        terminal.data(f"{plan.name}  stage {plan.stage}  {plan.engine_name} {found.version or ''}".rstrip()
                      + ("  serving" if routed else ""))
        _say(found, drift, terminal)
        _say_changes(changes, terminal)
        if arguments.drift and not drift:
            terminal.data("  drift         none")
    terminal.document({"schema": "modelkit.status/1", "modelfile": str(path), "drift": drifted, "engines": documents})
    return 1 if drifted else 0


def _deployed(path: Path, stages: Stages, arguments: Namespace) -> list[tuple[Plan, Effective, bool]]:
    """An engine of each deployment on other platforms, asked through the platform's client."""
    from modelkit.cli.commands import deploy
    from modelkit.runtime import apply, deployments

    seen = []
    for one in deployments.all_of(path, arguments.stage):
        if one.applied is None:
            continue
        apply.presume_programs(one.client, one.platform, one.stage)
        if (found := deploy.effective(one)) is None:
            raise Failure("not-readable", f"stage `{one.stage}` on {one.platform} can't be asked through its client",
                          hint=f"name its address: `modelkit status -s {one.stage} --url http://…`")
        seen.append((stages.plan(one.stage), found, True))
    return seen


def _local(path: Path) -> list[tuple[Plan, Effective, bool]]:
    """Each engine of this machine's supervisor that is ready, asked itself."""
    from modelkit.planning.plan import Plan
    from modelkit.release.drift import effective_at
    from modelkit.runtime.client import connect

    seen: list[tuple[Plan, Effective, bool]] = []
    client = connect(project.project_of(path))
    if client is None:
        return seen
    with client:
        for generation in client.status()["generations"]:
            if generation["phase"] == "ready" and generation["modelfile"] in ("", os.path.realpath(path)):
                plan = Plan.model_validate(client.plan(generation["id"]))
                seen.append((plan, effective_at(generation["socket"]), bool(generation["routed"])))
    return seen


def _at_url(arguments: Namespace, stages: Stages) -> list[tuple[Plan, Effective, bool]]:
    """The engine at an address, held against the stage as the Modelfile has it now."""
    import urllib3

    from modelkit.contract.effective import PATH
    from modelkit.release.drift import effective_of

    plan = stages.plan(project.stage_of(arguments))
    address = arguments.url.rstrip("/").removesuffix("/v1")
    key = os.environ.get(project.API_KEY_VARIABLE) or project.key_of(plan.api_key)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = urllib3.request("GET", address + PATH, headers=headers, timeout=30, retries=False, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise Failure("engine-unreachable", f"nobody answers at {address}: {error}",
                      hint="on a cluster, `kubectl port-forward` makes a Service reachable from here") from None
    try:
        document = json.loads(answer.data)
    except ValueError:
        document = None
    if answer.status in (401, 403):
        raise Failure("engine-refused", f"{address} wants a key", hint=f"export {project.API_KEY_VARIABLE}=…")
    return [(plan, effective_of(document if answer.status == 200 else {"status": answer.status}), True)]


def _drift(stages: Stages, plan: Plan, found: Effective) -> tuple[list[Drift], list[Change]]:
    """In what an engine is not what its file says, and what each setting that is other by now means for clients."""
    from modelkit.release.changes import attributes
    from modelkit.release.drift import Drift, engine_drift, modelfile_drift

    drift = list(engine_drift(plan, found))
    look = stages.look(plan.stage)
    now = stages.plan(plan.stage, look)
    drift += modelfile_drift(plan, now)
    if (reason := stages.stale(plan.stage, look)) is not None:
        drift.append(Drift("lock", f"the lock is not up to date: {reason}", None, None))
    return drift, list(attributes(plan, now))


def _say_changes(changes: list[Change], terminal: Terminal) -> None:
    for one in changes:
        terminal.data(f"  {one.effect:<14}{one.path}: {one.reason}")


def _say(found: Effective, drift: list[Drift], terminal: Terminal) -> None:
    rows: list[tuple[str, Any]] = [
        ("model", found.model), ("revision", found.revision), ("context", found.context_length),
        ("conversations", found.max_concurrency), ("template", found.template),
        ("adapters", ", ".join(found.adapters or ()) or None), ("cache", found.kv_cache),
        ("cache tokens", found.kv_tokens), ("GPUs a copy", found.tensor_parallel)]
    for name, value in rows:
        if value is not None:
            terminal.data(f"  {name:<14}{value}")
    for one in drift:
        terminal.data(f"  drift         {one.kind}: {one}")
