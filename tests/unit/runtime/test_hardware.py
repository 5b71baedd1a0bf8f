"""GPUs of AMD and Apple, memory, its bandwidth, and who holds what: as drivers and kernels tell it, and worse."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.planning.fit.hardware import Device
from modelkit.runtime import machine as limits
from modelkit.runtime.asking import document
from modelkit.runtime.hardware import amd, apple, here, nvidia, used_by
from modelkit.runtime.hardware import bandwidth as measuring
from modelkit.runtime.hardware.bandwidth import Measured, bandwidth
from modelkit.runtime.hardware.here import machine
from modelkit.runtime.hardware.looked import Looked
from modelkit.runtime.hardware.use import held
from modelkit.runtime.machine import Group, control_groups, free_memory, memory

MIB, GIB = 2**20, 2**30
Ask = Callable[[Sequence[str]], tuple[int, str]]


def says(**answers: Any) -> Ask:
    """A machine on which only these programs are, each by its first two words, with JSON or text to say."""
    def ask(words: Sequence[str]) -> tuple[int, str]:
        found = answers.get("_".join(words[:2]).replace("-", "_").strip("_"), answers.get(words[0].replace("-", "_")))
        if found is None:
            return 127, ""
        return found if isinstance(found, tuple) else (0, found if isinstance(found, str) else json.dumps(found))
    return ask


# AMD: `amd-smi` of ROCm 6.2 to 7.1, `rocm-smi` of 6.x


def mi300x(gpu: int, **vram: Any) -> dict[str, Any]:
    return {"gpu": gpu, "asic": {"market_name": "AMD Instinct MI300X", "target_graphics_version": "gfx942"},
            "driver": {"name": "amdgpu", "version": "6.10.5"},
            "vram": {"type": "HBM3", "size": {"value": 196592, "unit": "MB"}, "bit_width": 8192, **vram}}


def used(gpu: int, free: int) -> dict[str, Any]:
    return {"gpu": gpu, "mem_usage": {"total_vram": {"value": 196592, "unit": "MB"},
                                      "free_vram": {"value": free, "unit": "MB"}}}


@pytest.mark.parametrize("form", [lambda rows: rows, lambda rows: {"gpu_data": rows}], ids=["rocm 6", "rocm 7"])
def test_mi300x(form: Callable[[Any], Any]) -> None:
    ask = says(amd_smi_static=form([mi300x(0), mi300x(1, max_bandwidth={"value": 5325, "unit": "GB/s"})]),
               amd_smi_metric=form([used(0, 196300), used(1, 1000)]))
    found = amd.look(ask, {})
    one, other = found.devices
    assert (one.name, one.kind, one.capability, one.memory) == ("AMD Instinct MI300X", "rocm", None, 196592 * MIB)
    assert (one.free, other.free) == (196300 * MIB, 1000 * MIB) and found.driver == "6.10.5"
    assert (one.bandwidth, other.bandwidth) == (5300e9, 5325e9) and one.flops == 1307e12
    assert (one.link, one.link_bandwidth) == ("xgmi", 448e9)
    (only,) = amd.look(ask, {"HIP_VISIBLE_DEVICES": "1"}).devices
    assert only.free == 1000 * MIB and only.link == "none"
    assert amd.look(ask, {"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "1"}).devices == ()
    assert len(amd.look(ask, {"HIP_VISIBLE_DEVICES": "0,x,1"}).devices) == 1


@pytest.mark.parametrize("told", [2**64 - 1, "N/A", 0, -1, 40], ids=str)  # ROCm/rocm-systems#5036
def test_a_bandwidth_that_cannot_be_is_the_tables(told: Any) -> None:
    (gpu,) = amd.look(says(amd_smi_static=[mi300x(0, max_bandwidth=told)]), {}).devices
    assert gpu.bandwidth == 5300e9 and gpu.free is None


def test_rocm_smi_where_amd_smi_is_not() -> None:
    card0 = {"GPU use (%)": "0", "VRAM Total Memory (B)": "21458059264", "VRAM Total Used Memory (B)": "27856896",
             "Card Series": "Radeon RX 7900 XT", "Card Model": "0x744c", "GFX Version": "gfx1100"}
    integrated = {"VRAM Total Memory (B)": "536870912", "VRAM Total Used Memory (B)": "482263040",
                  "Card Series": "Rembrandt [Radeon 680M]"}
    unknown = card0 | {"Card Series": "N/A", "Card Model": "0x1234"}
    warned = "WARNING: AMD GPU device(s) is/are in a low-power state\n"
    found = amd.look(says(rocm_smi=warned + json.dumps({"card1": integrated, "card0": card0, "card10": unknown,
                                                        "system": {"Driver version": "6.8.5"}})), {})
    one, other = found.devices
    assert (one.name, one.memory, one.free) == ("Radeon RX 7900 XT", 21458059264, 21458059264 - 27856896)
    assert one.bandwidth == 800e9 and (one.link, one.link_bandwidth) == ("pcie", 31.5e9)
    assert (other.name, other.bandwidth, other.link) == ("AMD GPU", None, "none")


def test_the_kernels_files_where_no_program_is(tmp_path: Path) -> None:
    vram, used = "mem_info_vram_total", "mem_info_vram_used"
    groups(tmp_path, {
        f"card0/device/{vram}": "1\n", "card0/device/vendor": "0x8086\n", "card1/device/vendor": "0x1002\n",
        f"card1/device/{vram}": "25753026560\n", f"card1/device/{used}": "28000000\n", "card1-DP-1/status": "connected",
        "card10/device/vendor": "0x1002\n", f"card10/device/{vram}": f"{196592 * MIB}\n",
        "card10/device/product_name": "AMD Instinct MI300X\n", "card11/device/vendor": "0x1002\n"})
    one, other = amd.look(says(), {}, tmp_path).devices
    assert (one.name, one.memory, one.free, one.bandwidth) == ("AMD GPU", 25753026560, 25753026560 - 28000000, None)
    assert (other.name, other.free, other.bandwidth) == ("AMD Instinct MI300X", None, 5300e9)
    assert amd.look(says(), {}, tmp_path / "gone").devices == ()


@pytest.mark.parametrize(("ask", "problem"), [
    (says(), ""), (says(rocm_smi=(1, "Driver not initialized (amdgpu not found in modules)\n")), "not initialized"),
    (says(amd_smi=(124, "it did not answer within 10 s")), "did not answer"), (says(rocm_smi="[1, 2"), "[1, 2"),
    (says(amd_smi="garbage", rocm_smi=(1, "")), "ended with status 1"),
])
def test_a_driver_of_amds_that_fails_is_a_sentence(ask: Ask, problem: str) -> None:
    found = amd.look(ask, {}, Path("/nowhere"))
    assert found.devices == () and problem in found.problem and bool(problem) == bool(found.problem)


words = st.sampled_from(["card0", "vram", "asic", "size", "market_name", "gpu_data", "value", "system",
                         "VRAM Total Memory (B)"])
json_values = st.recursive(st.none() | st.integers() | st.floats() | st.text(max_size=4), lambda inner: st.lists(
    inner, max_size=2) | st.dictionaries(words, inner, max_size=3), max_leaves=8)


@settings(max_examples=60)
@given(json_values, st.sampled_from(["", "x", "{", "[]"]))
def test_any_answer_of_amds_is_a_machine(value: Any, before: str) -> None:
    for ask in (says(amd_smi=before + json.dumps(value), rocm_smi=value), says(rocm_smi=value)):
        assert all(0 < gpu.memory < 2**44 for gpu in amd.look(ask, {}).devices)
        amd.processes(ask)


# Apple


def mac(brand: str, gib: int, cpus: int, wired: int = 0) -> str:
    return (f"machdep.cpu.brand_string: {brand}\nhw.memsize: {gib * GIB}\nhw.perflevel0.physicalcpu: {cpus}\n"
            + (f"iogpu.wired_limit_mb: {wired}\n" if wired >= 0 else "sysctl: unknown oid 'iogpu.wired_limit_mb'\n"))


def cores(count: int) -> dict[str, Any]:
    return {"SPDisplaysDataType": [{"sppci_model": "Apple M4 Max", "sppci_cores": str(count)}]}


@pytest.mark.parametrize(("said", "profiler", "name", "gib", "bandwidth", "cpus"), [
    (mac("Apple M4 Max", 128, 12), cores(40), "M4-Max", 96, 546, 12),
    (mac("Apple M4 Max", 36, 10), cores(32), "M4-Max", 24, 410, 10),
    (mac("Apple M4 Max", 36, 10), "no JSON", "M4-Max", 24, 410, 10),  # only one variant has 36 GiB
    (mac("Apple M4 Max", 128, 12, 122880), cores(40), "M4-Max", 120, 546, 12),
    (mac("Apple M1", 16, 4, -1), None, "M1", 16 * 2 / 3, 68.3, 4),
    (mac("Apple M2 Ultra", 192, 16), None, "M2-Ultra", 144, 819.2, 16),
])
def test_macs(*, said: str, profiler: Any, name: str, gib: float, bandwidth: float, cpus: int) -> None:
    found = apple.look(says(sysctl=(1, said), system_profiler=profiler))
    assert found is not None and found.gpu is not None and found.cpus == cpus
    assert (found.gpu.name, found.gpu.kind, found.gpu.link) == (name, "metal", "unified")
    assert found.gpu.memory == pytest.approx(gib * GIB) and found.gpu.bandwidth == pytest.approx(bandwidth * 1e9)
    whole = machine([], found)
    assert whole.hardware.devices == found.devices and whole.hardware.cpu_bandwidth == found.cpu_bandwidth


@pytest.mark.parametrize("said", ["", "machdep.cpu.brand_string: Intel(R) Core(TM) i9\nhw.memsize: 17179869184",
                                  "machdep.cpu.brand_string: Apple M4 Max\nhw.memsize: lots", ": : :\n::"])
def test_other_macs(said: str) -> None:
    assert apple.look(says(sysctl=said)) is None


# memory


def groups(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_control_groups_of_both_kinds(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/user.slice/app\n")
    root = groups(tmp_path / "cgroup", {
        "user.slice/app/memory.max": "max\n", "user.slice/memory.max": f"{8 * GIB}\n",
        "user.slice/memory.current": f"{3 * GIB}\n", "user.slice/memory.stat": f"anon 1\nactive_file {GIB}\n",
        "memory/docker/abc/memory.limit_in_bytes": f"{6 * GIB}\n",
        "memory/docker/abc/memory.usage_in_bytes": f"{5 * GIB}\n",
        "memory/docker/abc/memory.stat": f"inactive_file 7\ntotal_inactive_file {2 * GIB}\ntotal_active_file 0\nodd\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n"})
    assert control_groups(root, own) == [Group(8 * GIB, 2 * GIB), Group(6 * GIB, 3 * GIB),
                                         Group(9223372036854771712, None)]
    whole, free = memory(root, own), free_memory(root, own)
    assert whole is not None and whole <= 6 * GIB and free is not None and free <= 3 * GIB
    assert control_groups(root, tmp_path / "gone")[-1].limit == 9223372036854771712  # a container's own is the root


@pytest.mark.parametrize(("stack", "each"), [(8 * MIB, 8 * MIB), (resource.RLIM_INFINITY, 2 * MIB)])
@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_ulimit_counts_and_counts_stacks(kind: int, stack: int, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {kind: 2 * GIB, resource.RLIMIT_STACK: stack}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (said.get(kind, resource.RLIM_INFINITY),) * 2)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert memory() == 2 * GIB - 10 * each and (free_memory() or 0) <= 2 * GIB - 10 * each


# bandwidth


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path))
    return tmp_path / "state" / "hardware" / "bandwidth.json"


def test_bandwidth_is_measured_once(home: Path) -> None:
    asked: list[int] = []

    def measured(rate: float, share: float) -> Callable[[int, int | None], Measured]:
        def measure(cores: int, free: int | None) -> Measured:
            asked.append(cores)
            return Measured(rate, share)
        return measure

    assert bandwidth(4, None, measured(20e9, 0.5), lambda: 1000.0) == 20e9
    assert bandwidth(4, None, measured(30e9, 0.5), lambda: 2000.0) == 20e9 and asked == [4]
    assert bandwidth(4, None, measured(15e9, 0.5), lambda: 5000.0) == 20e9  # an hour later, and no better
    assert bandwidth(4, None, measured(31e9, 0.95), lambda: 9000.0) == 31e9
    assert bandwidth(4, None, measured(99e9, 0.95), lambda: 99999.0) == 31e9 and asked == [4, 4, 4]
    assert bandwidth(8, None, measured(40e9, 0.95), lambda: 0.0) == 40e9  # other cores are another machine
    assert bandwidth(4, None, measured(1, 1), lambda: 0.0) == 31e9
    assert [one.name for one in home.parent.iterdir()] == [home.name]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"x": 1}', "null"])
def test_what_was_kept_may_be_anything(home: Path, text: str) -> None:
    home.parent.mkdir(parents=True)
    home.write_text(text)
    assert bandwidth(2, None, lambda cores, free: Measured(5e9, 1)) == 5e9
    home.write_text(home.read_text().replace("5000000000", "-3"))
    assert bandwidth(2, None, lambda cores, free: Measured(6e9, 1)) == 6e9


def test_a_machine_that_cannot_be_measured(home: Path) -> None:
    def fails(cores: int, free: int | None) -> Measured:
        raise MemoryError

    assert bandwidth(2, None, fails) is None and bandwidth(2, None, lambda cores, free: None) is None
    home.parent.mkdir(parents=True)
    home.mkdir()  # a folder that cannot be written over
    assert bandwidth(2, None, lambda cores, free: Measured(7e9, 1)) == 7e9


def test_this_machines_memory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SECONDS", 0.005)
    found = measuring.read(1, 256 * MIB)
    assert found is not None and 0 < found.share < 1.5 and 1e8 < found.bandwidth < 1e13


# the machine as a whole


def test_an_engine_has_gpus_of_one_maker(home: Path) -> None:
    bandwidth(here().cpus, None, lambda cores, free: Measured(1e9, 1))
    one, other = Device("a", "cuda", GIB), Device("b", "rocm", 2 * GIB)
    found = machine([Looked(problem="no driver"), Looked((other,), "6.1"), Looked((one,))])
    assert found.hardware.devices == (other,) and found.driver == "6.1" and found.problems == ("no driver",)
    assert found.hardware.source == "driver" and machine([]).hardware.source == "measured"


def test_here_never_raises(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measuring, "SECONDS", 0.002)
    for name in ("nvidia-smi", "amd-smi", "rocm-smi"):
        (tmp_path / name).write_text("#!/bin/sh\necho garbage; exit 0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = here()
    assert found.cpus >= 1 and found.ram and found.ram_free and found.cpu_bandwidth and found.cpu_flops


def test_what_processes_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.getpid()
    assert held(None, [mine]) is None and held((), [mine]) == 0
    assert held(((mine, GIB), (1, 5 * GIB)), [mine]) == GIB and held(((1, GIB),), [mine]) == 0
    assert held(((mine, None),), [mine]) is None  # the driver names it, and not what it holds
    assert held(((2**22 + 7, GIB),), [mine]) is None  # numbers of another namespace
    monkeypatch.setattr(nvidia, "present", lambda: False)
    monkeypatch.setattr(amd, "present", lambda: True)
    pids = {"system": {f"PID{mine}": "python3, 1, 15728640, 0, unknown", "PID7": "x", "odd": 3}}
    monkeypatch.setattr(amd, "processes", lambda: ((mine, 15728640),))
    assert used_by([mine]) == 15728640
    monkeypatch.undo()
    assert amd.processes(says(rocm_smi=pids)) == ((mine, 15728640), (7, None))
    assert amd.processes(says(rocm_smi="No KFD PIDs currently running")) is None


def test_json_among_warnings() -> None:
    assert document('WARNING: x\n{"a": [1]}\nbye {') == {"a": [1]} and document("{ no") is None
    assert document("[" * 100_000) is None and document("") is None
    assert limits.run(["not-here-at-all"])[0] == 127
