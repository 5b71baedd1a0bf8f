"""`modelkit approve`, `reject`, `hold` and `release`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.signing import key_of, signed
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile

_SAYS = {"approve": "approved for", "reject": "rejected from", "hold": "held from", "release": "let into"}


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Write what somebody says about a stage or a version of it into its records."""
    from modelkit.cli.commands.gate import presume_stages
    from modelkit.release import events, history, record

    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    presume_stages(modelfile, arguments.stage)
    if arguments.reason is not None and not arguments.reason.strip():
        raise Failure("usage", "the reason is empty", hint='--reason "…" says to others why')
    until = history.instant(arguments.until, end=True) if getattr(arguments, "until", None) else None
    if until is not None and until <= record.now():
        raise Failure("usage", f"{arguments.until} is over", hint="name a later end, or none")
    key = key_of(arguments)
    store = record.Records(path, str(modelfile.name.value), arguments.stage)
    store.settle()
    about = _about(arguments, modelfile, path)
    written = events.say(history.read(store), path, arguments.word, about=about, reason=arguments.reason, until=until)
    signature = signed(written.path, key)
    terminal.document({"schema": "modelkit.said/1", "kind": arguments.word, "stage": arguments.stage,
                       "about": about, "until": until, "record": {"id": written.id, "path": str(written.path)},
                       "signature": str(signature) if signature else None})
    what = f"version {about[7:19]}" if about else "everything" if arguments.word == "release" else "anything new"
    end = f" until {until}" if until else ""
    terminal.data(f"{what} is {_SAYS[arguments.word]} stage {arguments.stage}{end}")
    terminal.data(f"  record   {written.path}{' (signed)' if signature else ''}")
    return 0


def _about(arguments: Namespace, modelfile: Modelfile, path: Path) -> str | None:
    """The version that is meant; None where the words mean all."""
    from modelkit.release import events, history

    if arguments.about:
        return events.version_named(history.all_of(path, str(modelfile.name.value)), arguments.about)
    return _now(arguments, modelfile) if arguments.word in ("approve", "reject") else None


def _now(arguments: Namespace, modelfile: Modelfile) -> str:
    """The version that the files make of the stage. Raises Failure while that is not known on this machine."""
    from modelkit.cli.stages import Stages
    from modelkit.planning.meaning import meaning

    plan = Stages(modelfile, arguments).plan(arguments.stage)
    if plan.weights is None or plan.engine is None:
        missing = "its weights are" if plan.weights is None else f"{plan.engine_name} is"
        raise Failure("version-unknown", f"which version stage `{arguments.stage}` would be is not known here: "
                      f"{missing} not on this machine", hint="name it with --version, as `modelkit gate` printed it")
    return meaning(plan)
