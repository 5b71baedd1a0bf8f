"""The engine's process where it cannot serve: one sentence, last on stderr, and the status that says whose fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelkit.contract.profile import Profile
from modelkit.llamacpp.config import Config

PROFILE = Profile("tiny", "llamacpp", 256)


def run(*words: str | Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-P", "-m", "modelkit.llamacpp", *map(str, words)], capture_output=True,
                          text=True, timeout=120, check=False)
    return done.returncode, done.stderr.splitlines()


def written(folder: Path, **fields: object) -> Path:
    """A configuration in a folder, with a profile beside it."""
    (folder / "profile.json").write_text(json.dumps(PROFILE.as_json()))
    config = Config(str(folder / "m.gguf"), str(folder / "s"), str(folder / "profile.json"), "f", 256, 2)
    path = folder / "config.json"
    path.write_text(json.dumps(config.as_json() | fields))
    return path


def test_without_a_configuration_it_says_how_to_use_it() -> None:
    status, said = run()
    assert status == 2 and "--config" in said[-1]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "modelkit.llamacpp/9"}',
                                  '{"schema": "modelkit.llamacpp/1"}'])
def test_a_configuration_that_is_none_is_a_status_of_2(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    status, said = run("--config", path)
    assert status == 2
    assert said[-1].startswith("modelkit: llama.cpp: ") and "Traceback" not in "".join(said)


def test_one_that_is_not_there_too(tmp_path: Path) -> None:
    status, said = run("--config", tmp_path / "none.json")
    assert status == 2 and "none.json" in said[-1]


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "modelkit.profile/1", "name": "x", "colour": 1}'])
def test_a_profile_that_is_none_is_a_status_of_2(tmp_path: Path, text: str) -> None:
    path = written(tmp_path)
    (tmp_path / "profile.json").write_text(text)
    status, said = run("--config", path)
    assert status == 2 and "profile.json" in said[-1]


def test_a_model_that_is_not_there_is_a_status_of_1(tmp_path: Path) -> None:
    """Without llama-cpp-python in this Python, the sentence is about that."""
    status, said = run("--config", written(tmp_path))
    assert status == 1
    assert "m.gguf" in said[-1] or "llama-cpp-python" in said[-1]
    assert "Traceback" not in "".join(said)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_loads_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """The model is a pipe that nobody writes to: loading never ends."""
    os.mkfifo(tmp_path / "m.gguf")
    process = subprocess.Popen([sys.executable, "-P", "-m", "modelkit.llamacpp", "--config", written(tmp_path)],
                               stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert "loading m.gguf" in process.stderr.readline()
        process.send_signal(number)
        assert process.wait(timeout=60) in (0, 1)  # 1: without llama-cpp-python it has ended by itself
    finally:
        process.kill()
        process.wait()
