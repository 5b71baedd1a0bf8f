"""Starts a supervisor and hears whether it could begin."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.runtime.project import Project
from modelkit.runtime.timing import Timing
from modelkit.runtime.wire import Message, decode, encode, failure_from_json

if TYPE_CHECKING:
    from modelkit.runtime.edge.access import Access

_OWN_LOG = 1024 * 1024


def launch(project: Project, *, host: str, port: int, access: Access, modelfiles: Sequence[str],
           timing: Timing) -> bool:
    """Start a supervisor that outlives us. False when another one was faster; Failure when it could not begin."""
    project.make()
    settings = {"modelfiles": list(modelfiles), "host": host, "port": port, "hosts": sorted(access.hosts),
                "key_hashes": [key.hex() for key in access.key_hashes], "timing": timing.as_json()}
    log = _open_log(project)
    try:
        # -P: a random.py in the directory of whoever runs this is not ours to import.
        child = subprocess.Popen([sys.executable, "-P", "-m", "modelkit.runtime.supervisor", project.id],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    finally:
        os.close(log)
    assert child.stdin is not None and child.stdout is not None
    with child.stdin, child.stdout:
        with contextlib.suppress(BrokenPipeError):  # it says why, or its log does
            child.stdin.write(encode(settings))
            child.stdin.flush()
        line = child.stdout.readline()
    child.wait()  # it has forked: the supervisor itself is nobody's child
    return _heard(project, line)


def last_words(project: Project, count: int = 20) -> tuple[str, ...]:
    """The end of the supervisor's own log."""
    try:
        return tuple(project.supervisor_log.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return ()


def _heard(project: Project, line: bytes) -> bool:
    if not line:
        raise Failure("supervisor-died", "the supervisor ended before it began", detail=last_words(project))
    answer: Message = decode(line)
    if answer["event"] == "failed":
        raise failure_from_json(answer["failure"])
    return bool(answer["event"] == "listening")


def _open_log(project: Project) -> int:
    path = project.supervisor_log
    try:
        if path.exists() and path.stat().st_size > _OWN_LOG:
            path.replace(path.with_suffix(".log.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure("run-directory", f"cannot write `{path}`: {error.strerror or error}",
                      "make it writable, or set MODELKIT_HOME to another place") from None
