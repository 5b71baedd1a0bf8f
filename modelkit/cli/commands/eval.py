"""`modelkit eval`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Score a model's answers."""
    raise Failure("not-yet", "`eval` is being written")
