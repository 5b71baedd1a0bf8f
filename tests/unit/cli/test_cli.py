"""The command line: what goes where, which exit code, and one clear error for bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run, write

GOOD = "FROM ./model.gguf\nPARAMETER temperature 0.5\n"


def test_check_is_silent_on_stdout_and_zero_when_good(run: Run) -> None:
    write(GOOD)
    code, out, err = run("check")
    assert (code, out) == (0, "")
    assert "1 file checked" in err


@pytest.mark.parametrize(("text", "rule", "shown"), [
    ("FROM x\nTEMPRATURE 1\n", "unknown-instruction", "TEMPRATURE 1"),
    ("FROM x\nPARAMETER temperature hot\n", "bad-value", "PARAMETER temperature hot"),
    ('FROM x\nSYSTEM """never closed\n', "unclosed-quote", 'SYSTEM """never closed'),
    ("PARAMETER temperature 1\n", "missing-from", "no"),
    ("FROM x\nPARAMETER temprature 1\n", "unknown-parameter", "PARAMETER temprature 1"),
])
def test_a_mistake_is_shown_where_it_is(run: Run, text: str, rule: str, shown: str) -> None:
    write(text)
    code, out, err = run("check")
    assert code == 1
    assert out == ""
    assert f"error[{rule}]" in err
    assert shown in err
    assert "^" in err


def test_all_mistakes_of_a_file_are_said_at_once(run: Run) -> None:
    write("FROM x\nPARAMETER temprature 1\nPARAMETER top_p 7\nNAM y\n")
    _, _, err = run("check")
    assert err.count("error[") == 3
    assert "3 errors" in err


def test_check_as_json_is_one_document(run: Run) -> None:
    write("FROM x\nPARAMETER temprature 1\n")
    code, out, _ = run("check", "--json")
    said = json.loads(out)
    assert code == 1
    error = next(d for d in said["diagnostics"] if d["severity"] == "error")
    assert error["rule"] == "unknown-parameter"
    assert error["start"]["line"] == 2
    assert "temperature" in error["hint"]


def test_several_files_are_checked_together(run: Run) -> None:
    write(GOOD, "a.Modelfile")
    write("nonsense\n", "b.Modelfile")
    code, _, err = run("check", "a.Modelfile", "b.Modelfile")
    assert code == 1
    assert "2 files checked" in err


@pytest.mark.parametrize("words", [
    ("check",), ("plan",), ("up",), ("down",), ("env",), ("logs",), ("promote", "dev", "prod"), ("chat", "hi"),
    ("check", "absent"), ("up", "absent/Modelfile"),
])
def test_no_modelfile_is_one_error_with_code_two(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "error[no-modelfile]" in err or ("chat" in words and "error[" in err)


def test_failures_are_json_too(run: Run) -> None:
    code, out, err = run("plan", "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "no-modelfile"
    assert "error[no-modelfile]" in err


@pytest.mark.parametrize("words", [
    (), ("upp",), ("up", "--port", "70000"), ("up", "--port", "x"), ("down", "--drain", "-1"), ("up", "--wait"),
    ("engine", "install"), ("engine", "install", "nothing"), ("promote", "dev"), ("promote", "dev", "dev"),
    ("plan", "-s", "nowhere"), ("logs", "--tail", "-3"),
])
def test_a_wrong_command_line_is_code_two(run: Run, words: tuple[str, ...]) -> None:
    write(GOOD)
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert "error[" in err
    assert "= hint:" in err or "logs" in words or "promote" in words


def test_a_missing_model_file_is_said_with_what_is_near(run: Run) -> None:
    write("FROM ./modle.gguf\n")
    write("x", "model.gguf")
    code, _, err = run("up", "-d")
    assert code == 2
    assert "model.gguf" in err


@pytest.mark.parametrize("body", [b"", b"GGUF", b"not a model at all", b"GGUF" + b"\xff" * 64],
                         ids=["empty", "magic-only", "text", "hostile"])
def test_a_broken_model_is_one_error(run: Run, body: bytes) -> None:
    write(GOOD)
    Path("model.gguf").write_bytes(body)
    for stage in ("dev", "prod"):
        code, out, err = run("up", "-d", "--wait", "-s", stage)
        assert (code, out) == (2, "")
        assert err.count("error[") == 1


def test_the_environment_is_a_layer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write(GOOD)
    monkeypatch.setenv("MODELKIT_PORT", "9123")
    monkeypatch.setenv("MODELKIT_API_KEY", "s3cret")
    code, out, _ = run("env")
    assert code == 0
    assert out == "export OPENAI_BASE_URL=http://127.0.0.1:9123/v1\nexport OPENAI_API_KEY=s3cret\n"
    monkeypatch.setenv("MODELKIT_PORT", "ninety")
    assert run("env")[0] == 2


def test_env_says_what_the_modelfile_says_when_nothing_runs(run: Run) -> None:
    write(GOOD + "SERVE port 9001\n")
    assert run("env")[1].splitlines()[0] == "export OPENAI_BASE_URL=http://127.0.0.1:9001/v1"


def test_a_key_that_is_not_there_is_said(run: Run) -> None:
    write(GOOD + "SERVE api_key env:NO_SUCH_KEY\n")
    code, _, err = run("env")
    assert code == 2
    assert "NO_SUCH_KEY" in err


def test_nothing_running_is_no_error_for_ps_and_down(run: Run) -> None:
    write(GOOD)
    assert run("ps")[0] == 0
    assert json.loads(run("ps", "--json")[1]) == []
    assert run("down")[0] == 0
    code, _, err = run("chat", "hi")
    assert code in (1, 2)
    assert "error[" in err


def test_parse_prints_one_json_line_a_file(run: Run) -> None:
    write("FROM x\nPARAMETER stop a\n", "good")
    write("FROM x\nSTAGE dev {\n}\n", "ours")
    code, out, _ = run("parse", "--as", "ollama", "good", "ours")
    first, second = map(json.loads, out.splitlines())
    assert code == 1
    assert first == {"file": "good", "commands": [{"Name": "model", "Args": "x"}, {"Name": "stop", "Args": "a"}]}
    assert second["file"] == "ours"
    assert "command must be one of" in second["error"]


def test_a_huge_file_is_not_read(run: Run) -> None:
    with Path("Modelfile").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    code, _, err = run("check")
    assert code == 2
    assert "error[too-large]" in err


def test_version_and_help(run: Run) -> None:
    assert run("version")[1].startswith("modelkit ")
    assert json.loads(run("version", "--json")[1])["modelkit"]
    code, out, _ = run("--help")
    assert code == 0
    for word in ("check", "plan", "up", "ps", "logs", "down", "chat", "env", "promote", "engine", "doctor", "version"):
        assert word in out


def test_doctor_says_what_is_missing(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    findings = {f["what"]: f for f in json.loads(out)["findings"]}
    assert code == (1 if any(f["verdict"] == "fail" for f in findings.values()) else 0)
    assert findings["engine vllm (prod)"]["fix"] == "modelkit engine install vllm"


def test_no_colour_when_asked(tmp_path: Path) -> None:
    (tmp_path / "Modelfile").write_text("nonsense\n")
    done = subprocess.run([sys.executable, "-m", "modelkit", "check"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "NO_COLOR": "1"}, timeout=60, check=False)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """`modelkit … | head -1`."""
    done = subprocess.run(f"{sys.executable} -m modelkit doctor | head -1; exit ${{PIPESTATUS[0]}}", shell=True,
                          executable="/bin/bash", capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "MODELKIT_HOME": str(tmp_path)})
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_read_only_home_is_one_error(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "file"))
    write(GOOD)
    Path("model.gguf").write_bytes(b"GGUF")
    code, _, err = run("up", "-d")
    assert code == 2
    assert err.count("error[") == 1
