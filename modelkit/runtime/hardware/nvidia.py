"""NVIDIA's GPUs, as NVML tells them, else `nvidia-smi`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelkit.planning.fit.cards import PCIE, Card
from modelkit.planning.fit.hardware import Device
from modelkit.planning.fit.profiles import card
from modelkit.planning.fit.profiles import device as of_table
from modelkit.runtime import machine
from modelkit.runtime.asking import Run, document, run
from modelkit.runtime.hardware.looked import Looked
from modelkit.runtime.hardware.numbers import BANDWIDTH, MEMORY, whole

CHILD = (sys.executable, "-I", str(Path(__file__).with_name("nvml_child.py")))

_SIGNS = ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/dxg")

_LINKS = {1: 20e9, 2: 25e9, 3: 25e9, 4: 25e9, 5: 50e9}
"""Bytes a second of one NVLink in one direction, by its version (A100: 12 links, 300 GB/s; H100: 18, 450; B200: 18,
900), for drivers that do not tell it."""

_RATES = {70: 1024, 75: 1024, 80: 2048, 86: 1024, 89: 1024, 90: 4096, 100: 8192, 103: 8192, 120: 1024}
"""Operations of one multiprocessor in one clock, 16 bits with float32 sums, by compute capability; a GeForce does half.
108 x 2048 x 1.41 GHz is the A100's 312 TFLOP/s, 132 x 4096 x 1.83 GHz the H100's 989."""

_CLOCK = 0.8
"""Of the highest clock that the driver names, what data sheets count with, at the least (4090: 2520 of 3105 MHz)."""


def present() -> bool:
    """Whether there is any sign of NVIDIA's driver: asking costs nothing where there is none."""
    import shutil

    return shutil.which("nvidia-smi") is not None or any(Path(sign).exists() for sign in _SIGNS)


def look(ask: Run = run, environment: Mapping[str, str] = os.environ) -> Looked:
    """What the driver says, within seconds. Never raises."""
    code, said = ask(CHILD)
    answer = document(said)
    answer = answer if isinstance(answer, dict) else {}
    if code == 0 and isinstance(answer.get("devices"), list):
        return _of_nvml(answer, environment)
    if code == 3:  # no library here
        return _of_smi(ask, environment)
    last = (said.strip().splitlines() or [""])[-1]
    problem = answer.get("problem") if code == 4 else f"NVIDIA's driver: {last}" if last else ""
    return Looked(problem=str(problem or f"NVIDIA's library ended with status {code}")[:200])


def _of_nvml(answer: Mapping[str, Any], environment: Mapping[str, str]) -> Looked:
    rows = [row for row in answer["devices"] if isinstance(row, dict)]
    problem = next((str(row["problem"])[:200] for row in rows if row.get("problem")), "")
    units: list[tuple[str, str, Device]] = []  # number, UUID, GPU
    processes: dict[int, int | None] | None = {}
    for row in rows:
        parts = row.get("mig")
        for part in [one for one in parts if isinstance(one, dict)] if isinstance(parts, list) else [row]:
            processes = _merged(processes, part.get("processes"))
            slice_of = row if part is not row else None
            gpu = _device(part, slice_of)
            if gpu is None and not row.get("problem"):
                problem = problem or f"{str(row.get('name') or 'a GPU')[:100]} does not tell its memory"
            elif gpu is not None:
                number = str(row.get("index")) if slice_of is None else ""
                units.append((number, str(part.get("uuid") or ""), gpu))
    chosen = _visible(units, environment)
    return Looked(_linked(chosen, rows), str(answer.get("driver") or ""), problem,
                  None if processes is None else tuple(processes.items()))


