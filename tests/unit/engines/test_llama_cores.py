"""How many threads are worth starting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelkit.engines.llama_host import cores


@pytest.mark.parametrize(("cpu_max", "found"), [
    ("max 100000", None), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("rubbish", None),
    (None, None),
])
def test_a_control_groups_quota(tmp_path: Path, cpu_max: str | None, found: int | None) -> None:
    if cpu_max is not None:
        (tmp_path / "cpu.max").write_text(cpu_max + "\n")
    assert cores._quota(tmp_path) == found


@pytest.mark.parametrize(("physical", "quota", "usable"), [(8, None, 8), (8, 2, 2), (None, None, 16), (32, 64, 16)])
def test_the_smallest_limit_counts(monkeypatch: pytest.MonkeyPatch, physical: int | None, quota: int | None,
                                   usable: int) -> None:
    monkeypatch.setattr(cores, "_physical", lambda: physical)
    monkeypatch.setattr(cores, "_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(16), raising=False)
    assert cores.usable_cores() == usable
