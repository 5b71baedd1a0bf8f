"""`up`, `down`, `logs` and `ps` on platforms of other programs: through those programs' own commands."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.contract.effective import Effective
    from modelkit.language.modelfile import Modelfile
    from modelkit.platforms.manifests import Manifests
    from modelkit.runtime.deployments import Changes, Deployment


def belongs(modelfile: Modelfile, stage: str, arguments: Namespace) -> bool:
    """Does another program keep this stage running? Not with `--here`, which is how such a program starts it."""
    from modelkit.planning.forms import wanted
    from modelkit.platforms import platform_row

    platform = wanted(modelfile, stage).platform
    if not getattr(arguments, "here", False):
        return platform != "process"
    if platform_row(platform).where != "process":
        raise Failure("usage", f"stage `{stage}` is for platform {platform}, in a container: it does not run here",
                      hint="leave --here out")
    return False


def up(path: Path, modelfile: Modelfile, stage: str, arguments: Namespace, terminal: Terminal) -> int:
    """Write the bundle, show what it changes, apply it, wait until it answers. It stays when this command ends."""
    from modelkit.cli import remote
    from modelkit.cli.stages import Stages
    from modelkit.runtime import apply, deployments

    stages = Stages(modelfile, arguments)
    with terminal.progress() as progress:
        made = remote.manifests(stages, stage, progress, terminal)
    project.say_losses(made.plan, terminal)
    if made.client is None:
        raise Failure("platform-without-client", f"modelkit does not bring stages to platform {made.plan.platform}",
                      hint=f"`modelkit build -s {stage} -o DIR` writes the files")
    apply.presume_programs(made.client, made.plan.platform, stage)
    secrets = _secrets(made.client.variables)
    deployment = deployments.planned(path, made)
    _presume_same(path, deployment)
    changes = deployments.changes(deployment, made)
    index = deployments.put(deployment, made, remote.lock_digest(stages.lock.lock, stage))
    _say_plan(deployment, made, changes, secrets, terminal)
    if changes:
        _presume_wanted(deployment, "applied", arguments, terminal)
    deployment = replace(deployment, begun=True)
    deployments.record(deployment)  # first: what is left of a half of it is taken away by `down`
    apply.run(deployment, made.client.up, terminal.note, secrets)
    deployment = replace(deployment, applied=index)
    deployments.record(deployment)
    waited = not arguments.detach or arguments.wait
    if waited:
        apply.run(deployment, made.client.ready, terminal.note, secrets)
        _presume_as_planned(deployment, made)
    _say_up(deployment, made, changes, waited and bool(made.client.ready), terminal)
    return 0


def effective(deployment: Deployment) -> Effective | None:
    """What an engine of a deployment says that it has; None on platforms whose client can't ask.

    Raises Failure when it does not say.
    """
    import json

    from modelkit.release.drift import effective_of
    from modelkit.runtime import apply

    if not deployment.client.effective:
        return None
    (ran,) = apply.ask(deployment, deployment.client.effective, 60)
    if ran.code:
        raise apply.failed(ran, deployment)
    try:
        return effective_of(json.loads("\n".join(ran.output)))
    except ValueError:
        return effective_of(ran.output[:1])


def _presume_as_planned(deployment: Deployment, made: Manifests) -> None:
    """What runs must be what was planned, wherever it runs. Raises Failure; nothing is taken back."""
    from modelkit.release.drift import engine_drift

    found = effective(deployment)
    if found is not None and (drift := list(engine_drift(made.plan, found))):
        raise Failure("engine-not-as-planned", f"{_title(deployment)} runs, but not as planned: {drift[0]}",
                      hint=f"`modelkit logs -s {deployment.stage}` may say why", detail=tuple(map(str, drift[1:])))


def down(path: Path | None, arguments: Namespace, terminal: Terminal) -> list[str]:
    """Take deployments away; returns what was. Other machines' are only touched when their stage is named."""
    from modelkit.platforms import platform_row
    from modelkit.runtime import apply, deployments

    gone = []
    for deployment in list(deployments.all_of(path, arguments.stage)):
        if not deployment.begun:
            deployments.forget(deployment)
            continue
        if platform_row(deployment.platform).where == "elsewhere" and arguments.stage is None:
            terminal.note(f"{_title(deployment)} goes on: `modelkit down -s {deployment.stage}` takes it away")
            continue
        apply.presume_programs(deployment.client, deployment.platform, deployment.stage)
        terminal.note(f"{_title(deployment)} will be taken away")
        _presume_wanted(deployment, "taken away", arguments, terminal)
        apply.run(deployment, deployment.client.down, terminal.note)
        deployments.forget(deployment)
        gone.append(_title(deployment))
    return gone