def _device(said: Mapping[str, Any], whole_gpu: Mapping[str, Any] | None = None) -> Device | None:
    """One GPU, or a slice of one: its share of the bandwidth is that of its memory, of the arithmetic that of its
    multiprocessors."""
    gpu = whole_gpu or said
    name = str(gpu.get("name") or "NVIDIA GPU")[:100]
    total, all_of = whole(said.get("total"), *MEMORY), whole(gpu.get("total"), *MEMORY)
    if total is None and (known := card(name)) is not None and known.shared:
        return _of_machine(said, name, known)
    if total is None:
        return None
    known = card(name, all_of) if all_of else None
    reserved = whole(said.get("reserved"), 0, total) or 0
    memory = total - reserved
    if known is not None and known.seen and whole_gpu is None:
        memory = min(memory, known.memory)
    capability = _capability(gpu.get("capability"), known)
    flops, fp8 = (known.bf16 * 1e12, known.fp8 * 1e12 or None) if known else _computed(gpu, name, capability)
    bandwidth = _bandwidth(gpu, known)
    share = part = 1.0
    if whole_gpu is not None:
        name, share = f"{name} MIG {_spelled(total)}", min(1.0, total / (all_of or total))
        units = _multiprocessors(gpu, capability)
        mine = whole(said.get("multiprocessors"), 1, 1000)
        part = min(1.0, mine / units) if mine and units else share
    free = whole(said.get("free"), 0, total)
    return Device(name=name, kind="cuda", memory=memory, free=None if free is None else min(free, memory),
                  bandwidth=bandwidth and bandwidth * share, flops=flops and flops * part, flops_fp8=fp8 and fp8 * part,
                  capability=capability)


def _of_machine(said: Mapping[str, Any], name: str, known: Card) -> Device | None:
    """A GPU whose memory is the machine's: NVML tells none of it (DGX Spark: `[N/A]`)."""
    memory, free = machine.memory(), machine.free_memory()
    return None if memory is None else replace(
        of_table(known), name=name, memory=memory, free=None if free is None else min(free, memory),
        capability=_capability(said.get("capability"), known), link="unified")


def _bandwidth(gpu: Mapping[str, Any], known: Card | None) -> float | None:
    """Two transfers a clock on every line of the bus; the table's where the driver does not tell, or tells nonsense."""
    clock, bus = whole(gpu.get("memory_clock"), 100, 50_000), whole(gpu.get("bus"), 32, 1 << 16)
    found = 2 * clock * 1e6 * bus / 8 if clock and bus else None
    if known is not None and (found is None or not 0.5 <= found / (known.bandwidth * 1e9) <= 2):
        return known.bandwidth * 1e9
    return found if found is None or BANDWIDTH[0] <= found <= BANDWIDTH[1] else None


def _capability(said: Any, known: Card | None) -> int | None:
    if isinstance(said, Sequence) and len(said) == 2 and all(isinstance(one, int) for one in said):
        return int(said[0]) * 10 + int(said[1])
    return known.capability if known else None


def _multiprocessors(gpu: Mapping[str, Any], capability: int | None) -> int | None:
    cores = whole(gpu.get("cores"), 64, 1 << 20)
    return cores // (64 if capability in (60, 70, 75, 80) else 128) if cores else None


def _computed(gpu: Mapping[str, Any], name: str, capability: int | None) -> tuple[float | None, float | None]:
    """Arithmetic of a GPU that the table lacks: multiprocessors times rate times clock."""
    units, clock = _multiprocessors(gpu, capability), whole(gpu.get("clock"), 100, 10_000)
    rate = _RATES.get(capability or 0)
    if not units or not clock or not rate:
        return None, None
    flops = units * rate * clock * 1e6 * _CLOCK / (2 if "geforce" in name.lower() else 1)
    return flops, flops * 2 if (capability or 0) >= 89 else None


def _visible(units: Sequence[tuple[str, str, Device]], environment: Mapping[str, str]) -> list[tuple[str, Device]]:
    """Those that CUDA shows to a process: all, or those of CUDA_VISIBLE_DEVICES up to the first word that names none;
    of slices only one. Numbers are taken in the bus's order; CUDA puts the fastest first, which is the same where all
    are alike."""
    said = environment.get("CUDA_VISIBLE_DEVICES")
    if said is None:
        chosen = [(number, gpu) for number, _, gpu in units]
        return chosen[:1] if units and not units[0][0] else [one for one in chosen if one[0]]
    found: list[tuple[str, Device]] = []
    for word in said.split(","):
        named = [(number, gpu) for number, uuid, gpu in units if word.strip() and (
            word.strip() == number or (word.strip()[:4] in ("GPU-", "MIG-") and uuid.startswith(word.strip())))]
        if len(named) != 1 or named[0] in found:
            break
        found += named
    return found[:1] if found and not found[0][0] else [one for one in found if one[0]]


