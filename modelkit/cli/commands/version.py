"""`modelkit version`."""

from __future__ import annotations

import platform
from argparse import Namespace

from modelkit import __version__
from modelkit.cli.terminal import Terminal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """The version, and with --json what it runs on."""
    terminal.data(f"modelkit {__version__}")
    terminal.document({"modelkit": __version__, "python": platform.python_version(), "system": platform.system(),
                       "machine": platform.machine()})
    return 0
