"""`modelkit ci`."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.release.ci import Report


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Everything that needs no engine, for each file; 1 when something fails, 2 when something could not be judged."""
    from modelkit.cli.base import commit_of
    from modelkit.cli.looking import look
    from modelkit.release.ci import Report, markdown, verdict_of
    from modelkit.release.verdict import EXIT_CODES

    paths = project.all_of(arguments.files)
    base = None if arguments.base is None else commit_of(arguments.base, paths[0].absolute().parent)
    files = []
    for path in paths:
        terminal.note(str(path))
        files.append(look(path, arguments, base))
    report = Report(verdict=verdict_of(one.verdict for one in files), base=arguments.base, files=tuple(files))
    text = markdown(report)
    if arguments.comment_file:
        _write(Path(arguments.comment_file), text, "w")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        _write(Path(summary), text, "a")
    terminal.document(report.as_json())
    _say(report, terminal)
    return 0 if report.verdict == "skipped" else EXIT_CODES[report.verdict]


def _write(path: Path, text: str, mode: str) -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failure("unwritable", f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from None


def _say(report: Report, terminal: Terminal) -> None:
    for one in report.files:
        terminal.data(f"{one.modelfile}: {one.verdict}")
        for step in one.steps:
            terminal.data(f"  {step.verdict:<8}{step.name:<8}{step.summary}")
            for line in step.details:
                terminal.data(f"                    {line}")
        for stage in one.stages:
            for change in stage.changes or ():
                terminal.data(f"  {stage.stage}: {change.path}: {_short(change.before)} -> {_short(change.after)} "
                              f"({change.effect}: {change.reason})")


def _short(value: object) -> str:
    text = "nothing" if value is None else " ".join(str(value).split())
    return text if len(text) <= 48 else text[:45] + "..."
