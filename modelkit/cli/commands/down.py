"""`modelkit down`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.commands import deploy
from modelkit.cli.terminal import Terminal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Drain and stop; what a dead run left behind goes too. Nothing running is not an error."""
    from modelkit.runtime.client import Client, connect, runs, sweep

    path = None if arguments.all else project.find(arguments.file)
    stopped = deploy.down(path, arguments, terminal)
    words = [] if arguments.stage else [str(run["project"]) for run in runs()] if path is None else [
        project.project_of(path)]
    for word in words:
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