def logs(path: Path, arguments: Namespace, terminal: Terminal, *, local: bool) -> bool:
    """Print what a deployment says; False where there is none. With `local` logs, only for a stage that is named."""
    from modelkit.runtime import apply, deployments

    found = list(deployments.all_of(path, arguments.stage)) if arguments.stage or not local else []
    if not found:
        if arguments.stage and not local:
            raise Failure("no-logs", f"stage `{arguments.stage}` is on no platform of another program",
                          hint=f"modelkit up -s {arguments.stage}", exit_code=1)
        return False
    if len(found) > 1:
        raise Failure("several-stages", f"{len(found)} stages of {path} are on platforms of other programs",
                      hint="name one: " + ", ".join(f"-s {one.stage}" for one in found))
    apply.presume_programs(found[0].client, found[0].platform, found[0].stage)
    apply.follow(found[0], terminal.data, tail=arguments.tail, go_on=arguments.follow)
    return True


def ps() -> list[dict[str, Any]]:
    """Every deployment of this user, with what its platform's client says of it now."""
    from modelkit.runtime import apply, deployments

    found = []
    for one in deployments.all_of():
        try:
            apply.presume_programs(one.client, one.platform, one.stage)
            ran = apply.ask(one, one.client.status)
        except Failure as failure:
            lines, code = [failure.message], 127
        else:
            lines = [line for each in ran for line in (*each.output, *each.errors)]
            code = max((each.code for each in ran), default=0)
        found.append({"model": one.model, "stage": one.stage, "platform": one.platform, "engine": one.engine,
                      "modelfile": one.modelfile, "applied": one.applied is not None, "code": code,
                      "status": lines})
    return found


def say_ps(found: list[dict[str, Any]], terminal: Terminal) -> None:
    """The same for people: the client's own lines below a line of ours."""
    for one in found:
        state = "" if one["applied"] else ", not applied in full"
        terminal.data(f"{one['model']} ({one['stage']}, {one['engine']}) on {one['platform']}{state}")
        for line in one["status"]:
            terminal.data(f"  {line}")


def _secrets(variables: Mapping[str, str]) -> dict[str, str]:
    """The values behind the references, for the client's environment. Raises Failure for one that is not there."""
    return {name: project.key_of(reference) or "" for name, reference in variables.items()}


def _presume_same(path: Path, deployment: Deployment) -> None:
    """What runs under another platform or another name would be left behind."""
    from modelkit.runtime import deployments

    before = next(deployments.all_of(path, deployment.stage), None)
    if before is None or not before.begun:
        return
    if before.platform != deployment.platform or before.client.down != deployment.client.down:
        was = f"platform {before.platform}" if before.platform != deployment.platform else f"the name {before.model}"
        raise Failure("deployed-otherwise", f"stage `{deployment.stage}` is still there under {was}, and would stay",
                      hint=f"`modelkit down -s {deployment.stage}` takes it away first")


def _say_plan(deployment: Deployment, made: Manifests, changes: Changes, secrets: Mapping[str, str],
              terminal: Terminal) -> None:
    from modelkit.runtime import apply

    if not changes:
        terminal.note(f"{_title(deployment)}: nothing changed since it was applied")
        return
    terminal.note(f"{_title(deployment)}, image {made.plan.image or 'none'}:")
    for sign, paths in (("+", changes.created), ("~", changes.changed), ("-", changes.removed)):
        for file in paths:
            terminal.note(f"  {sign} {file}")
    for ran in apply.ask(deployment, deployment.client.diff, secrets=secrets):
        for line in (*ran.output, *ran.errors):
            terminal.note(f"  | {line}")


def _presume_wanted(deployment: Deployment, what: str, arguments: Namespace, terminal: Terminal) -> None:
    """On other machines nothing changes unless somebody says so."""
    from modelkit.platforms import platform_row

    if arguments.yes or platform_row(deployment.platform).where != "elsewhere":
        return
    if not (sys.stdin.isatty() and terminal.stderr.isatty()):
        raise Failure("not-confirmed", f"{_title(deployment)} would be {what}, and nobody said yes", hint="add --yes")
    print(f"Shall it be {what}? [y/N] ", end="", file=terminal.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failure("not-confirmed", "nothing was changed", exit_code=1)


def _say_up(deployment: Deployment, made: Manifests, changes: Changes, is_ready: bool, terminal: Terminal) -> None:
    from modelkit.platforms import platform_row

    plan, here = made.plan, platform_row(made.plan.platform).where != "elsewhere"
    url = project.base_url(plan.host, plan.port) if here else None
    terminal.document({"outcome": "up" if is_ready else "applied", "stage": plan.stage, "model": plan.name,
                       "platform": plan.platform, "engine": plan.engine_name, "base_url": url, "digest": made.digest,
                       "changed": bool(changes), "bundle": str(deployment.bundle)})
    terminal.data(f"{_title(deployment)} is {'up' if is_ready else 'applied'}")
    if url:
        terminal.data(f"  address  {url}")
    terminal.data(f"  model    {plan.name}")
    terminal.data(f"  files    {deployment.bundle}")
    terminal.data(f"  stop     modelkit down -s {plan.stage} {plan.modelfile}")
    if not is_ready:
        terminal.note("`modelkit ps` shows when it is ready")


def _title(deployment: Deployment) -> str:
    return f"{deployment.model} ({deployment.stage}, {deployment.engine}) on {deployment.platform}"
