"""`modelkit check`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.terminal import Terminal

if TYPE_CHECKING:
    from modelkit.language.diagnostic import Diagnostic
    from modelkit.language.modelfile import Modelfile


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Say every diagnostic of every file; 1 when one is an error."""
    from modelkit.language.diagnostic import Severity
    from modelkit.language.excerpt import as_json, as_text, summary

    paths = [project.find(word) for word in arguments.files or [None]]
    diagnostics: list[Diagnostic] = []
    said, bad = [], 0
    for path in paths:
        checked = project.read(path)
        found = [*checked.diagnostics, *(_of_engines(checked.modelfile) if checked.modelfile is not None else ())]
        bad += checked.modelfile is None or any(one.severity is Severity.ERROR for one in found)
        diagnostics += found
        for diagnostic in found:
            said.append(as_json(diagnostic, checked.source))
            if not terminal.as_json:
                print(as_text(diagnostic, checked.source, colour=terminal.colour) + "\n", file=terminal.stderr)
    terminal.document({"schema": "modelkit.check/1", "files": [str(p) for p in paths], "diagnostics": said})
    count = f"{len(paths)} file{'s' * (len(paths) != 1)}"
    terminal.note(f"{count} checked: {summary(diagnostics)}" if diagnostics else f"{count} checked, nothing to say")
    return 1 if bad else 0


def _of_engines(modelfile: Modelfile) -> list[Diagnostic]:
    """What is known of the engines that the file's stages run on, at the versions that its lock names."""
    from modelkit.engines.checking import findings

    return findings(modelfile, _locked(Path(modelfile.path + ".lock")))


def _locked(path: Path) -> dict[str, str]:
    """The engines' versions by stage; none of a lock that cannot be read: whoever needs it says what is wrong."""
    import tomllib

    try:
        stages = tomllib.loads(path.read_text("utf-8"))["stage"]
        return {one["name"]: one["engine"].partition(" ")[0] for one in stages if "engine" in one}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
