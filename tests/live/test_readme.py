"""The README's tour, its commands run in order as they stand there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.cli import ROOT, environment, free_port, modelkit

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    yield tmp_path
    modelkit("down", str(tmp_path / "examples" / "quickstart"), code=None)


def test_the_tour_does_what_it_says(folder: Path) -> None:
    tour = (ROOT / "README.md").read_text("utf-8").partition("## A two-minute tour")[2].partition("\n## ")[0]
    script = "\n".join(re.findall(r"```sh\n(.*?)```", tour, re.DOTALL))
    assert script.count("app.py") == 2
    assert "promote dev prod" in script
    bin_first = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True,
                          env=environment(MODELKIT_PORT=str(free_port()), PATH=bin_first), timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "is served by stage prod (vllm)" in done.stdout
    assert "conversations, " in done.stdout and "all equal" in done.stdout
    assert done.stdout.count("Paris") >= 2
