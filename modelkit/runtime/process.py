"""One child process that leads a session of its own, everything it starts, and what all of them print."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from modelkit.failure import Failure
from modelkit.runtime.identity import LINUX, Identity

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CHUNK = 65536
_KILLED = 15.0  # seconds that a killed process may take to go: a driver can hold it in the kernel

_prctl = ctypes.CDLL(None).prctl if LINUX else None


class Process:
    """A child, its output read from the first byte to the last.

    It leads a session and a process group, so a Ctrl-C in our terminal does not reach it, and when it ends the rest
    of its group is killed. On Linux it gets a SIGTERM should we die. `exited` carries its return code (minus the
    signal's number when one ended it), `silent` is set once nobody can write to its output any more.
    """

    def __init__(self, popen: subprocess.Popen[bytes], identity: Identity, output: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self.pid, self.identity = popen.pid, identity
        self.exited: asyncio.Future[int] = loop.create_future()
        self.silent: asyncio.Future[None] = loop.create_future()
        self._popen, self._output, self._loop = popen, output, loop
        self._told = False
        assert popen.stdout is not None
        self._pipe: IO[bytes] = popen.stdout
        os.set_blocking(self._pipe.fileno(), False)
        loop.add_reader(self._pipe.fileno(), self._read)
        self._watch()

    @classmethod
    def spawn(cls, argv: Sequence[str], env: Mapping[str, str], cwd: Path, output: Callable[[bytes], None]) -> Process:
        """Start `argv` (never a shell) with exactly this environment. `output` gets stdout and stderr in chunks.

        Call it on the main thread: the kernel sends the death signal when the *thread* that forked ends.
        """
        try:
            popen = subprocess.Popen(argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, start_new_session=True, umask=0o077,
                                     preexec_fn=_dies_with(os.getpid()), bufsize=0)  # noqa: PLW1509
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            raise Failure("engine-not-startable", f"cannot start `{argv[0]}`: {said}",
                          "modelkit doctor says which engines are installed") from None
        # A child that is dead already is still our zombie: the kernel knows its start, and nobody gets its pid.
        return cls(popen, Identity.of(popen.pid) or Identity(popen.pid, -1), output)

    async def stop(self, grace: float) -> bool:
        """SIGTERM to the leader, once however often this is called; SIGKILL to its group after `grace` seconds.

        A second SIGTERM can hit vLLM in the middle of its clean-up and strand its workers (vllm PR 50529).
        False when the kernel would not let go of it.
        """
        if not self.exited.done() and grace > 0:
            if not self._told:
                self._told = True
                self._signal(signal.SIGTERM)
            await asyncio.wait({self.exited}, timeout=grace)
        if not self.exited.done():
            self.kill()
            await asyncio.wait({self.exited}, timeout=_KILLED)
        return self.exited.done()

    def kill(self) -> None:
        """SIGKILL to the leader and its group; nothing to those who left it with `setsid`."""
        if not self.exited.done():  # not reaped yet, so the number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def last_words(self, patience: float) -> None:
        """Wait until the output has ended, or `patience` is over: a grandchild may hold the pipe for ever."""
        await asyncio.wait({self.silent}, timeout=patience)
        self._close()

    def _signal(self, number: signal.Signals) -> None:
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def _read(self) -> None:
        began = self._loop.time()
        try:
            chunk = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._close()
            return
        self._output(chunk)
        if len(chunk) == _CHUNK:
            # More is waiting. An engine that floods its output gets half of the loop's time, the edge the other half.
            self._loop.remove_reader(self._pipe.fileno())
            self._loop.call_later(self._loop.time() - began, self._resume)

    def _resume(self) -> None:
        if not self._pipe.closed:
            self._loop.add_reader(self._pipe.fileno(), self._read)

    def _close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()
        if not self.silent.done():
            self.silent.set_result(None)

    def _watch(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # no pidfd on this system, or a kernel without them
            handle = os.pidfd_open(self.pid)
            self._loop.add_reader(handle, self._ended, handle)
            return
        self._loop.run_in_executor(None, self._wait)

    def _ended(self, handle: int) -> None:
        self._loop.remove_reader(handle)
        os.close(handle)
        # While the leader is unreaped its number cannot be given to another group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._finish(self._popen.wait())

    def _wait(self) -> None:
        code = self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._finish, code)

    def _finish(self, code: int) -> None:
        if not self.exited.done():
            self.exited.set_result(code)


def become_subreaper() -> None:
    """From now on orphans among our descendants become our children, not init's (Linux)."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_adopted(own: set[int]) -> None:
    """Collect adopted children that have ended; those in `own` are collected by who started them."""
    if not LINUX:
        return
    with contextlib.suppress(ChildProcessError):
        for _ in range(1000):
            # Look before taking, so that nobody's return code is stolen. A known one in front ends the round.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)


def describe_exit(code: int) -> str:
    """How a process ended, in words: `exited with status 3`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _dies_with(parent: int) -> Callable[[], None]:
    """Run in the child between fork and exec: two system calls, nothing that could take a lock."""
    prctl, getppid, end = _prctl, os.getppid, os._exit

    def ask_for_death_signal() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if getppid() != parent:  # it died before we asked
            end(1)

    return ask_for_death_signal