def _linked(chosen: Sequence[tuple[str, Device]], rows: Sequence[Mapping[str, Any]]) -> tuple[Device, ...]:
    """The same GPUs with what joins them, where they are several."""
    if len(chosen) < 2:
        return tuple(gpu for _, gpu in chosen)
    by_number = {str(row.get("index")): row for row in rows}
    found = []
    for number, gpu in chosen:
        said = by_number.get(number, {})
        link = told if isinstance(told := said.get("nvlink"), dict) else {}
        pcie = [*(told if isinstance(told := said.get("pcie"), list) else ()), None, None]
        links = whole(link.get("links"), 1, 100)
        each = whole(link.get("speed"), 1000, 1_000_000)
        speed = each * 1e6 if each else _LINKS.get(whole(link.get("version"), 1, 10) or 0)
        if links and speed:
            found.append(replace(gpu, link="nvlink", link_bandwidth=links * speed))
        else:
            lanes = PCIE.get(whole(pcie[0], 1, 6) or 0)
            found.append(replace(gpu, link="pcie",
                                 link_bandwidth=lanes * (whole(pcie[1], 1, 16) or 16) / 16 if lanes else None))
    return tuple(found)


def _merged(known: dict[int, int | None] | None, said: Any) -> dict[int, int | None] | None:
    """Bytes by process, over several GPUs."""
    if known is None or not isinstance(said, list):
        return None
    for row in said:
        if isinstance(row, list) and len(row) == 2 and isinstance(row[0], int):
            held, before = whole(row[1], 0, MEMORY[1]), known.get(row[0], 0)
            known[row[0]] = None if held is None or before is None else held + before
    return known


def _spelled(size: int) -> str:
    return f"{size / 2**30:.0f} GiB"


_FIELDS = ("index", "uuid", "name", "memory.total", "memory.free", "driver_version", "compute_cap", "mig.mode.current")


def _of_smi(ask: Run, environment: Mapping[str, str]) -> Looked:
    """The same of `nvidia-smi`, which tells no bus and no links: bandwidth is the table's, links are not known."""
    fields: tuple[str, ...] = _FIELDS
    code, said = ask(("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"))
    if code and "not a valid field" in said:  # older drivers
        fields = _FIELDS[:6]
        code, said = ask(("nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"))
    if code == 127:
        there = Path(_SIGNS[1]).exists()  # a container that was given GPUs, and not what tells of them
        return Looked(problem="a GPU's device is here, and neither NVML nor nvidia-smi: containers get them with "
                      "NVIDIA_DRIVER_CAPABILITIES=compute,utility" if there else "")
    if code:
        return Looked(problem=(said.strip().splitlines() or [f"nvidia-smi ended with status {code}"])[0][:200])
    rows, problem, driver = [], "", ""
    for line in said.splitlines():
        row = dict(zip(fields, (word.strip() for word in line.split(",")), strict=False))
        driver = row.get("driver_version", driver)
        if row.get("mig.mode.current") == "Enabled":
            problem = "MIG is on, and nvidia-smi does not tell the slices: pip install nvidia-ml-py"
            continue
        words = row.get("compute_cap", "").split(".")
        rows.append({"index": row.get("index"), "uuid": row.get("uuid"), "name": row.get("name"),
                     "total": _mib(row.get("memory.total")), "free": _mib(row.get("memory.free")),
                     "capability": [int(word) for word in words] if all(w.isdecimal() for w in words) else None})
    found = _of_nvml({"devices": rows, "driver": driver}, environment)
    return replace(found, problem=problem or found.problem, processes=None)


def processes(ask: Run = run) -> tuple[tuple[int, int | None], ...] | None:
    """Who computes on a GPU, each with its bytes; None where the driver does not tell."""
    told = look(ask, {}).processes
    return _apps(ask) if told is None else told


def _apps(ask: Run) -> tuple[tuple[int, int | None], ...] | None:
    code, said = ask(("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"))
    if code:
        return None
    rows = [line.split(",") for line in said.splitlines() if "," in line]
    found = _merged({}, [[int(pid), _mib(held)] for pid, held, *_ in rows if pid.strip().isdecimal()])
    return None if found is None else tuple(found.items())


def _mib(said: str | None) -> int | None:
    found = whole(said, 0, MEMORY[1] >> 20)
    return None if found is None else found << 20
