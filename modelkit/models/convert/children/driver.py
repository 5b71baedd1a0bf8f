"""Runs in a tool's Python: `python -I -u driver.py SCRIPT` answers one request with what SCRIPT's `main` returns.

Standard library only. A data file of modelkit: it is run by its path and never imported.

The request is the first line of stdin; that stdin ends means that modelkit is gone, and then so are we. Descriptor 1
is kept for answers, and what libraries print goes to stderr. Each answer is a line of JSON: `progress` any number of
times, then one of `result`, `failure` (a person can put it right; SCRIPT says it and leaves with SystemExit) or
`error` (anything else).
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import sys
import threading
import traceback
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    answers = os.dup(1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.readline() or b"null")
    if request is None:
        os._exit(1)
    _die_with_modelkit()

    refused = False

    def say(**answer: Any) -> None:
        nonlocal refused
        refused = refused or "failure" in answer
        line = json.dumps(answer).encode() + b"\n"
        while line:
            line = line[os.write(answers, line):]

    status = 1
    try:
        say(result=_script(sys.argv[1]).main(request, say))
        status = 0
    except BaseException as error:
        if not refused:
            traceback.print_exc()
            said = f"it ended with {error}" if isinstance(error, SystemExit) else str(error)
            say(error=f"{type(error).__name__}: {said}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # no library's threads keep it


def _script(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("modelkit_child", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _die_with_modelkit() -> None:
    def watch() -> None:
        while sys.stdin.buffer.read(1 << 16):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    if sys.platform == "linux":  # also when a library holds the interpreter's lock for minutes
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


main()
