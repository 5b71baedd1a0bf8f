"""`modelkit parse --as ollama`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """One JSON line a file: its commands, or why Ollama rejects it. 1 when one is rejected."""
    from modelkit.language.ollama import OllamaError, commands
    from modelkit.language.source import Source

    rejected = 0
    for word in arguments.files:
        try:
            source = Source.read(Path(word))
        except OSError as error:
            raise Failure("unreadable", f"{word} cannot be read: {(error.strerror or str(error)).lower()}") from None
        try:
            terminal.line({"file": word, "commands": commands(source)})
        except OllamaError as error:
            rejected += 1
            terminal.line({"file": word, "error": str(error)})
    return 1 if rejected else 0
