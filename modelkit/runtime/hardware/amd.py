"""AMD's GPUs, as `amd-smi` tells them (ROCm 6.2 and later), else `rocm-smi`, else the kernel's own files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelkit.planning.fit.hardware import Device
from modelkit.planning.fit.profiles import card
from modelkit.planning.fit.profiles import device as of_table
from modelkit.runtime.asking import Run, document, run
from modelkit.runtime.hardware.looked import Looked
from modelkit.runtime.hardware.numbers import BANDWIDTH, MEMORY, number, whole

_STATIC = ("amd-smi", "static", "--asic", "--vram", "--driver", "--json")
_METRIC = ("amd-smi", "metric", "--mem-usage", "--json")
_ROCM = ("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json")
_PIDS = ("rocm-smi", "--showpids", "--json")

_LEAST = 2 << 30
"""Bytes below which it is the display part of a processor: its memory is the machine's, and engines leave it alone."""


def present() -> bool:
    """Whether there is any sign of AMD's driver for computing."""
    return Path("/dev/kfd").exists() or any(shutil.which(name) for name in ("amd-smi", "rocm-smi"))


def look(ask: Run = run, environment: Mapping[str, str] = os.environ,
         kernel: Path = Path("/sys/class/drm")) -> Looked:
    """What the driver's programs say, within seconds. Never raises."""
    code, said = ask(_STATIC)
    rows = _rows(said) if code == 0 else []
    if rows:
        free = [_part(row, "mem_usage") for row in _rows(ask(_METRIC)[1])]
        found = [_device(str(_part(row, "asic").get("market_name") or ""), _mib(_part(row, "vram").get("size")),
                         _mib(free[at].get("free_vram")) if len(free) == len(rows) else None,
                         number(_part(row, "vram").get("max_bandwidth"), *(one / 1e9 for one in BANDWIDTH)))
                 for at, row in enumerate(rows)]
        return Looked(_linked(_visible(found, environment)), str(_part(rows[0], "driver").get("version") or ""))
    if code == 124:
        return Looked(problem=f"amd-smi: {said}")
    code, said = ask(_ROCM)
    if code == 127:
        return Looked(_linked(_visible(_of_kernel(kernel), environment)))
    cards = document(said)
    if code or not isinstance(cards, dict):
        return Looked(problem=(said.strip().splitlines() or [f"rocm-smi ended with status {code}"])[-1][:200])
    found = [_of_rocm(row) for name, row in sorted(cards.items(), key=lambda one: _last(one[0]))
             if name.startswith("card") and isinstance(row, dict)]
    return Looked(_linked(_visible(found, environment)))


def processes(ask: Run = run) -> tuple[tuple[int, int | None], ...] | None:
    """Who computes on a GPU, each with its bytes; None where nobody tells. Its form is that of ROCm 6's `rocm-smi`."""
    code, said = ask(_PIDS)
    answer = document(said)
    if code or not isinstance(answer, dict) or not isinstance(system := answer.get("system", {}), dict):
        return None
    found = []
    for name, row in system.items():
        if (pid := re.fullmatch(r"PID(\d+)", str(name))) is not None:
            words = [word.strip() for word in str(row).split(",")]  # name, GPUs, bytes, DMA, share of the processor
            found.append((int(pid[1]), whole(words[-3], 0, MEMORY[1]) if len(words) >= 5 else None))
    return tuple(found)


def _rows(said: str) -> list[dict[str, Any]]:
    """GPUs of amd-smi's document: a list, since ROCm 7 below `gpu_data`."""
    answer = document(said)
    if isinstance(answer, dict):
        answer = answer.get("gpu_data", [answer])
    return [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []


def _part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def _of_kernel(folder: Path) -> list[Device | None]:
    """GPUs by the files of Linux' amdgpu driver (docs.kernel.org/gpu/amdgpu), which tell memory, and of servers' cards
    the name, too: for containers without ROCm's programs."""
    found = []
    cards = [one for one in folder.glob("card*") if one.name[4:].isdecimal()]  # beside them are their connectors
    for card0 in sorted(cards, key=lambda one: _last(one.name)):
        said = {}
        for name in ("vendor", "product_name", "mem_info_vram_total", "mem_info_vram_used"):
            with contextlib.suppress(OSError):
                said[name] = (card0 / "device" / name).read_text("utf-8", "replace").strip()
        if said.get("vendor") == "0x1002":
            total = whole(said.get("mem_info_vram_total"), *MEMORY)
            used = whole(said.get("mem_info_vram_used"), 0, total or 0)
            free = None if total is None or used is None else total - used
            found.append(_device(said.get("product_name", ""), total, free))
    return found


def _of_rocm(row: Mapping[str, Any]) -> Device | None:
    told = {str(name).lower(): value for name, value in row.items()}
    total = whole(told.get("vram total memory (b)"), *MEMORY)
    used = whole(told.get("vram total used memory (b)"), 0, total or 0)
    names = (str(told.get(key) or "") for key in ("card series", "device name", "card model"))
    name = next((one for one in names if one and not one.startswith("0x") and one != "N/A"), "")
    return _device(name, total, None if total is None or used is None else total - used)


def _device(name: str, total: int | None, free: int | None, bandwidth: float | None = None) -> Device | None:
    """A GPU; the bandwidth of GB/s that the driver tells is taken where it can be: some drivers say 2^64 - 1
    (ROCm/rocm-systems#5036)."""
    if total is None or total < _LEAST:
        return None
    inside = re.search(r"\[([^]/]+)\]", name)  # `Navi 31 [Radeon RX 7900 XT]`
    known = card(inside[1] if inside else name, total)
    known = known if known is not None and known.kind == "rocm" else None
    plain = Device(name[:100] or "AMD GPU", "rocm", total)
    base = replace(of_table(known), name=plain.name) if known else plain
    if bandwidth is not None and (known is None or 0.5 <= bandwidth / known.bandwidth <= 2):
        base = replace(base, bandwidth=bandwidth * 1e9)
    return replace(base, memory=total, free=None if free is None or free > total else free)


def _linked(gpus: list[Device]) -> tuple[Device, ...]:
    """With what joins them: the table's, since the drivers' topology is told in a form of its own by each version."""
    found = []
    for gpu in gpus:
        known = card(gpu.name, gpu.memory)
        link, moves = known.neighbours() if known and len(gpus) > 1 else ("none", None)
        found.append(replace(gpu, link=link, link_bandwidth=moves))
    return tuple(found)


def _visible(gpus: list[Device | None], environment: Mapping[str, str]) -> list[Device]:
    """Those that HIP shows to a process: first ROCR's choice, then HIP's of what that left. Only numbers are known."""
    left = list(gpus)
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        if (said := environment.get(name)) is not None:
            left = [left[at] for at in _numbers(said, len(left))]
    return [gpu for gpu in left if gpu is not None]


def _numbers(said: str, count: int) -> Iterator[int]:
    for word in said.split(","):
        if not word.strip().isdecimal() or int(word) >= count:
            return
        yield int(word)


def _last(name: str) -> int:
    found = re.search(r"(\d{1,6})$", name)
    return int(found[1]) if found else 0


def _mib(said: Any) -> int | None:
    found = whole(said, 0, MEMORY[1] >> 20)
    return None if found is None else found << 20
