"""Real supervisors over stub engines, in a home of their own, and a look at what they leave behind."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from modelkit.engines.launch import RUN, Launch
from modelkit.planning.plan import Origin, Plan, Setting
from modelkit.platforms.bundle import Bundle
from modelkit.runtime import client
from modelkit.runtime.client import Client, Project
from modelkit.runtime.edge import Access
from modelkit.runtime.identity import LINUX, MARKER
from modelkit.runtime.timing import Timing

STUB = str(Path(__file__).parents[2] / "stub_engine.py")
FAST = Timing(drain=5, probe_every=0.02, backoff_first=0.05, backoff_most=0.2, idle=5, watch=0.1, orphan_grace=0.3,
              last_words=0.3)
MODELFILE = "/nowhere/Modelfile"


def bundle(*vices: str, stage: str = "dev", start: float = 20, grace: float = 3, serve: dict[str, Any] | None = None,
           **launch: Any) -> Bundle:
    """A stub engine with these vices, as a stage of the test's Modelfile with these SERVE settings."""
    settings = tuple(Setting(name=f"serve.{name}", value=value, origin=Origin(kind="modelfile"))
                     for name, value in (serve or {}).items())
    plan = Plan(name="stub", modelfile=MODELFILE, stage=stage, platform="process", engine=None, engine_name="stub",
                reference="none", weights=None, context_length=512, max_concurrency=4, profile={}, settings=settings)
    words = (sys.executable, "-S", STUB, "--socket", f"{RUN}/engine.sock", *vices)
    return Bundle(plan, Launch(words, start_seconds=start, grace_seconds=grace, **launch))


def refused_by(flag: Path, what: Bundle) -> Bundle:
    """The same, but its engine does not start while there is a file `flag`."""
    python, _, *words = what.launch.argv
    run = (f"import os, runpy, sys; os.path.exists({str(flag)!r}) and sys.exit('no memory left')\n"
           "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')")
    return Bundle(what.plan, replace(what.launch, argv=(python, "-S", "-c", run, *words)))


class Home:
    """One MODELKIT_HOME with one project in it."""

    def __init__(self, path: Path, timing: Timing = FAST) -> None:
        self.path, self.timing = path, timing
        self.project = Project(client.project_id(MODELFILE))

    def ensure(self, *, port: int = 0, access: Access | None = None, **timing: float) -> Client:
        return client.ensure(self.project, host="127.0.0.1", port=port, access=access or Access(),
                             modelfiles=(MODELFILE,), timing=replace(self.timing, **timing))

    def up(self, what: Bundle | None = None, **options: Any) -> Client:
        """A supervisor that serves the bundle."""
        connected = self.ensure()
        connected.apply(what or bundle(), **options)
        return connected

    def connect(self) -> Client:
        connected = client.connect(self.project)
        assert connected is not None
        return connected

    def engines(self) -> list[int]:
        """The living processes that carry a run's marker and work in this home."""
        return [pid for pid, environment, cwd in _processes() if MARKER in environment and _below(cwd, self.path)]

    def leftovers(self) -> list[int]:
        """Everything of this home: engines and their descendants, supervisors, reapers."""
        return [pid for pid, environment, cwd in _processes()
                if environment.get("MODELKIT_HOME") == str(self.path)
                or (MARKER in environment and _below(cwd, self.path))]

    def said(self) -> str:
        """What the engines printed."""
        return "".join(path.read_text() for path in client.log_files(self.project))

    def clean(self) -> list[int]:
        """Kill what is left and say what it was: a test that passed leaves nothing."""
        with contextlib.suppress(Exception):
            if (connected := client.connect(self.project)) is not None:
                connected.down(0, fast=True)
        within(5, lambda: not self.leftovers())
        left = self.leftovers()
        for _ in range(50):
            for pid in self.leftovers():
                kill(pid)
            if not self.leftovers():
                break
            time.sleep(0.02)
        return left


def within(seconds: float, holds: Callable[[], Any]) -> bool:
    """Whether it comes true in time; the time only bounds a failing test."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.03)  # a look through /proc is not free
    return bool(holds())


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    assert pid > 0, "0 and less would be whole groups"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def aside(work: Callable[[], Any]) -> multiprocessing.process.BaseProcess:
    """Do it in another process."""
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    return process


def post(endpoint: str, *, timeout: float = 30, key: str | None = None, **request: Any) -> tuple[int, str]:
    """One chat completion through the edge: its status and its body, as far as it came."""
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=timeout)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    body = {"model": "stub", "messages": [{"role": "user", "content": "hello"}], **request}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        try:
            return response.status, response.read().decode()
        except http.client.IncompleteRead as cut:
            return response.status, cut.partial.decode()
    finally:
        connection.close()


def get(endpoint: str, path: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode()
    finally:
        connection.close()


def _processes() -> Iterator[tuple[int, dict[str, str], str]]:
    """Pid, environment and working directory of every living process but this one, as far as we may see them."""
    if not LINUX:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    yield process.pid, process.environ(), process.cwd()
        return
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
            environment = dict(word.partition("=")[::2] for word in words if "=" in word)
            yield int(entry.name), environment, str((entry / "cwd").readlink())


def _below(cwd: str, home: Path) -> bool:
    return cwd.startswith(f"{home}/")
