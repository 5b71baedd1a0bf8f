"""A Mac's chip, as `sysctl` and `system_profiler` tell it."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from typing import Any

from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.machines import APPLE
from modelkit.planning.fit.profiles import mac
from modelkit.runtime.asking import Run, document, run
from modelkit.runtime.hardware.numbers import whole

_NAMES = ("machdep.cpu.brand_string", "hw.memsize", "hw.perflevel0.physicalcpu", "iogpu.wired_limit_mb")


def present() -> bool:
    return sys.platform == "darwin"


def look(ask: Run = run) -> Hardware | None:
    """The chip with its GPU; None on a Mac without one of Apple's, and where nobody answers. Never raises.

    What the GPU may have is what `iogpu.wired_limit_mb` grants, else the least that macOS does by itself.
    """
    _, said = ask(("sysctl", *_NAMES))  # a name that this macOS lacks is a status, beside the others' answers
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in said.splitlines())}
    chip = told.get(_NAMES[0], "").removeprefix("Apple ").strip().replace(" ", "-").lower()
    memory = whole(told.get(_NAMES[1]), 1 << 30, 1 << 42)
    rows = [row for row in APPLE if row.name.lower() == chip]
    if not rows or memory is None:
        return None
    cores = _gpu_cores(ask) if len(rows) > 1 else None
    fitting = [row for row in rows if row.gpu_cores == cores] or [row for row in rows if memory >> 30 in row.sizes]
    found = mac((fitting or rows)[0], memory >> 30)
    limit = whole(told.get(_NAMES[3]), 1, memory >> 20)
    cpus = whole(told.get(_NAMES[2]), 1, 1024) or found.cpus
    gpu = found.devices[0] if limit is None else replace(found.devices[0], memory=limit << 20)
    return replace(found, devices=(gpu,), cpus=cpus, ram=memory)


def _gpu_cores(ask: Run) -> int | None:
    answer: Any = document(ask(("system_profiler", "SPDisplaysDataType", "-json"))[1])
    rows = answer.get("SPDisplaysDataType") if isinstance(answer, dict) else None
    said = [str(row.get("sppci_cores", "")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return next((int(one) for one in said if re.fullmatch(r"\d{1,3}", one)), None)
