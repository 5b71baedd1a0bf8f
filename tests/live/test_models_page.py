"""The commands of docs/models.md, run in order as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.cli import ROOT, environment

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(600)]


def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    script = "\n".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    assert script.count("modelkit ") >= 12
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          env=environment(PATH=f"{Path(sys.executable).parent}:{environment()['PATH']}"), timeout=500,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same model" in done.stdout and "every file is what it was" in done.stdout
    assert json.loads((tmp_path / "sbom.json").read_text())["bomFormat"] == "CycloneDX"
    assert (tmp_path / "smollm2" / "config.json").is_file()
