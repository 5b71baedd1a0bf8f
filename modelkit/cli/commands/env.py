"""`modelkit env`."""

from __future__ import annotations

import shlex
from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.terminal import Terminal

NO_KEY = "none-needed"
"""The OpenAI client wants some key; where none is asked for, this one says so."""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """What an app's environment needs, whatever stage serves."""
    variables = variables_of(arguments.file, terminal, arguments)
    terminal.document(variables)
    for name, value in variables.items():
        terminal.data(f"export {name}={shlex.quote(value)}")
    return 0


def variables_of(word: str | None, terminal: Terminal, arguments: Namespace | None = None) -> dict[str, str]:
    """OPENAI_BASE_URL and OPENAI_API_KEY of a project: of what runs, else of what the Modelfile says."""
    from modelkit.planning.resolve import address
    from modelkit.runtime.client import connect

    path = project.find(word)
    given = project.remembered(path) | project.given(arguments, path)
    modelfile = project.load(path, Terminal(quiet=True, stderr=terminal.stderr), given)
    client = connect(project.project_of(path))
    if client is None:
        host, port, api_key = address(modelfile, project.stage_of(Namespace(stage=None)), project.overrides(None))
    else:
        with client:
            serving = [g["stage"] for g in client.status()["generations"] if g["routed"]]
        stage = serving[0] if serving else project.stage_of(Namespace(stage=None))
        host, port, api_key = address(modelfile, stage, project.overrides(None))
        host, port = str(client.hello["host"]), int(client.hello["port"])
    return {"OPENAI_BASE_URL": project.base_url(host, port), "OPENAI_API_KEY": project.key_of(api_key) or NO_KEY}
