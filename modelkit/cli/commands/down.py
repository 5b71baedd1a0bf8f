"""`modelkit down`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from modelkit.cli import changing, project
from modelkit.cli.commands import deploy
from modelkit.cli.terminal import Terminal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Drain and stop; what a dead run left behind goes too. Nothing running is not an error."""
    from modelkit.runtime.client import Client, connect, sweep

    path = None if arguments.all else project.find(arguments.file)
    if arguments.dry_run:
        return _dry(path, arguments, terminal)
    stopped = deploy.down(path, arguments, terminal)
    for word in _projects(path, arguments):
        client: Client | None = connect(word)
        if client is None:
            continue
        with client:
            endpoint = client.endpoint
            terminal.note(f"draining {endpoint}")
            project.drain(client, arguments.drain)
        stopped.append(endpoint)
    swept = sweep()
    terminal.document({"stopped": stopped, "swept": swept})
    for endpoint in stopped:
        terminal.data(f"{endpoint} is down")
    if swept:
        terminal.note(f"ended {len(swept)} processes that a dead run had left")
    if not stopped and not swept:
        terminal.note("nothing is running")
    return 0


def _projects(path: Path | None, arguments: Namespace) -> list[str]:
    """The projects of this machine's supervisors that are meant."""
    from modelkit.runtime.client import runs

    if arguments.stage:
        return []
    return [str(run["project"]) for run in runs()] if path is None else [project.project_of(path)]


def _dry(path: Path | None, arguments: Namespace, terminal: Terminal) -> int:
    """What it would do; it does nothing."""
    from modelkit.release.changes import Changes, take_down
    from modelkit.runtime.client import connect

    found: list[Changes] = list(changing.deployed(path, arguments.stage))
    for word in _projects(path, arguments):
        if (client := connect(word)) is not None:
            with client:
                sides = changing.every(client)
                found.append(take_down(sides, client.endpoint, model=", ".join(side.plan.name for side in sides)))
    for changes in found:
        changing.say(changes, terminal)
    if not found:
        terminal.data("Nothing to do.")
    terminal.document([changes.as_json() for changes in found])
    return 0
