"""NVIDIA's GPUs as their driver tells them: answers as NVML 535 to 580 and `nvidia-smi` give them, and worse ones."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.runtime import asking, machine
from modelkit.runtime.hardware import nvidia, nvml_child
from modelkit.runtime.hardware.nvidia import look

MIB, GIB = 2**20, 2**30

RTX4090: dict[str, Any] = {
    "index": 0, "uuid": "GPU-5b1c1f0a-0000-0000-0000-00000000000a", "name": "NVIDIA GeForce RTX 4090",
    "total": 24564 * MIB, "reserved": 480 * MIB, "free": 23600 * MIB, "memory_clock": 10501, "clock": 3105, "bus": 384,
    "capability": [8, 9], "cores": 16384, "pcie": [4, 16], "nvlink": {"links": 0, "speed": None, "version": None},
    "mig": None, "processes": [[4242, 5 * GIB]]}
RTX3090 = RTX4090 | {
    "uuid": "GPU-3090a", "name": "NVIDIA GeForce RTX 3090", "total": 24576 * MIB, "reserved": 450 * MIB,
    "free": 23900 * MIB, "memory_clock": 9751, "clock": 2100, "capability": [8, 6], "cores": 10496, "processes": [],
    "nvlink": {"links": 4, "speed": 14062, "version": 3}}
H100: dict[str, Any] = RTX4090 | {
    "uuid": "GPU-h100", "name": "NVIDIA H100 80GB HBM3", "total": 81559 * MIB, "reserved": 551 * MIB,
    "free": 80994 * MIB, "memory_clock": 2619, "clock": 1980, "bus": 5120, "capability": [9, 0], "cores": 16896,
    "pcie": [5, 16], "nvlink": {"links": 18, "speed": 26562, "version": 4}, "processes": []}
SLICES = [{"uuid": "MIG-1c", "total": 40448 * MIB, "reserved": 0, "free": 40100 * MIB, "multiprocessors": 60,
           "processes": [[77, 2 * GIB]]},
          {"uuid": "MIG-2d", "total": 9984 * MIB, "reserved": 0, "free": 9900 * MIB, "multiprocessors": 16,
           "processes": [[77, GIB], [78, GIB]]}]


def driver(*devices: Mapping[str, Any], code: int = 0, said: str | None = None) -> Callable[[Sequence[str]],
                                                                                          tuple[int, str]]:
    """A machine whose driver's library says this; no other program is there."""
    answer = json.dumps({"driver": "570.86.15", "devices": devices}) if said is None else said
    return lambda words: (code, answer) if tuple(words) == nvidia.CHILD else (127, "")


def test_a_4090() -> None:
    found = look(driver(RTX4090), {})
    (gpu,) = found.devices
    assert (gpu.name, gpu.kind, gpu.capability, gpu.link) == ("NVIDIA GeForce RTX 4090", "cuda", 89, "none")
    assert gpu.memory == 24084 * MIB and gpu.free == 23600 * MIB  # less than nvidia-smi's 24564: the driver's own part
    assert gpu.bandwidth == pytest.approx(1008.1e9, rel=1e-4) and gpu.flops == pytest.approx(165.2e12)
    assert gpu.flops_fp8 == pytest.approx(330.3e12)
    assert found.driver == "570.86.15" and found.processes == ((4242, 5 * GIB),) and not found.problem


def test_two_3090_with_a_bridge_and_without() -> None:
    pair = look(driver(RTX3090, RTX3090 | {"index": 1, "uuid": "GPU-3090b"}), {}).devices
    assert [(gpu.link, gpu.link_bandwidth) for gpu in pair] == [("nvlink", pytest.approx(56.25e9, rel=1e-3))] * 2
    apart = {"nvlink": {"links": 0}, "pcie": [4, 8]}
    pair = look(driver(RTX3090 | apart, RTX3090 | apart | {"index": 1}), {}).devices
    assert [(gpu.link, gpu.link_bandwidth) for gpu in pair] == [("pcie", pytest.approx(15.75e9))] * 2
    silent = {"nvlink": {"links": 4, "speed": None, "version": 3}}  # a driver that does not tell how fast
    pair = look(driver(RTX3090 | silent, RTX3090 | silent | {"index": 1}), {}).devices
    assert pair[0].link_bandwidth == 100e9


