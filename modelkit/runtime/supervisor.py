"""One supervisor per project: the parent of its engines and the holder of its address.

`python -m modelkit.runtime.supervisor PROJECT`, started by `client.ensure`: it reads its settings as one JSON line from
stdin, answers with one JSON line on stdout (`listening`, `lock-held` or `failed`), and from then on talks over its
control socket only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys

from modelkit.failure import Failure
from modelkit.runtime.process import become_subreaper
from modelkit.runtime.project import Lock, Project
from modelkit.runtime.run import Run, say
from modelkit.runtime.settings import Settings
from modelkit.runtime.sweep import reconcile
from modelkit.runtime.wire import Message, encode, failure_as_json

_FILES = 16384


def _answer(message: Message) -> None:
    """The one line on stdout; after it, nothing of the starting command's is held any more."""
    with contextlib.suppress(OSError):  # it may have gone away
        os.write(1, encode(message))
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nothing, fd)
    os.close(nothing)


async def supervise(project: Project, settings: Settings) -> int:
    """The whole life; the exit status says whether it could begin."""
    lock = None
    try:
        project.make()
        lock = Lock.take(project, "up")
        if lock is None:
            _answer({"event": "lock-held"})
            return 0
        ended = reconcile(project, settings.timing.orphan_grace)
        if ended:
            say(f"ended what a dead run had left: {ended}")
        become_subreaper()
        run = Run(project, settings, lock)
        listening = await run.open()
        _answer(listening | {"ended": ended})
        await run.serve()
        return 0
    except Failure as failure:
        say(f"failed: {failure.message}")
        _answer({"event": "failed", "failure": failure_as_json(failure)})
        return 1
    finally:
        if lock is not None:
            lock.release()
            with contextlib.suppress(OSError):
                project.directory.rmdir()


def main() -> int:
    project, settings = Project(sys.argv[1]), Settings.from_json(json.loads(sys.stdin.buffer.readline()))
    if os.fork():  # nobody has to wait for us: whoever started us waits for this parent only
        os._exit(0)
    os.umask(0o077)
    _allow_many_files()
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it outlives the terminal it was started from
    return _runner().run(supervise(project, settings))


def _allow_many_files() -> None:
    """A client and its engine's connection are a file each; the usual 1024 would be few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _runner() -> asyncio.Runner:
    try:
        import uvloop
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


if __name__ == "__main__":
    sys.exit(main())
