"""The main promise: one app, one address, dev on llama.cpp, then prod on vLLM, and no stream cut on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.live.cli import ROOT, exported, free_port, json_of, modelkit, parity_of

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("quickstart") / "app"
    shutil.copytree(ROOT / "examples" / "quickstart", folder)
    yield folder
    modelkit("down", str(folder), code=None)


@dataclass
class Load:
    """Streaming clients that never stop asking; every answer must arrive whole."""

    url: str
    key: str
    stopped: threading.Event = field(default_factory=threading.Event)
    whole: int = 0
    broken: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)

    def run(self) -> None:
        client = OpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=120)
        while not self.stopped.is_set():
            try:
                with client.chat.completions.with_streaming_response.create(
                        model="quickstart", messages=[{"role": "user", "content": "Tell me a story."}], stream=True,
                        max_tokens=200, stop=["@never@"]) as answer:
                    self.versions.add(answer.headers["x-modelkit-version"])
                    lines = [line for line in answer.iter_lines() if line]
                events = [json.loads(line[6:]) for line in lines[:-1]]
                finishes = [c["finish_reason"] for e in events for c in e["choices"] if c["finish_reason"]]
                assert lines[-1] == "data: [DONE]", lines[-1]
                assert finishes in (["length"], ["stop"]), finishes
                self.whole += 1
            except Exception as error:
                self.broken.append(repr(error))
                return


def ask(folder: Path, variables: dict[str, str]) -> str:
    """Run the app with exactly these variables beside PATH and HOME."""
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **variables}
    done = subprocess.run([sys.executable, "app.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def says_what_it_has(folder: Path, variables: dict[str, str]) -> None:
    """Nothing drifted; then the Modelfile changes, and what runs does not."""
    said = json.loads(modelkit("status", str(folder), "--drift", "--json").stdout)
    (engine,) = [one for one in said["engines"] if one["serving"]]  # dev is kept warm
    assert said["drift"] is False and engine["effective"]["version"].startswith("0.32")
    assert engine["effective"]["context_length"] == 2048 and engine["effective"]["template"].startswith("sha256:")
    url = variables["OPENAI_BASE_URL"]
    assert modelkit("status", str(folder), "-s", "prod", "--drift", "--url", url).returncode == 0
    modelfile = folder / "Modelfile"
    text = modelfile.read_text("utf-8")
    modelfile.write_text(text.replace("num_ctx 2048", "num_ctx 1024"), "utf-8")
    drifted = modelkit("status", str(folder), "--drift", code=1).stdout
    assert "num_ctx: 1024 is wanted, 2048 runs" in drifted and "lock" in drifted
    modelfile.write_text(text, "utf-8")


def test_the_app_moves_from_dev_to_prod_unchanged(project: Path) -> None:
    port = free_port()
    modelkit("up", str(project), "-s", "dev", "-d", "--wait", "--port", str(port))
    app = hashlib.sha256((project / "app.py").read_bytes()).hexdigest()
    printed = modelkit("env", str(project)).stdout
    variables = exported(printed)
    assert set(variables) == {"OPENAI_BASE_URL", "OPENAI_API_KEY"}
    assert str(port) in variables["OPENAI_BASE_URL"]
    assert ask(project, variables).strip()
    assert serving(project) == ("dev", "llama.cpp")
    assert json.loads(modelkit("status", str(project), "--drift", "--json").stdout)["drift"] is False

    load = Load(variables["OPENAI_BASE_URL"], variables["OPENAI_API_KEY"])
    clients = [threading.Thread(target=load.run) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        done = json.loads(modelkit("promote", "dev", "prod", str(project), "--port", str(port), "--json").stdout)
        time.sleep(5)  # the load goes on against prod
    finally:
        load.stopped.set()
        for client in clients:
            client.join(timeout=120)
    assert load.broken == []
    assert load.whole > 3
    assert len(load.versions) == 2, "the load has seen both engines"

    assert parity_of(done)["differences"] == "0"
    assert int(parity_of(done)["conversations"]) >= 40
    record = json.loads(Path(done["record"]["path"]).read_bytes())
    lock = (project / "Modelfile.lock").read_bytes()
    assert record["subject"]["lock"] == "sha256:" + hashlib.sha256(lock).hexdigest()
    assert record["subject"]["artifacts"][0]["revision"] == "0.1.2"
    assert (record["from"], record["to"], record["subject"]["engine"]["name"]) == ("dev", "prod", "vllm")

    assert serving(project) == ("prod", "vllm")
    says_what_it_has(project, variables)
    assert modelkit("env", str(project)).stdout == printed
    assert ask(project, variables).strip()
    assert hashlib.sha256((project / "app.py").read_bytes()).hexdigest() == app


def test_down_leaves_nothing(project: Path) -> None:
    run = next(r for r in json_of("ps") if Path(r["modelfile"]) == project / "Modelfile")
    modelkit("down", str(project))
    assert [p for p in Path("/proc").glob("[0-9]*/environ") if marked(p, run["run_id"])] == []
    assert not [r for r in json_of("ps") if Path(r["modelfile"]) == project / "Modelfile"]
    modelkit("down", str(project))  # again: nothing to do is not an error


def serving(project: Path) -> tuple[str, str]:
    run = next(r for r in json_of("ps") if Path(r["modelfile"]) == project / "Modelfile")
    routed: dict[str, Any] = next(g for g in run["generations"] if g["id"] == run["routed"])
    return routed["stage"], routed["engine"]


def marked(environ: Path, run_id: str) -> bool:
    try:
        return f"MODELKIT_RUN_ID={run_id}".encode() in environ.read_bytes()
    except OSError:
        return False