def test_an_h100_cut_into_slices() -> None:
    found = look(driver(H100 | {"mig": SLICES, "processes": None}), {})
    (gpu,) = found.devices  # CUDA shows a process one slice, the first
    assert gpu.name == "NVIDIA H100 80GB HBM3 MIG 40 GiB" and gpu.memory == 40448 * MIB and gpu.free == 40100 * MIB
    assert gpu.bandwidth == pytest.approx(2 * 2619e6 * 640 * 40448 / 81559)
    assert gpu.flops == pytest.approx(989e12 * 60 / 132) and gpu.capability == 90
    assert found.processes == ((77, 3 * GIB), (78, GIB))
    (other,) = look(driver(H100 | {"mig": SLICES}), {"CUDA_VISIBLE_DEVICES": "MIG-2d"}).devices
    assert other.memory == 9984 * MIB
    assert look(driver(H100 | {"mig": []}), {}).devices == ()  # MIG is on, and nobody made a slice


@pytest.mark.parametrize(("said", "numbers"), [
    (None, [0, 1, 2]), ("", []), ("1", [1]), ("2,0", [2, 0]), ("0,-1,1", [0]), ("7", []), ("0,0", [0]),
    ("GPU-3090b", [1]), ("GPU-3090", []), ("GPU-h", [2]), ("NoDevFiles", []), (" 1 , 2 ", [1, 2]),
])
def test_what_cuda_shows(said: str | None, numbers: list[int]) -> None:
    here = [RTX3090, RTX3090 | {"index": 1, "uuid": "GPU-3090b"}, H100 | {"index": 2}]
    environment = {} if said is None else {"CUDA_VISIBLE_DEVICES": said}
    assert [gpu.name for gpu in look(driver(*here), environment).devices] == [here[at]["name"] for at in numbers]


@pytest.mark.parametrize(("changed", "memory", "bandwidth", "flops"), [
    ({"memory_clock": None}, 24084, 1008e9, 165.2e12),  # the table's
    ({"memory_clock": 2**32 - 1, "bus": 2**32 - 1}, 24084, 1008e9, 165.2e12),
    ({"memory_clock": 405}, 24084, 1008e9, 165.2e12),  # an idle clock
    ({"reserved": None}, 24084, 1008.1e9, 165.2e12),  # what others' CUDA was told
    ({"name": None}, 24084, 1008.1e9, 128 * 1024 * 3105e6 * 0.8),
    ({"name": "NVIDIA GeForce RTX 4090 Laptop GPU", "total": 16376 * MIB, "memory_clock": 9001, "bus": 256,
      "cores": 9728}, 15896, 576.1e9, 76 * 512 * 3105e6 * 0.8),
    ({"name": "NVIDIA GeForce RTX 4090", "total": 49140 * MIB}, 48660, 1008.1e9, 128 * 512 * 3105e6 * 0.8),
    ({"free": 2**63}, 24084, 1008.1e9, 165.2e12),
])
def test_what_the_driver_does_not_tell(changed: dict[str, Any], memory: int, bandwidth: float, flops: float) -> None:
    (gpu,) = look(driver(RTX4090 | changed), {}).devices
    assert gpu.memory / MIB == pytest.approx(memory, abs=1) and gpu.flops == pytest.approx(flops)
    assert gpu.bandwidth == pytest.approx(bandwidth, rel=1e-3) and (gpu.free or 0) <= gpu.memory


@pytest.mark.parametrize(("code", "said", "problem"), [
    (4, json.dumps({"problem": "Driver/library version mismatch"}), "Driver/library version mismatch"),
    (124, "it did not answer within 10 s", "it did not answer within 10 s"), (-11, "", "ended with status -11"),
    (0, "no JSON", "no JSON"), (0, '{"devices": 3}', '{"devices": 3}'), (1, "[]\nTraceback: oh", "Traceback: oh"),
])
def test_a_driver_that_fails_is_a_sentence(code: int, said: str, problem: str) -> None:
    found = look(driver(code=code, said=said), {})
    assert found.devices == () and problem in found.problem


def test_one_gpu_that_fell_off_the_bus_does_not_hide_the_others() -> None:
    found = look(driver({"index": 0, "problem": "GPU is lost"}, RTX3090 | {"index": 1}), {})
    assert len(found.devices) == 1 and found.problem == "GPU is lost"


