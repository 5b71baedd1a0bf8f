"""`modelkit lock`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.lockfile import LockFile
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Write what every stage runs, by digest; with --check, say whether that is up to date, and ask nobody."""
    if arguments.check and arguments.upgrade:
        raise Failure("usage", "--check and --upgrade exclude each other")
    modelfile = project.load_asked(arguments, terminal)
    lock = LockFile(modelfile, upgrade=arguments.upgrade, rewrite=True)
    stages = Stages(modelfile, arguments, lock=lock, keep_rungs=arguments.check)
    if arguments.check:
        return _check(stages, terminal)
    with terminal.progress() as progress:
        found = [(stage, stages.inspect(stage, progress, refresh=arguments.upgrade)) for stage in lock.stages()]
        for name, one in found:
            stages.images.find(name, stages.plan(name, one), progress)
    for name, one in found:
        if one.refused is not None:
            terminal.note(f"stage `{name}` has no precision yet: {one.refused.message}")
    changed = stages.settle(found, terminal)
    assert lock.lock is not None
    terminal.document({"path": str(lock.path), "changed": changed, "digest": lock.lock.digest,
                       "lock": lock.lock.model_dump(mode="json", exclude_none=True)})
    for stage in lock.lock.stage:
        terminal.data(f"{stage.name}: {lock.lock.artifact_for(stage.artifact).resolved}, {stage.requires}")  # type: ignore[union-attr]
    terminal.data(f"{lock.path} {'was written' if changed else 'is up to date'}")
    return 0


def _check(stages: Stages, terminal: Terminal) -> int:
    """Offline: does the lock answer the Modelfile? What the network has now does not count."""
    lock, reasons = stages.lock, []
    if lock.lock is None:
        raise Failure("lock-missing", f"there is no {lock.path}", "modelkit lock", exit_code=1)
    for stage in lock.stages():
        if (reason := _reason(stages, stage)) is not None:
            reasons.append(reason)
    terminal.document({"path": str(lock.path), "current": not reasons, "reasons": reasons})
    for reason in reasons:
        terminal.data(f"{lock.path} is not up to date: {reason}")
    if not reasons:
        terminal.data(f"{lock.path} is up to date")
    return 1 if reasons else 0


def _reason(stages: Stages, stage: str) -> str | None:
    try:
        return stages.stale(stage, stages.look(stage))
    except Failure as failure:
        if failure.code not in ("lock-mismatch", "lock-stale"):
            raise
        return failure.message
