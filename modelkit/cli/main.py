"""`modelkit`: words to calls. Exit codes are in `EXIT_CODES`; each command's module has one `run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from modelkit.cli.parser import build
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

EXIT_CODES = {
    0: "done, or checked and good",
    1: "checked, and the answer is no: errors in a Modelfile, a stale lock, damaged files, another model, parity "
       "differs, nothing is running",
    2: "the command line or the environment is at fault: a missing file, a busy port, an engine that died",
    8: "checked, and the answer is not known: too little was measured, or nobody was there to ask",
    130: "stopped by Ctrl-C",
    143: "stopped by SIGTERM",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing a user does ends in a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # stderr does so by itself
    arguments = build().parse_args(argv)
    terminal = Terminal(as_json=getattr(arguments, "json", False), quiet=getattr(arguments, "quiet", False))
    try:
        command = import_module(f"modelkit.cli.commands.{arguments.module}")
        return int(command.run(arguments, terminal))
    except Failure as failure:
        terminal.failure(failure)
        return failure.exit_code
    except KeyboardInterrupt:
        terminal.note("stopped")
        return 130
    except BrokenPipeError:
        # The reader went away (`modelkit logs | head`): not an error of ours. Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        terminal.failure(_of_the_system(error))
        return 2


def _of_the_system(error: OSError) -> Failure:
    what = error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    return Failure("system", f"{where}{what}".lower() if not where else f"{where}{what}",
                   hint="free some disk space" if error.errno == 28 else None)
