"""The dev stage as a user runs it: modelkit's own engine on real llama.cpp, the real command line, a real client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.live.cli import MODELKIT, environment, exported, free_port, json_of, modelkit, parity_of
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(300)]

TEXT = f"""NAME bot
FROM {BASE}
SYSTEM You answer in one short sentence.
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 40
SERVE max_concurrency 2
"""
HELLO = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "Modelfile").write_text(TEXT)
    yield tmp_path
    modelkit("down", str(tmp_path), "--drain", "0", code=None)
    assert run_of(tmp_path) is None


def run_of(folder: Path) -> dict[str, Any] | None:
    modelfile = str((folder / "Modelfile").resolve())
    return next((r for r in json_of("ps") if r.get("modelfile") == modelfile), None)


def marked(run_id: str) -> list[int]:
    """The living processes of a run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"MODELKIT_RUN_ID={run_id}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def eventually(true: Callable[[], Any], seconds: float = 30) -> Any:
    until = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < until:
        time.sleep(0.1)
    assert value
    return value


def client_of(folder: Path, **env: str) -> OpenAI:
    variables = exported(modelkit("env", str(folder), env=environment(**env)).stdout)
    return OpenAI(base_url=variables["OPENAI_BASE_URL"], api_key=variables["OPENAI_API_KEY"], max_retries=0)


def test_it_runs_on_our_own_engine_and_is_as_planned(folder: Path) -> None:
    (folder / "Modelfile").write_text(TEXT.replace("num_ctx 1024", "num_ctx 1000"))
    said = json_of("plan", str(folder))
    assert said["engine"]["provider"] == "llama-cpp-python" and "goes first" in said["provider"]
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()))
    (one,) = json_of("status", str(folder), "--drift")["engines"]
    assert one["effective"]["context_length"] == 1000 and one["effective"]["version"] == said["engine"]["version"]
    assert not one["drift"]


def test_up_twice_changes_nothing_and_a_change_swaps(folder: Path) -> None:
    port = free_port()
    first = json_of("up", str(folder), "-d", "--wait", "--port", str(port))
    assert first["outcome"] == "started"
    before = run_of(folder)
    assert before is not None
    again = json_of("up", str(folder), "-d", "--wait")
    assert again["outcome"] == "unchanged"
    assert [g["pid"] for g in run_of(folder)["generations"]] == [g["pid"] for g in before["generations"]]  # type: ignore[index]

    (folder / "Modelfile").write_text(TEXT.replace("num_predict 40", "num_predict 3"))
    changed = json_of("up", str(folder), "-d", "--wait")
    assert changed["outcome"] == "switched"
    assert changed["base_url"] == first["base_url"]
    (generation,) = run_of(folder)["generations"]  # type: ignore[index]
    assert generation["pid"] != before["generations"][0]["pid"]
    answer = client_of(folder).chat.completions.create(model="bot", messages=HELLO)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 3
    assert generation["rss"] < 1.5e9


def test_values_of_args_are_remembered_and_texts_from_files_watched(folder: Path) -> None:
    system = TEXT.replace("SYSTEM You answer in one short sentence.", "ARG TONE\nSYSTEMFILE ${TONE}.txt")
    (folder / "Modelfile").write_text(system)
    (folder / "terse.txt").write_text("Be terse.")
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()), "--arg", "TONE=terse")
    (one,) = json_of("status", str(folder), "--drift")["engines"]
    assert not one["drift"]
    assert client_of(folder).chat.completions.create(model="bot", messages=HELLO).choices
    (folder / "terse.txt").write_text("Be kind.")
    done = modelkit("status", str(folder), "--drift", code=1)
    assert "system: Be kind. is wanted, Be terse. runs" in done.stdout
    modelkit("down", str(folder))
    assert "missing-argument" in modelkit("status", str(folder), code=1).stderr


