"""`modelkit fit`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from modelkit.cli import fit_subject, fit_text, project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.planning.fit.hardware import Hardware
    from modelkit.planning.fit.report import FitReport


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Say how much memory each stage takes there; 1 where one does not fit, 8 where nobody knows."""
    _presume_together(arguments)
    machines, stage = _machines(arguments), project.stage_of(arguments)
    documents, reports = list[dict[str, Any]](), list[FitReport]()
    for word in arguments.what or [None]:
        stages = fit_subject.stages_of(word, arguments, terminal)
        for machine in machines:
            one = _report(stages, stage, machine, arguments, terminal)
            documents.append(one.as_json())
            reports.append(one)
    terminal.document(documents[0] if len(documents) == 1 else documents)
    if len(reports) > 1:
        fit_text.side_by_side(reports, terminal)
    for one in reports if len(machines) == 1 else ():
        if len(reports) > 1:
            terminal.data("")
        fit_text.say(one, terminal)
    fits = [one.fits for one in reports]
    return 1 if False in fits else 8 if None in fits else 0


def _report(stages: Stages, stage: str, machine: Hardware | None, arguments: Namespace, terminal: Terminal
            ) -> FitReport:
    from modelkit.cli.fitting import report

    with terminal.progress() as progress:
        found = fit_subject.look(stages, stage, progress)
    return report(stages, stage, found=found, hardware=machine, context=arguments.context,
                  concurrency=arguments.concurrency, kv_cache=arguments.kv_cache)


def _machines(arguments: Namespace) -> list[Hardware | None]:
    """Those that `--hardware` names; without it None, the stage's own."""
    from modelkit.planning.fit.profiles import profile

    names = [name.strip() for said in arguments.hardware for name in said.split(",")]
    return [profile(name) for name in dict.fromkeys(names)] or [None]


def _presume_together(arguments: Namespace) -> None:
    if arguments.verify and arguments.hardware:
        raise Failure("usage", "`--verify` is about this machine: leave `--hardware` out")
    if arguments.plot and arguments.plot != "-" and not arguments.plot.lower().endswith((".svg", ".png")):
        raise Failure("usage", f"`--plot {arguments.plot}` is neither a .svg nor a .png",
                      hint="`--plot` behind everything else draws in the terminal")