def test_a_gpu_whose_memory_is_the_machines() -> None:
    spark = RTX4090 | {"name": "NVIDIA GB10", "total": None, "reserved": None, "free": None, "bus": None,
                       "memory_clock": None, "capability": [12, 1], "cores": 6144}
    (gpu,) = look(driver(spark), {}).devices
    assert gpu.memory == machine.memory() and 0 < (gpu.free or 0) <= gpu.memory
    assert (gpu.bandwidth, gpu.capability, gpu.link) == (273e9, 121, "unified")
    other = look(driver(spark | {"name": "Orin (nvgpu)"}), {})
    assert other.devices == () and other.problem == "Orin (nvgpu) does not tell its memory"
    (gpu,) = look(smi({"--query-gpu": (0, "0, GPU-1, NVIDIA GB10, [N/A], [N/A], 580.1, 12.1, [N/A]\n")}), {}).devices
    assert gpu.capability == 121 and gpu.memory == machine.memory()


scalars = st.none() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.booleans()
garbage = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from([*RTX4090, "links", "speed", "version"]), inner, max_size=4), max_leaves=5)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from(list(RTX4090)), garbage).map(lambda row: RTX4090 | row), max_size=3),
       st.none() | st.text(max_size=8))
def test_any_answer_is_a_machine(devices: list[dict[str, Any]], visible: str | None) -> None:
    found = look(driver(*devices), {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    for gpu in found.devices:
        assert 0 < gpu.memory < 2**44 and 0 <= (gpu.free or 0) <= 2**44 and (gpu.bandwidth or 1) > 0


def smi(answers: Mapping[str, tuple[int, str]]) -> Callable[[Sequence[str]], tuple[int, str]]:
    """A machine without the driver's library, whose `nvidia-smi` answers by the first words of what it is asked."""
    return lambda words: (3, "") if tuple(words) == nvidia.CHILD else next(
        (said for start, said in answers.items() if words[1].startswith(start)), (1, "?"))


def test_nvidia_smi_where_the_library_is_not() -> None:
    line = "0, GPU-1, NVIDIA GeForce RTX 4090, 24564, 23600, 570.86.15, 8.9, [N/A]\n"
    found = look(smi({"--query-gpu": (0, line + line.replace("0, GPU-1", "1, GPU-2"))}), {"CUDA_VISIBLE_DEVICES": "1"})
    (gpu,) = found.devices
    assert (gpu.memory, gpu.free, gpu.capability) == (pytest.approx(23.52 * GIB), 23600 * MIB, 89)
    assert gpu.bandwidth == 1008e9 and found.driver == "570.86.15" and found.processes is None
    cut = look(smi({"--query-gpu": (0, line.replace("[N/A]", "Enabled"))}), {})
    assert cut.devices == () and "nvidia-ml-py" in cut.problem
    fields = "--query-gpu=index,uuid,name,memory.total,memory.free,driver_version"
    old = smi({f"{fields},compute_cap": (2, "not a valid field"),
               "--query-gpu": (0, "0, GPU-1, Tesla T4, 15360, 15109, 450.80.02\n")})
    (gpu,) = look(old, {}).devices
    assert gpu.capability == 75 and gpu.memory == pytest.approx(14.56 * GIB)
    assert look(smi({"--query-gpu": (9, "NVIDIA-SMI has failed\nmore")}), {}).problem == "NVIDIA-SMI has failed"


def test_neither_library_nor_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for sign, problem in ((tmp_path / "gone", ""), (tmp_path, "compute,utility")):
        monkeypatch.setattr(nvidia, "_SIGNS", ("/nowhere", str(sign)))
        found = look(lambda words: (3, "") if tuple(words) == nvidia.CHILD else (127, ""), {})
        assert found.devices == () and problem in found.problem and bool(problem) == bool(found.problem)


def test_who_computes() -> None:
    assert nvidia.processes(driver(RTX4090, RTX3090 | {"index": 1, "processes": [[4242, GIB], [9, None]]})) == (
        (4242, 6 * GIB), (9, None))
    listed = smi({"--query-gpu": (0, "0, GPU-1, Tesla T4, 15360, 15109, 450.80.02, 7.5, [N/A]\n"),
                  "--query-compute-apps": (0, "31, 2048\n32, [N/A]\n")})
    assert nvidia.processes(listed) == ((31, 2 * GIB), (32, None))
    assert nvidia.processes(driver(code=124, said="")) is None


class Library(SimpleNamespace):
    """`pynvml` of a machine with one H100 in slices and one GPU that is lost; what is not said raises as NVML does."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvml"):
            def unknown(*_: Any) -> Any:
                raise RuntimeError("Not Supported")
            return unknown
        raise AttributeError(name)


def library() -> Library:
    def handle(index: int) -> str:
        if index:
            raise RuntimeError("GPU is lost")
        return "h100"

    def memory(gpu: str, version: int | None = None) -> SimpleNamespace:
        if version and gpu != "h100":
            raise RuntimeError("Function Not Found")  # older drivers
        total = 81559 * MIB if gpu == "h100" else 9984 * MIB
        return SimpleNamespace(total=total, free=total - GIB, **({"reserved": 551 * MIB} if version else {}))

    def part(gpu: str, number: int) -> str:
        if number > 1:
            raise RuntimeError("Not Found")
        return f"slice{number}"

    value = SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=26562))
    return Library(
        NVML_CLOCK_MEM=2, NVML_CLOCK_SM=1, NVML_NVLINK_MAX_LINKS=18, NVML_FEATURE_ENABLED=1, NVML_DEVICE_MIG_ENABLE=1,
        NVML_FI_DEV_NVLINK_SPEED_MBPS_COMMON=90, nvmlMemory_v2=0x02000028, nvmlInit=lambda: None,
        nvmlShutdown=lambda: None, nvmlSystemGetDriverVersion=lambda: b"550.54.15", nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=handle, nvmlDeviceGetUUID=lambda gpu: f"uuid-{gpu}",
        nvmlDeviceGetName=lambda gpu: "NVIDIA H100 80GB HBM3", nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetMaxClockInfo=lambda gpu, kind: {2: 2619, 1: 1980}[kind],
        nvmlDeviceGetMemoryBusWidth=lambda gpu: 5120, nvmlDeviceGetCudaComputeCapability=lambda gpu: (9, 0),
        nvmlDeviceGetNumGpuCores=lambda gpu: 16896, nvmlDeviceGetNvLinkState=lambda gpu, link: 1,
        nvmlDeviceGetNvLinkVersion=lambda gpu, link: 4, nvmlDeviceGetFieldValues=lambda gpu, fields: [value],
        nvmlDeviceGetMigMode=lambda gpu: (1, 1), nvmlDeviceGetMaxMigDeviceCount=lambda gpu: 7,
        nvmlDeviceGetMigDeviceHandleByIndex=part,
        nvmlDeviceGetAttributes_v2=lambda gpu: SimpleNamespace(multiprocessorCount=16),
        nvmlDeviceGetComputeRunningProcesses=lambda gpu: [SimpleNamespace(pid=77, usedGpuMemory=GIB)])


def test_the_library_is_asked_for_everything_and_may_know_less() -> None:
    told = nvml_child.told(library())
    first, lost = told["devices"]
    assert told["driver"] == "550.54.15" and lost == {"index": 1, "problem": "GPU is lost"}
    assert (first["total"], first["reserved"], first["bus"]) == (81559 * MIB, 551 * MIB, 5120)
    assert first["nvlink"] == {"links": 18, "speed": 26562, "version": 4} and first["pcie"] == [None, None]
    assert [(one["uuid"], one["reserved"], one["multiprocessors"]) for one in first["mig"]] == [
        ("uuid-slice0", None, 16), ("uuid-slice1", None, 16)]
    (gpu,) = look(driver(said=json.dumps(told)), {}).devices
    assert gpu.memory == 9984 * MIB


@pytest.mark.parametrize(("script", "problem", "seconds"), [
    ("import time; time.sleep(60)", "did not answer", 0.5), ("import os; os.abort()", "ended with status -6", 30.0),
    ("import sys\nwhile True: sys.stdout.write('x' * 100000)", "", 30.0),
], ids=["hangs", "crashes", "never stops"])
def test_a_child_that_hangs_crashes_or_never_stops_talking(script: str, problem: str, seconds: float,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SECONDS", seconds)
    monkeypatch.setattr(nvidia, "CHILD", (sys.executable, "-I", "-c", script))
    found = look(environment={})
    assert found.devices == () and problem in found.problem and found.problem


@pytest.mark.skipif(sys.platform != "linux", reason="nvidia-ml-py is a dependency on Linux only")
def test_the_library_has_every_name_that_is_asked_for() -> None:
    import pynvml

    names = set(re.findall(r"library\.((?:nvml|NVML)\w+)", Path(nvml_child.__file__).read_text("utf-8")))
    assert len(names) > 20 and {name for name in names if not hasattr(pynvml, name)} == set()
    assert hasattr(pynvml, "nvmlMemory_v2") and issubclass(pynvml.NVMLError_LibraryNotFound, Exception)


def test_the_child_runs_here() -> None:
    code, said = asking.run(nvidia.CHILD)
    assert code in (0, 3, 4) and (code == 3 or isinstance(asking.document(said), dict))
