"""A tiny process that outlives a supervisor which was killed, and ends what that one was running.

`python -m modelkit.runtime.reaper RUN_ID GRACE`: it reads lines from its supervisor, each a JSON object, and when the
pipe closes without a goodbye it ends the run. It also holds the project's lock, so that no new supervisor starts
while old engines still hold memory.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import IO

from modelkit.runtime.identity import Identity
from modelkit.runtime.sweep import end_run


class Reaper:
    """The supervisor's end: says which processes lead, and says goodbye."""

    def __init__(self, run_id: str, grace: float, lock_fd: int) -> None:
        self._argv = [sys.executable, "-P", "-m", "modelkit.runtime.reaper", run_id, str(grace)]
        self._lock_fd = lock_fd
        self._leaders: dict[Identity, None] = {}
        self._popen = self._spawn()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def knows(self, leader: Identity) -> None:
        """Tell it of an engine that was just started."""
        self._leaders[leader] = None
        self._tell({"leader": [leader.pid, leader.start]})

    def forgets(self, leader: Identity) -> None:
        self._leaders.pop(leader, None)
        self._tell({"gone": [leader.pid, leader.start]})

    def check(self) -> None:
        """Start another one if somebody killed it."""
        if self._popen.poll() is not None:
            self._popen = self._spawn()
            for leader in self._leaders:
                self._tell({"leader": [leader.pid, leader.start]})

    def dismiss(self) -> None:
        """Nothing is left to watch over; returns when it has gone."""
        self._tell({"done": True})
        _pipe(self._popen).close()
        try:
            self._popen.wait(5)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, bufsize=0, cwd="/",
                                start_new_session=True, pass_fds=(self._lock_fd,))

    def _tell(self, said: dict[str, object]) -> None:
        try:
            _pipe(self._popen).write(json.dumps(said).encode() + b"\n")
        except OSError:  # it is dead; `check` starts another and tells it everything
            return


def _pipe(popen: subprocess.Popen[bytes]) -> IO[bytes]:
    assert popen.stdin is not None
    return popen.stdin


def watch(lines: IO[bytes], run_id: str, grace: float) -> list[int]:
    """Follow a supervisor until its pipe closes; returns the pids that had to be ended."""
    leaders: dict[Identity, None] = {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:  # cut off in the middle: it was killed while it wrote
            break
        if "leader" in said:
            leaders[Identity(*said["leader"])] = None
        elif "gone" in said:
            leaders.pop(Identity(*said["gone"]), None)
        elif "done" in said:
            return []
    return end_run(run_id, leaders, grace)


def main() -> None:
    run_id, grace = sys.argv[1], float(sys.argv[2])
    os.umask(0o077)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its supervisor has; nothing else may end it early
    ended = watch(sys.stdin.buffer, run_id, grace)
    if ended:
        print(f"modelkit: the supervisor died; ended {len(ended)} of its processes: {ended}", file=sys.stderr)


if __name__ == "__main__":
    main()
