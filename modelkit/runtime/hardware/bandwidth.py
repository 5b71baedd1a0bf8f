"""What this machine's processors can read from memory a second: measured once, and kept.

No kernel tells it (`dmidecode` needs root), so all cores read blocks that are larger than their caches, for a twentieth
of a second. Counted is processor time: on a machine that computes something else meanwhile, a thread that had to wait
read nothing in that time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelkit.places import place

SECONDS = 0.05
_BLOCK = 16 << 20
_MOST = 1 << 30
_BUSY, _HOUR = 0.8, 3600.0


@dataclass(frozen=True)
class Measured:
    """Bytes a second of all cores together, and the share of the processor time that the measurement got."""

    bandwidth: float
    share: float


def bandwidth(cores: int, free: int | None, measure: Callable[[int, int | None], Measured | None] | None = None,
              now: Callable[[], float] = time.time) -> float | None:
    """What was kept for this machine, else measured now; None where it can't be. Never raises.

    What was measured on a busy machine is measured again an hour later, and the larger figure is taken.
    """
    path, key = place("state") / "hardware" / "bandwidth.json", _fingerprint(cores)
    kept = _kept(path, key)
    if kept is not None and (kept[0].share >= _BUSY or now() - kept[1] < _HOUR):
        return kept[0].bandwidth
    try:
        found = (measure or read)(cores, free)
    except Exception:  # a machine that has no memory or no threads left for it
        found = None
    if found is None:
        return kept[0].bandwidth if kept else None
    best = max(found.bandwidth, kept[0].bandwidth if kept else 0.0)
    _keep(path, key, Measured(best, found.share), now())
    return best


def read(cores: int, free: int | None) -> Measured | None:
    """A measurement: each core reads a block of its own, again and again."""
    import numpy as np

    block = min(max(_BLOCK, 4 * _cache()), max(_BLOCK, min(_MOST, (free or _MOST) // 8) // cores))
    together = threading.Barrier(cores)
    rates: list[float] = []
    shares: list[float] = []

    def one() -> None:
        data = np.ones(block, np.int8)
        together.wait(10)
        begun, used, count = time.perf_counter(), time.thread_time(), 0
        while time.perf_counter() - begun < SECONDS:
            data.max()
            count += 1
        spent = time.thread_time() - used
        if spent > 0:
            rates.append(count * block / spent)
            shares.append(spent / (time.perf_counter() - begun))

    threads = [threading.Thread(target=one, daemon=True) for _ in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return Measured(sum(rates), sum(shares) / len(shares)) if len(rates) == cores else None


def _cache(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Bytes of the last level's cache that one logical processor has of it."""
    for level in ("index3", "index2"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            size = (folder / level / "size").read_text().strip()
            sharing = int((folder / level / "shared_cpu_map").read_text().replace(",", ""), 16).bit_count()
            return int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}[size[-1]] // max(1, sharing)
    return 8 << 20


def _fingerprint(cores: int) -> str:
    """Tells a machine, and how many of its cores we may use, from another."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        model = next((line for line in lines if line.startswith("model name")), model)
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return hashlib.sha256(f"{platform.machine()} {model} {pages} {cores}".encode()).hexdigest()[:16]


def _kept(path: Path, key: str) -> tuple[Measured, float] | None:
    try:
        said = json.loads(path.read_text("utf-8"))[key]
        found = Measured(float(said["bytes_per_second"]), float(said["share"]))
        return (found, float(said["at"])) if found.bandwidth > 0 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, key: str, found: Measured, at: float) -> None:
    """Beside what other machines that share the folder keep; a folder that cannot be written is no fault."""
    with contextlib.suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        known: object = None
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(path.read_text("utf-8"))
        rows = known if isinstance(known, dict) else {}
        rows[key] = {"bytes_per_second": round(found.bandwidth), "share": round(found.share, 3), "at": round(at)}
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        temporary.replace(path)
