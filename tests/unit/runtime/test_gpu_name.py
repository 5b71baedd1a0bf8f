"""The GPU of this machine, as `nvidia-smi` tells it: here a program of that name, on the PATH alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.planning.gpus import accelerator_name
from modelkit.runtime.devices import gpu_name


@pytest.mark.parametrize(("script", "name", "known"), [
    ("echo 'Tesla T4'; echo 'Tesla V100'", "Tesla T4", "T4"),
    ("echo; echo 'NVIDIA H100 80GB HBM3'", "NVIDIA H100 80GB HBM3", "H100-80GB"),
    ("echo 'NVIDIA Future 9'", "NVIDIA Future 9", None),
    ("echo 'no driver'; exit 9", None, None), ("exit 0", None, None),
])
def test_its_first_gpu(script: str, name: str | None, known: str | None, tmp_path: Path,
                       monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() == name and accelerator_name(None, gpu_name()) == known


def test_a_machine_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() is None
