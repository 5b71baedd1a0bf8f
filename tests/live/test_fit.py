"""`modelkit fit --verify` with the real engines: what is promised is held, and nothing of them is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.runtime.identity import MARKER
from tests.live.cli import MODELKIT, environment, json_of, modelkit
from tests.live.engines import BASE

TEXT = f"""NAME bot
FROM {BASE}
PARAMETER num_ctx 2048
SERVE max_concurrency 2
STAGE prod {{
  ENGINE vllm
}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "Modelfile").write_text(TEXT)
    yield tmp_path
    assert engines() == []


def engines() -> list[int]:
    """Living processes of runs that no supervisor has."""
    import psutil

    found = []
    for one in psutil.process_iter():
        try:
            if MARKER in one.environ() and "modelkit-fit-" in one.cwd():
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


def verified(folder: Path, stage: str) -> dict[str, dict[str, Any]]:
    """The checks by name. Other programs on this machine may keep speeds from being judged."""
    done = modelkit("fit", str(folder), "-s", stage, "--verify", "--json", code=None)
    document = json.loads(done.stdout)["verified"]
    assert done.returncode == (0 if document["holds"] else 1), done.stderr
    return {one["name"]: one for one in document["checks"]}


@pytest.mark.live_llamacpp
def test_llama_cpp_takes_what_was_predicted(folder: Path) -> None:
    modelkit("pull", str(folder))
    checks = verified(folder, "dev")
    lines = {"weights", "attention cache", "compute", "output"}
    assert {name: one["held"] for name, one in checks.items() if name in lines} == dict.fromkeys(lines, "held")
    assert checks["the whole process"]["held"] == "held"
    assert checks["one user"]["measured"] > 1
    again = json_of("fit", str(folder))
    assert {one["name"] for one in again["now"]["budget"]["lines"] if one["source"] == "measured"} == lines


@pytest.mark.live_llamacpp
def test_ctrl_c_leaves_nothing(folder: Path) -> None:
    modelkit("pull", str(folder))
    with subprocess.Popen([MODELKIT, "fit", str(folder), "--verify"], stderr=subprocess.PIPE, text=True,
                          stdout=subprocess.DEVNULL, env=environment(), stdin=subprocess.DEVNULL) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if line.startswith("ready after"):
                break
        assert engines()
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
        assert child.wait(60) == 130 and "Traceback" not in rest
    until = time.monotonic() + 20
    while engines() and time.monotonic() < until:
        time.sleep(0.2)
    assert engines() == []


@pytest.mark.live_vllm
@pytest.mark.timeout(900)
def test_vllms_tokens_are_exact(folder: Path) -> None:
    checks = verified(folder, "prod")
    assert checks["attention cache"]["held"] == checks["conversations at full length"]["held"] == "held"
    assert checks["the whole process"]["measured"] > 500 << 20


if sys.platform != "linux":
    pytest.skip("the processes of a run are found by their environment", allow_module_level=True)
