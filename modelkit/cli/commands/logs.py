"""`modelkit logs`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.commands import deploy
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

_EVERYTHING = 1_000_000
_TAIL = 10


def run(arguments: Namespace, terminal: Terminal) -> int:
    """What the engines said, this run's and when nothing runs the last one's."""
    from modelkit.runtime.client import Project, follow, log_files, read_last

    path = project.find(arguments.file)
    there = Project(project.project_of(path))
    if arguments.tail is not None and arguments.tail < 0:
        raise Failure("usage", f"--tail is {arguments.tail}; it must be 0 or more")
    if deploy.logs(path, arguments, terminal, local=bool(log_files(there))):
        return 0
    if arguments.follow:
        for line in follow(there, _TAIL if arguments.tail is None else arguments.tail):
            terminal.data(line)
        return 0
    if not log_files(there):
        raise Failure("no-logs", "nothing of this Modelfile has run yet", hint="modelkit up", exit_code=1)
    for line in read_last(there, _EVERYTHING if arguments.tail is None else arguments.tail):
        terminal.data(line)
    return 0
