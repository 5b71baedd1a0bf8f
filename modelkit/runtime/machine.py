"""What is on this machine that stages can use: memory, clients of other platforms. Changes nothing."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from modelkit.runtime.asking import Run, run


@dataclass(frozen=True)
class Client:
    """A program that `modelkit up` starts for a platform. `version` is "" where it is not here or does not answer."""

    name: str
    platforms: tuple[str, ...]
    present: bool
    version: str = ""
    problem: str = ""  # why it cannot be used although it is here


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

_THREADS = 7  # of a dev engine, besides those that compute
_STACK = 2 << 20  # bytes of a thread's stack where `ulimit -s` is unlimited (glibc, x86-64)

_VERSION = re.compile(r"v?(\d+(?:\.\d+)+)|systemd (\d+)")


def memory(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that a process of ours may have: the machine's, or less where a control group or `ulimit` says so; None
    where none of them is known."""
    found = [*(group.limit for group in control_groups(groups, own)), *_limits()]
    with contextlib.suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def free_memory(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that another process of ours could have now: what is left of the machine's and of our control groups', and
    no more than `ulimit` allows one process."""
    import psutil

    found = [int(psutil.virtual_memory().available), *_limits()]
    found += [group.limit - group.used for group in control_groups(groups, own) if group.used is not None]
    return max(0, min(found))


def _limits() -> list[int]:
    """What `ulimit -v` and `-d` allow one process: engines are started with the same. Both count the stacks of threads
    in full, as `ulimit -s` says, though next to nothing of them is ever used."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        stack = resource.getrlimit(resource.RLIMIT_STACK)[0]
        stacks = (_THREADS + (os.cpu_count() or 1)) * (_STACK if stack == resource.RLIM_INFINITY else stack)
        found = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        return [max(0, limit - stacks) for limit in found if limit != resource.RLIM_INFINITY]
    return []


@dataclass(frozen=True)
class Group:
    """A control group that we are in: its limit of memory, and how much of that is used for good. Bytes."""

    limit: int
    used: int | None


def control_groups(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[Group]:
    """Every group above us that says something of memory, of cgroup v2 and v1; a container sees its own as the root.

    Pages of files that were read count as used there, and are given back when memory is needed: left out here.
    """
    found = []
    for root, inside, limit, used in _roots(groups, own):
        folder = root / inside.strip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(root):
                break
            most = _figure(group / limit)
            if most is not None:
                held, files = _figure(group / used), _files(group / "memory.stat")
                found.append(Group(most, None if held is None else max(0, held - files)))
    return found


def _roots(groups: Path, own: Path) -> list[tuple[Path, str, str, str]]:
    """Where groups are, which one is ours, and what its files are called."""
    lines = []
    with contextlib.suppress(OSError):
        lines = own.read_text("utf-8", "replace").splitlines()
    second = next((line[3:] for line in lines if line.startswith("0::")), "")
    first = next((line.split(":", 2)[2] for line in lines if line.count(":") > 1
                  and "memory" in line.split(":", 2)[1].split(",")), "")
    return [(groups, second, "memory.max", "memory.current"),
            (groups / "memory", first, "memory.limit_in_bytes", "memory.usage_in_bytes")]


def _figure(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # `max` is no number
        return int(path.read_text())
    return None


def _files(stat: Path) -> int:
    """Bytes of files' pages that a group holds: its own and its children's."""
    try:
        said = dict(line.split(maxsplit=1) for line in stat.read_text().splitlines() if " " in line)
        kinds = [f"{kind}_file" for kind in ("inactive", "active")]
        return sum(int(said.get(f"total_{kind}", said.get(kind, 0))) for kind in kinds)
    except (OSError, ValueError):
        return 0


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
