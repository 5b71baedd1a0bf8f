"""`modelkit check`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.terminal import Terminal

if TYPE_CHECKING:
    from modelkit.language.diagnostic import Diagnostic


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Say every diagnostic of every file; 1 when one is an error."""
    from modelkit.language.excerpt import as_json, as_text, summary

    paths = [project.find(word) for word in arguments.files or [None]]
    diagnostics: list[Diagnostic] = []
    said, bad = [], 0
    for path in paths:
        checked = project.read(path)
        bad += checked.modelfile is None
        diagnostics += checked.diagnostics
        for diagnostic in checked.diagnostics:
            said.append(as_json(diagnostic, checked.source))
            if not terminal.as_json:
                print(as_text(diagnostic, checked.source, colour=terminal.colour) + "\n", file=terminal.stderr)
    terminal.document({"schema": "modelkit.check/1", "files": [str(p) for p in paths], "diagnostics": said})
    count = f"{len(paths)} file{'s' * (len(paths) != 1)}"
    terminal.note(f"{count} checked: {summary(diagnostics)}" if diagnostics else f"{count} checked, nothing to say")
    return 1 if bad else 0
