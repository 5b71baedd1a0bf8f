"""Other programs' answers, within seconds whatever the program does: it may hang, crash, or never stop talking."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

Run = Callable[[Sequence[str]], "tuple[int, str]"]
"""Runs a command and returns its status and what it printed; 127 for one that is not here."""

SECONDS = 10.0
_MOST = 4 << 20  # characters that anybody here has to say


def run(words: Sequence[str]) -> tuple[int, str]:
    """A command to its end, or to the limit of some seconds (124)."""
    program = shutil.which(words[0])
    if program is None:
        return 127, ""
    until = time.monotonic() + SECONDS
    try:
        process = subprocess.Popen([program, *words[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
    except OSError as error:
        return 126, str(error.strerror or error)
    said: list[list[str]] = [[], []]
    readers = [threading.Thread(target=_read, args=(stream, into), daemon=True)
               for stream, into in zip((process.stdout, process.stderr), said, strict=True)]
    for reader in readers:
        reader.start()
    try:
        process.wait(until - time.monotonic())
        for reader in readers:  # a grandchild may hold the pipes open
            reader.join(min(1.0, max(0.0, until - time.monotonic())))
        return process.returncode, "".join(text for part in said for text in part)
    except subprocess.TimeoutExpired:
        return 124, f"it did not answer within {SECONDS:.0f} s"
    finally:
        if process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a process that waits for a driver cannot be killed
                process.wait(0.5)


def document(said: str) -> Any:
    """The JSON in what a program printed, lines of warnings before and behind it left out; None where there is none."""
    decoder = json.JSONDecoder()
    for at, sign in enumerate(said[:_MOST]):
        if sign in "{[" and (at == 0 or said[at - 1] == "\n"):
            with contextlib.suppress(ValueError, RecursionError):
                return decoder.raw_decode(said, at)[0]
    return None


def _read(stream: IO[str] | None, into: list[str]) -> None:
    """Up to a limit; who goes on writing then finds the pipe closed."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError), stream:
            into.append(stream.read(_MOST))
