"""`modelkit sbom`."""

from __future__ import annotations

import json
from argparse import Namespace

from modelkit import __version__
from modelkit.cli import project
from modelkit.cli.lockfile import LockFile
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Print the lock as a CycloneDX bill of materials."""
    from modelkit.planning.sbom import bom

    modelfile = project.load_asked(arguments, terminal)
    lock = LockFile(modelfile)
    if lock.lock is None:
        raise Failure("lock-missing", f"there is no {lock.path}, which the bill of materials is made from",
                      "modelkit lock", exit_code=1)
    stages = [stage for stage in lock.lock.stage if not arguments.stages or stage.name in arguments.stages]
    if missing := set(arguments.stages or ()) - {stage.name for stage in stages}:
        raise Failure("unknown-stage", f"{lock.path} has no stage `{min(missing)}`",
                      "it has " + ", ".join(stage.name for stage in lock.lock.stage))
    document = bom(lock.lock, modelfile.name.value, stages, __version__)
    terminal.document(document)
    terminal.data(json.dumps(document, indent=2, ensure_ascii=False))
    return 0
