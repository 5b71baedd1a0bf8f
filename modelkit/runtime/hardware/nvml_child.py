"""What NVIDIA's driver knows, as one JSON document on stdout. A program of its own, so that a driver that hangs or
crashes takes nothing with it: `python -I nvml_child.py`. Imports nvidia-ml-py and the standard library only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Library = Any
"""The module `pynvml`, or one that answers as it does."""


def told(library: Library) -> dict[str, Any]:
    """All that is asked of the driver; None for each thing that it does not tell."""
    library.nvmlInit()
    try:
        count = library.nvmlDeviceGetCount()
        return {"driver": _text(_or_none(library.nvmlSystemGetDriverVersion)),
                "devices": [_device(library, index) for index in range(count)]}
    finally:
        _or_none(library.nvmlShutdown)


def _device(library: Library, index: int) -> dict[str, Any]:
    try:
        gpu = library.nvmlDeviceGetHandleByIndex(index)
    except Exception as error:  # one GPU that fell off the bus does not hide the others
        return {"index": index, "problem": str(error)}
    return {"index": index, "uuid": _text(_or_none(library.nvmlDeviceGetUUID, gpu)),
            "name": _text(_or_none(library.nvmlDeviceGetName, gpu)), **_memory(library, gpu),
            "memory_clock": _or_none(library.nvmlDeviceGetMaxClockInfo, gpu, library.NVML_CLOCK_MEM),
            "clock": _or_none(library.nvmlDeviceGetMaxClockInfo, gpu, library.NVML_CLOCK_SM),
            "bus": _or_none(library.nvmlDeviceGetMemoryBusWidth, gpu),
            "capability": _or_none(library.nvmlDeviceGetCudaComputeCapability, gpu),
            "cores": _or_none(library.nvmlDeviceGetNumGpuCores, gpu),
            "pcie": [_or_none(library.nvmlDeviceGetMaxPcieLinkGeneration, gpu),
                     _or_none(library.nvmlDeviceGetMaxPcieLinkWidth, gpu)],
            "nvlink": _nvlink(library, gpu), "mig": _mig(library, gpu),
            "processes": _processes(library, gpu)}


def _memory(library: Library, gpu: Any) -> dict[str, int | None]:
    """Bytes in all, what the driver keeps for itself (told by the second version of the call only), and free ones."""
    said = _or_none(library.nvmlDeviceGetMemoryInfo, gpu, getattr(library, "nvmlMemory_v2", None)) \
        or _or_none(library.nvmlDeviceGetMemoryInfo, gpu)
    return {"total": getattr(said, "total", None), "reserved": getattr(said, "reserved", None),
            "free": getattr(said, "free", None)}


def _nvlink(library: Library, gpu: Any) -> dict[str, Any]:
    """How many links are up, and what one of them moves: MB/s in one direction where the driver tells, its version."""
    up = [link for link in range(library.NVML_NVLINK_MAX_LINKS)
          if _or_none(library.nvmlDeviceGetNvLinkState, gpu, link) == library.NVML_FEATURE_ENABLED]
    speed = None
    if up:
        values = _or_none(library.nvmlDeviceGetFieldValues, gpu, [library.NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON])
        if values and not values[0].nvmlReturn:
            speed = int(values[0].value.uiVal)
    return {"links": len(up), "speed": speed,
            "version": _or_none(library.nvmlDeviceGetNvLinkVersion, gpu, up[0]) if up else None}


def _mig(library: Library, gpu: Any) -> list[dict[str, Any]] | None:
    """The slices of a GPU that is cut up; None of one that is whole."""
    mode = _or_none(library.nvmlDeviceGetMigMode, gpu)
    if not mode or mode[0] != library.NVML_DEVICE_MIG_ENABLE:
        return None
    found = []
    for number in range(_or_none(library.nvmlDeviceGetMaxMigDeviceCount, gpu) or 0):
        part = _or_none(library.nvmlDeviceGetMigDeviceHandleByIndex, gpu, number)
        if part is None:
            continue
        attributes = _or_none(library.nvmlDeviceGetAttributes_v2, part)
        found.append({"uuid": _text(_or_none(library.nvmlDeviceGetUUID, part)), **_memory(library, part),
                      "multiprocessors": getattr(attributes, "multiprocessorCount", None),
                      "processes": _processes(library, part)})
    return found


def _processes(library: Library, gpu: Any) -> list[list[int | None]] | None:
    """Processes that compute on it, each with its bytes."""
    said = _or_none(library.nvmlDeviceGetComputeRunningProcesses, gpu)
    return None if said is None else [[one.pid, one.usedGpuMemory] for one in said]


def _or_none(ask: Callable[..., Any], *words: Any) -> Any:
    """The answer, or None: drivers know different things of different GPUs, and each has its own error for it."""
    try:
        return ask(*words)
    except Exception:
        return None


def _text(said: Any) -> str | None:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said


def main() -> int:
    """0 with an answer, 3 where there is no library or no driver to ask, 4 with what the driver says is wrong."""
    try:
        import pynvml
    except ImportError:
        return 3
    try:
        answer = told(pynvml)
    except Exception as error:
        missing = getattr(pynvml, "NVMLError_LibraryNotFound", ())
        print(json.dumps({"problem": str(error)}))
        return 3 if missing and isinstance(error, missing) else 4
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