def test_two_ups_at_once_start_one_engine(folder: Path) -> None:
    port = str(free_port())
    both = [subprocess.Popen([MODELKIT, "up", str(folder), "-d", "--wait", "--port", port, "--json"],
                             env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    for one in both:
        out, err = one.communicate(timeout=120)
        assert one.returncode == 0, out + err
    run = run_of(folder)
    assert run is not None
    assert len(run["generations"]) == 1


def test_ctrl_c_drains_an_attached_run(folder: Path) -> None:
    up = attached(folder)
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=60)
    assert up.returncode == 130
    assert "Traceback" not in err
    assert run_of(folder) is None


def test_an_attached_run_ends_with_its_command(folder: Path) -> None:
    up = attached(folder)
    run = run_of(folder)
    assert run is not None
    assert marked(run["run_id"])
    up.kill()
    up.communicate()
    eventually(lambda: not marked(run["run_id"]))
    assert run_of(folder) is None


def attached(folder: Path) -> subprocess.Popen[str]:
    up = subprocess.Popen([MODELKIT, "up", str(folder), "--port", str(free_port())], env=environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: any(g["routed"] for g in (run_of(folder) or {"generations": []})["generations"]), 60)
    assert up.poll() is None
    return up


@pytest.mark.parametrize("victim", ["supervisor", "engine"])
def test_kill_9_is_put_right_by_the_next_command(folder: Path, victim: str) -> None:
    port = str(free_port())
    modelkit("up", str(folder), "-d", "--wait", "--port", port)
    run = run_of(folder)
    assert run is not None
    os.kill(run["pid"] if victim == "supervisor" else run["generations"][0]["pid"], signal.SIGKILL)
    if victim == "supervisor":
        eventually(lambda: not marked(run["run_id"]))
    else:
        eventually(lambda: any(g["phase"] == "ready" and g["restarts"] for g in run_of(folder)["generations"]))  # type: ignore[index]
    modelkit("up", str(folder), "-d", "--wait", "--port", port)
    answer = client_of(folder).chat.completions.create(model="bot", messages=HELLO)
    assert "Paris" in str(answer.choices[0].message.content)


def test_a_key_once_set_is_asked_for_on_every_call(folder: Path) -> None:
    port, key = str(free_port()), "correct-horse-battery-staple"
    with_key = environment(MODELKIT_API_KEY=key)
    modelkit("up", str(folder), "-d", "--wait", "--port", port, env=with_key)
    good = client_of(folder, MODELKIT_API_KEY=key)
    assert good.models.list().data[0].id == "bot"
    assert good.chat.completions.create(model="bot", messages=HELLO).choices
    bad = OpenAI(base_url=str(good.base_url), api_key="wrong", max_retries=0)
    for call in (bad.models.list, lambda: bad.chat.completions.create(model="bot", messages=HELLO)):
        with pytest.raises(openai.AuthenticationError):
            call()
    # A later command without the key in its environment does not open the door.
    modelkit("up", str(folder), "-d", "--wait")
    with pytest.raises(openai.AuthenticationError):
        bad.models.list()
    assert good.models.list().data
    logs = modelkit("logs", str(folder)).stdout
    assert key not in logs
    run = run_of(folder)
    assert run is not None
    for pid in (run["pid"], *marked(run["run_id"])):
        assert key.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_beyond_loopback_needs_a_key(folder: Path) -> None:
    done = modelkit("up", str(folder), "-d", "--host", "0.0.0.0", "--port", str(free_port()), code=2)
    assert "error[key-required]" in done.stderr
    assert run_of(folder) is None


def test_a_busy_port_names_its_holder(folder: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = modelkit("up", str(folder), "-d", "--wait", "--port", str(port), code=2)
    assert "error[port-busy]" in done.stderr
    assert str(os.getpid()) in done.stderr
    assert run_of(folder) is None


def test_another_stage_does_not_take_the_address(folder: Path) -> None:
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()))
    done = modelkit("up", str(folder), "-s", "experiment", "-d", "--wait", code=2)
    assert "error[stage-busy]" in done.stderr
    assert "modelkit promote dev experiment" in done.stderr


def test_an_engine_that_dies_at_start_says_why(folder: Path) -> None:
    (folder / "Modelfile").write_text(TEXT + "STAGE dev {\n  FLAG --kv-tokens 10\n}\n")
    done = modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()), code=2)
    assert done.stderr.count("error[") == 1
    assert "  | " in done.stderr, "its last lines"
    assert "`FLAG --kv-tokens 10` is less than `num_ctx`" in done.stderr
    eventually(lambda: run_of(folder) is None)


def test_logs_are_there_when_all_is_down(folder: Path) -> None:
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()))
    modelkit("down", str(folder))
    assert modelkit("logs", str(folder)).stdout.strip()


def test_chat_asks_from_the_command_line_and_from_a_pipe(folder: Path) -> None:
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()))
    assert "Paris" in modelkit("chat", "-f", str(folder), "What is the capital of France?").stdout
    piped = subprocess.run([MODELKIT, "chat", "-f", str(folder)], input="What is the capital of France?",
                           capture_output=True, text=True, env=environment(), timeout=60, check=True)
    assert "Paris" in piped.stdout


def test_a_detached_up_returns_before_the_engine_is_ready(folder: Path) -> None:
    said = json_of("up", str(folder), "-d", "--port", str(free_port()))
    assert said["outcome"] == "starting"
    eventually(lambda: any(g["routed"] for g in run_of(folder)["generations"]), 60)  # type: ignore[index]


def test_promote_between_stages_of_one_engine_is_recorded(folder: Path) -> None:
    """dev to a staging stage that runs llama.cpp too: the same road as to vLLM, in seconds."""
    (folder / "Modelfile").write_text(TEXT + "STAGE staging EXTENDS prod {\n  ENGINE llama.cpp\n}\n")
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()))
    done = json_of("promote", "dev", "staging", str(folder))
    assert parity_of(done)["differences"] == "0"
    assert Path(done["record"]["path"]).is_file()
    now = {one["stage"]: one for one in run_of(folder)["generations"]}  # type: ignore[index]
    assert now["staging"]["routed"] and not now["dev"]["routed"] and now["dev"]["warm"] > 0


def test_promote_refuses_a_stage_that_means_something_else(folder: Path) -> None:
    (folder / "Modelfile").write_text(
        TEXT + 'STAGE staging EXTENDS prod {\n  ENGINE llama.cpp\n  SYSTEM You answer in French.\n}\n')
    modelkit("up", str(folder), "-d", "--wait", "--port", str(free_port()))
    done = modelkit("promote", "dev", "staging", str(folder), code=1)
    assert "error[promotion-refused]" in done.stderr
    assert "parity: fail" in done.stderr
    (generation,) = run_of(folder)["generations"]  # type: ignore[index]
    assert generation["stage"] == "dev"
    (record,) = (folder / "promotions").glob("*/staging/*.json")
    assert json.loads(record.read_bytes())["kind"] == "refuse"
