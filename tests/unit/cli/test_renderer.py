"""vLLM's renderer as a process: it is asked at its socket, says why it did not start, and is gone afterwards."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelkit.cli.renderer import renderer
from modelkit.engines import vllm
from modelkit.engines.call import call
from modelkit.engines.launch import RUN, File, Launch
from modelkit.failure import Failure

STUB = str(Path(__file__).parents[2] / "stub_engine.py")
PLAN: Any = SimpleNamespace(engine=SimpleNamespace(command=("/env/bin/vllm",)))


def starts(monkeypatch: pytest.MonkeyPatch, *vices: str) -> None:
    launch = Launch((sys.executable, STUB, "--socket", f"{RUN}/engine.sock", *vices),
                    {"WHERE": RUN, "SECRET": "x"}, (File("a/b.json", json.dumps({"at": RUN})),))
    monkeypatch.setattr(vllm, "render_launch", lambda plan: launch)


def test_it_is_the_same_command_line_with_another_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "launch", lambda plan: Launch(("/env/bin/vllm", "serve", "/model", "--uds", "x")))
    assert vllm.render_launch(PLAN).argv == ("/env/bin/vllm", "launch", "render", "/model", "--uds", "x")


def test_it_answers_and_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "not for it")
    starts(monkeypatch, "--say-env", "HF_TOKEN", "--load-seconds", "0.1")
    with renderer(PLAN) as socket:
        assert call(socket, "/v1/models")["data"][0]["id"] == "stub"
        folder = Path(socket).parent
        assert json.loads((folder / "a/b.json").read_text()) == {"at": str(folder)}
        assert "not for it" not in (folder / "log").read_text()
    assert not folder.exists()


def test_what_it_left_behind_is_gone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch, "--ignore-sigterm")
    monkeypatch.setattr("modelkit.cli.renderer._GRACE", 0.2)
    with renderer(PLAN) as socket:
        name = str(Path(socket).parent)
        mine = [int(path.name) for path in Path("/proc").glob("[0-9]*") if name in _words(path)]
        assert mine
    assert not [one for one in mine if _alive(one)]


def _words(path: Path) -> str:
    try:
        return (path / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _alive(pid: int) -> bool:
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def test_its_last_words_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch, "--die-at-start", "no tokenizer here")
    with pytest.raises(Failure) as failed, renderer(PLAN):
        pass
    assert failed.value.code == "renderer-exited" and "no tokenizer here" in failed.value.detail


def test_one_that_is_never_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    starts(monkeypatch, "--wrong-socket")
    with pytest.raises(Failure) as failed, renderer(PLAN, 0.6):
        pass
    assert failed.value.code == "renderer-not-ready"
