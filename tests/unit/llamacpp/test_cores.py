"""How many threads llama.cpp gets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkit.llamacpp import cores


@pytest.mark.parametrize(("siblings", "quota", "expected"), [
    (["0", "1", "2", "3"], "max 100000", 4), (["0-1", "0-1", "2-3", "2-3"], "max 100000", 2),
    (["0", "1", "2", "3"], "150000 100000", 2), (["0", "1", "2", "3"], "50000 100000", 1),
    (["0", "1", "2", "3"], "nonsense", 4), ([], None, 4),
])
def test_usable_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: list[str], quota: str | None,
                      expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for number, said in enumerate(siblings):
        folder = tmp_path / f"devices/system/cpu/cpu{number}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(said + "\n")
    if quota is not None:
        (tmp_path / "fs/cgroup").mkdir(parents=True)
        (tmp_path / "fs/cgroup/cpu.max").write_text(quota + "\n")
    assert cores.usable_cores(tmp_path) == expected


@pytest.mark.parametrize(("own", "files", "expected"), [
    ("0::/user.slice/app\n", {"user.slice/app/cpu.max": "max 100000", "user.slice/cpu.max": "250000 100000"}, 3),
    ("4:cpu,cpuacct:/docker/abc\n0::/\n", {"cpu/docker/abc/cpu.cfs_quota_us": "200000",
                                          "cpu/docker/abc/cpu.cfs_period_us": "100000"}, 2),
    ("4:cpu:/gone\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),  # in a container
    ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
    ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "5", "cpu/cpu.cfs_period_us": "0"}, 4), ("odd\n::\n", {}, 4),
])
def test_quotas_of_both_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str],
                              expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for name, text in ({f"sys/fs/cgroup/{file}": text for file, text in files.items()}
                       | {"proc/self/cgroup": own}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert cores.usable_cores(tmp_path / "sys") == expected


@pytest.mark.parametrize(("count", "before", "after"), [
    (2, {}, {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "400"}), (16, {}, {}),
    (2, {"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    (2, {"GOMP_SPINCOUNT": "0"}, {"GOMP_SPINCOUNT": "0"}),
])
def test_threads_soon_sleep_while_they_wait_on_few_cores(count: int, before: dict[str, str],
                                                         after: dict[str, str]) -> None:
    cores.wait_politely(count, before)
    assert before == after
