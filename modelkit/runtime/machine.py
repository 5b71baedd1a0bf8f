"""What is on this machine that stages can use: memory, NVIDIA GPUs, clients of other platforms. Changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 10.0


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver tells it. `memory` in bytes, in all."""

    name: str
    memory: int
    driver: str
    capability: str = ""  # `9.0`; "" of drivers that do not tell


@dataclass(frozen=True)
class Client:
    """A program that `modelkit up` starts for a platform. `version` is "" where it is not here or does not answer."""

    name: str
    platforms: tuple[str, ...]
    present: bool
    version: str = ""
    problem: str = ""  # why it cannot be used although it is here


Run = Callable[[Sequence[str]], "tuple[int, str]"]
"""Runs a command and returns its status and what it printed; 127 for one that is not here."""

_CLIENTS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    # name, platforms, what tells its version, what tells that it can work
    ("docker", ("compose",), ("docker", "version", "--format", "{{.Client.Version}}"), ("docker", "info")),
    ("docker compose", ("compose",), ("docker", "compose", "version", "--short"), ()),
    ("podman", ("quadlet",), ("podman", "--version"), ()),
    ("systemctl", ("quadlet", "systemd"), ("systemctl", "--version"), ()),
    ("kubectl", ("kubernetes", "kserve", "llm-d"), ("kubectl", "version", "--client"), ()),
    ("helm", ("production-stack",), ("helm", "version", "--short"), ()),
    ("sky", ("skypilot",), ("sky", "--version"), ()),
    ("ray", ("ray",), ("ray", "--version"), ()),
)

_GPU_FIELDS = ("name", "memory.total", "driver_version", "compute_cap")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)+)|systemd (\d+)")


def run(words: Sequence[str]) -> tuple[int, str]:
    """A command to its end, or to the limit of some seconds."""
    program = shutil.which(words[0])
    if program is None:
        return 127, ""
    try:
        done = subprocess.run([program, *words[1:]], capture_output=True, text=True, errors="replace", check=False,
                              stdin=subprocess.DEVNULL, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        return 124, f"it did not answer within {_SECONDS:.0f} s"
    except OSError as error:
        return 126, str(error.strerror or error)
    return done.returncode, done.stdout + done.stderr


def memory(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that our processes may have: the machine's, or less where a control group says so; None where neither is
    known."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    inside = ""
    with contextlib.suppress(OSError):  # `0::/user.slice/…` of cgroup v2; a container sees itself as the root
        inside = next((line[3:] for line in own.read_text().splitlines() if line.startswith("0::")), "")
    folder = groups / inside.strip("/")
    for group in (folder, *folder.parents):
        if not group.is_relative_to(groups):
            break
        with contextlib.suppress(OSError, ValueError):
            found.append(int((group / "memory.max").read_text()))  # `max` is no number
    with contextlib.suppress(OSError, ValueError):
        found.append(int((groups / "memory" / "memory.limit_in_bytes").read_text()))  # cgroup v1
    return min(found, default=None)


def gpus(run: Run = run) -> tuple[Gpu, ...] | str:
    """NVIDIA's GPUs; empty where there is no driver, and in words why a driver that is here does not answer."""
    query = ("nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits")
    code, said = run(query)
    if code == 127:
        return ()
    if code:
        return (said.strip().splitlines() or [f"nvidia-smi ended with status {code}"])[0]
    found = []
    for line in said.strip().splitlines():
        name, memory, driver, capability, *_ = [*(field.strip() for field in line.split(",")), "", "", ""]
        if memory.isdecimal():
            found.append(Gpu(name, int(memory) << 20, driver, capability))
    return tuple(found)


def clients(run: Run = run) -> tuple[Client, ...]:
    """Every client that a platform of ours needs, here or not."""
    return tuple(_client(name, platforms, version, works, run) for name, platforms, version, works in _CLIENTS)


def _client(name: str, platforms: tuple[str, ...], version: tuple[str, ...], works: tuple[str, ...],
            run: Run) -> Client:
    code, said = run(version)
    if code:
        plugin = len(name.split()) > 1 or code == 127
        return Client(name, platforms, present=not plugin, problem="" if plugin else _first(said))
    told = _VERSION.search(said)
    problem = ""
    if works:
        code, said = run(works)
        problem = _first(said) if code else ""
    return Client(name, platforms, True, (told[1] or told[2]) if told else "", problem)


def _first(said: str) -> str:
    """The line that says what is wrong: the last one of what such programs print."""
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it does not answer")
