"""`modelkit lsp`."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from importlib.util import find_spec

from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Serve one editor over stdin and stdout until it leaves; 0 when it said that it would."""
    if find_spec("pygls") is None:
        raise Failure("lsp-missing", "the language server needs pygls", hint="pip install 'modelkit-llm[lsp]'")
    if sys.stdin.isatty():
        terminal.note("waiting for an editor on stdin; editors start this command themselves (Ctrl-C ends it)")
    from modelkit.lsp.serving import serve

    # A thread of the server waits for stdin and cannot be told to stop; it has nothing that would have to be put away.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # stdout is the protocol's: nothing else may be printed there
    return serve(stdin, stdout)
