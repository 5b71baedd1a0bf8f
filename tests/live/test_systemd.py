"""The command that the unit of PLATFORM systemd runs, run as systemd runs it: told of readiness, ended by SIGTERM."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import psutil
import pytest

from tests.live.cli import environment, free_port, json_of, modelkit
from tests.live.engines import BASE
from tests.unit.platforms.test_units import parsed, split


@pytest.mark.live_llamacpp
def test_the_unit_serves_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "Modelfile").write_text(f"NAME unit\nFROM {BASE}\nPARAMETER num_ctx 512\nSTAGE dev {{\n"
                                        f"  PLATFORM systemd\n  SERVE port {port}\n}}\n")
    modelkit("build", "-s", "dev", "-o", "made", cwd=tmp_path)
    (unit,) = (tmp_path / "made").glob("*.service")
    words = split(dict(parsed(unit.read_text())["Service"])["ExecStart"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(120)
        process = subprocess.Popen(words, cwd="/", env=environment(NOTIFY_SOCKET=str(tmp_path / "notify")),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert told.recv(64) == b"READY=1"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models") as answer:
                assert json.load(answer)["data"][0]["id"] == "unit"
            below = psutil.Process(process.pid).children(recursive=True)
            pids = [one["pid"] for one in json_of("ps") if one.get("modelfile") == str(tmp_path / "Modelfile")]
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[0]
        finally:
            process.kill()
            process.wait()
    assert process.returncode in (130, 143), said
    assert "draining" in said
    gone, alive = psutil.wait_procs([*below, *(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid))], 20)
    assert not alive, (gone, alive)
