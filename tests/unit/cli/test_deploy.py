"""`up`, `down`, `logs` and `ps` on platforms of other programs: small ones in their place record what they are told.

The real ones need a daemon or a cluster. What is real here: the bundle, the record, the confirmation, what of a failing
client is said.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from modelkit.contract.effective import SCHEMA
from tests.unit.cli.conftest import Run, write
from tests.unit.cli.test_bundle import PINNED, modelfile
from tests.unit.models.hub import ask_only, hub_server

STUB = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >> "{calls}"
env | grep '^BOT_KEY=' >> "{calls}"
case " $* " in {cases}
esac
exit 0
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs called docker and kubectl that write down how they are called; what they say is in `answers`."""
    put(tmp_path, "*\" ps \"*) echo 'engine-1 running (healthy)';; *\" logs \"*) echo 'Starting vLLM';;"
        + says())
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "calls"


def put(folder: Path, cases: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("docker", "kubectl", "podman", "systemctl", "journalctl"):
        program = folder / "bin" / name
        program.write_text(STUB.format(calls=folder / "calls", cases=cases))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def says(**values: Any) -> str:
    """What the engine in the container answers when it is asked what it has."""
    return f" *\" exec \"*) echo '{json.dumps({'schema': SCHEMA, **values})}';;"


def verbs(calls: Path) -> list[str]:
    """What followed the file's name in each call."""
    lines = calls.read_text().splitlines() if calls.exists() else []
    return [line.partition("compose.yaml ")[2] or line for line in lines]


def test_up_applies_waits_and_is_read_back(run: Run, calls: Path) -> None:
    modelfile()
    code, out, err = run("up", "-s", "prod")
    assert code == 0, err
    assert "bot (prod, vllm) on compose is up" in out and "http://127.0.0.1:8484/v1" in out
    assert [one.split()[0] for one in verbs(calls)] == ["up", "up", "up", "exec"]
    assert "--dry-run" in verbs(calls)[0] and "--wait" in verbs(calls)[2]
    assert "  + compose.yaml" in err.splitlines()

    assert "engine-1 running (healthy)" in run("ps")[1]
    (said,) = json.loads(run("ps", "--json")[1])
    assert (said["platform"], said["applied"], said["code"]) == ("compose", True, 0)
    assert run("logs", "-s", "prod", "--tail", "5")[1] == "Starting vLLM\n"
    assert verbs(calls)[-1] == "logs --tail=5 --no-color"

    code, _, err = run("up", "-s", "prod")
    assert code == 0 and "nothing changed since it was applied" in err
    code, out, err = run("down")
    assert code == 0 and "bot (prod, vllm) on compose is down" in out
    assert verbs(calls)[-1].startswith("down")
    assert json.loads(run("ps", "--json")[1]) == []


def test_what_runs_must_be_what_was_planned(run: Run, calls: Path, tmp_path: Path) -> None:
    modelfile(more="PARAMETER num_ctx 128")
    put(tmp_path, says(context_length=64))
    code, _, err = run("up", "-s", "prod")
    assert code == 2 and "error[engine-not-as-planned]" in err and "128 is wanted, 64 runs" in err
    code, out, _ = run("status", "--drift")
    assert code == 1 and "engine: context length: 128 is wanted, 64 runs" in out
    put(tmp_path, says(context_length=128))
    assert run("up", "-s", "prod")[0] == 0
    code, out, _ = run("status", "--drift")
    assert code == 0 and "drift         none" in out
    put(tmp_path, "*\" exec \"*) echo not json;;")
    code, _, err = run("status")
    assert code == 2 and "error[not-effective]" in err


def test_what_changed_is_shown(run: Run, calls: Path) -> None:
    modelfile()
    assert run("up", "-s", "prod", "-d")[0] == 0
    write(Path("Modelfile").read_text().replace("terse", "verbose"))
    err = run("up", "-s", "prod", "-d")[2]
    assert [line for line in err.splitlines() if line.startswith("  ") and "|" not in line] == [
        "  ~ compose.yaml", "  ~ etc/profile.json"]


def test_detached_does_not_wait(run: Run, calls: Path) -> None:
    modelfile()
    code, out, _ = run("up", "-s", "prod", "-d")
    assert code == 0 and "is applied" in out
    assert not any("--wait" in one for one in verbs(calls))


def test_a_client_that_is_not_there_is_one_error(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modelfile()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    code, _, err = run("up", "-s", "prod")
    assert code == 2 and "error[client-missing]" in err and "`docker`" in err
    assert "modelkit build -s prod -o DIR" in err


def test_a_failing_client_is_quoted_and_explained(run: Run, calls: Path, tmp_path: Path) -> None:
    modelfile()
    put(tmp_path, "*\" --detach \"*) echo 'Cannot connect to the Docker daemon at unix:///x.' >&2; exit 3;;")
    code, _, err = run("up", "-s", "prod")
    assert code == 2 and "error[client-failed]" in err and "failed with 3" in err
    assert "  | Cannot connect to the Docker daemon at unix:///x." in err and "hint: start Docker" in err
    (said,) = json.loads(run("ps", "--json")[1])
    assert said["applied"] is False
    put(tmp_path, "*) ;;")
    assert run("down")[0] == 0  # what a half of it left behind goes, too
    assert verbs(calls)[-1].startswith("down")


def test_the_key_is_given_to_the_client_and_to_no_file(run: Run, calls: Path, monkeypatch: pytest.MonkeyPatch,
                                                       tmp_path: Path) -> None:
    modelfile(more="SERVE api_key env:BOT_KEY")
    code, _, err = run("up", "-s", "prod")
    assert code == 2 and "error[api-key-missing]" in err
    monkeypatch.setenv("BOT_KEY", "sk-very-secret")
    assert run("up", "-s", "prod")[0] == 0
    assert "BOT_KEY=sk-very-secret" in calls.read_text()
    home = tmp_path / "home"
    assert not [p for p in home.rglob("*") if p.is_file() and b"sk-very-secret" in p.read_bytes()]
    monkeypatch.delenv("BOT_KEY")
    assert run("down")[0] == 0


def test_another_platform_or_name_is_taken_down_first(run: Run, calls: Path) -> None:
    modelfile()
    assert run("up", "-s", "prod", "-d")[0] == 0
    text = Path("Modelfile").read_text()
    for old, new in (("NAME bot", "NAME other"), ("PLATFORM compose", "PLATFORM quadlet")):
        write(text.replace(old, new))
        code, _, err = run("up", "-s", "prod", "-d")
        assert code == 2 and "error[deployed-otherwise]" in err, err
    assert run("down", "-s", "prod")[0] == 0


def test_other_machines_change_only_when_somebody_says_so(run: Run, calls: Path, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    modelfile()
    assert run("convert", "./model.gguf", "--to", "safetensors", "-o", "folder")[0] == 0
    with hub_server() as server:
        ask_only(server, tmp_path / "hub", monkeypatch)
        server.add("acme/tiny", {p.name: p.read_bytes() for p in Path("folder").iterdir()})
        write(f"NAME bot\nFROM hf.co/acme/tiny\nSTAGE prod {{\n  PLATFORM kubernetes\n  SERVE image {PINNED}\n}}\n")
        code, _, err = run("up", "-s", "prod")
        assert code == 2 and "error[not-confirmed]" in err and "--yes" in err
        assert not [one for one in verbs(calls) if " apply " in one]
        code, out, err = run("up", "-s", "prod", "--yes")
        assert code == 0, err
        assert [one for one in verbs(calls) if " apply " in one] and "on kubernetes is up" in out
    code, _, err = run("down")
    assert code == 0 and "goes on: `modelkit down -s prod`" in err
    assert run("down", "-s", "prod")[0] == 2
    assert run("down", "-s", "prod", "--yes")[0] == 0
    assert [one for one in verbs(calls) if " delete " in one]


def test_a_container_does_not_run_here(run: Run) -> None:
    modelfile()
    code, _, err = run("up", "-s", "prod", "--here")
    assert code == 2 and "error[usage]" in err and "compose" in err


def test_promote_does_not_reach_another_platform(run: Run) -> None:
    modelfile()
    code, _, err = run("promote", "dev", "prod")
    assert code != 0 and "error[" in err
