"""A Ray of one machine for tests: on loopback, two CPUs, its own folders, and nothing left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from modelkit.runtime.environments import EngineEnvironment
from tests.live.cli import free_port

LOOPBACK = "127.0.0.2"
"""Ray takes 127.0.0.1 for "this machine" and listens on its outer address instead."""

_MARK = "MODELKIT_TEST_RAY"


@dataclass
class Ray:
    """One head node. `env` is what its commands run with; every process of it has `mark` in its environment."""

    folder: Path
    env: dict[str, str]
    mark: str

    def run(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(words, env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, check=False)

    def processes(self) -> list[psutil.Process]:
        """Everything that was started for it, whoever its parent is now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def until_gone(self, seconds: float, *, but: str = "") -> list[psutil.Process]:
        """What is still there after that time; processes whose command line has `but` in it do not count."""
        deadline = time.monotonic() + seconds
        while True:
            left = [one for one in self.processes() if not (but and but in _command(one))]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.5)

    def logs(self) -> str:
        """The last lines of everything that Serve's replicas wrote."""
        files = sorted((self.folder / "r").glob("session_2*/logs/serve/*")) \
            + sorted((self.folder / "r").glob("session_2*/logs/worker-*.err"))
        return "\n".join(f"== {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


@contextlib.contextmanager
def running(environment: EngineEnvironment) -> Iterator[Ray]:
    """A Ray that runs, and is ended with everything that it started, however the tests go."""
    folder = Path(tempfile.mkdtemp(prefix="mr", dir="/tmp"))  # short: its sockets' paths have 100 characters
    dashboard = free_port()
    mark = folder.name
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "TMPDIR")}
    env = kept | {
        "PATH": f"{environment.path}/bin:{os.environ['PATH']}", "HOME": str(folder), _MARK: mark,
        "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1",
        "RAY_DASHBOARD_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    ray = Ray(folder, env, mark)
    ports = {name: str(free_port()) for name in ("port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port",
                                                 "metrics-export-port", "ray-client-server-port")}
    try:
        done = ray.run("ray", "start", "--head", "--node-ip-address", LOOPBACK, "--num-cpus", "2",
                       "--object-store-memory", "100000000", "--dashboard-host", "127.0.0.1",
                       "--dashboard-port", str(dashboard), "--temp-dir", str(folder / "r"), "--disable-usage-stats",
                       *(word for name, port in ports.items() for word in (f"--{name}", port)))
        assert done.returncode == 0, done.stdout + done.stderr
        yield ray
    finally:
        for process in ray.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        assert ray.until_gone(15) == []
        shutil.rmtree(folder, ignore_errors=True)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
