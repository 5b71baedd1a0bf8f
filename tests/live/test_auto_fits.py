"""`QUANTIZE auto` on machines of many sizes: what it takes is loaded and answers, and what it refuses is never loaded.

A machine is made small by a memory control group of its own, where one can be made (its kernel kills what takes more);
else by `ulimit -d`, which counts threads' stacks, too.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.cli import MODELKIT, environment, free_port, json_of, modelkit
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(900)]

MIB = 1 << 20
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
TEXT = "NAME bot\nFROM {base}\nPARAMETER num_ctx {context}\nSERVE max_concurrency {users}\nQUANTIZE auto\n"

GRID = [(512, 1, 300), (512, 1, 250), (512, 1, 215), (2048, 4, 560), (2048, 4, 480), (2048, 16, 800), (2048, 16, 300)]
"""Tokens of a conversation, conversations, MiB of the machine. SmolLM2 in bfloat16 has 257 MiB of weights."""


class Group:
    """A control group whose processes may have so much memory."""

    def __init__(self, name: str) -> None:
        first = (V1 / "memory.limit_in_bytes").exists()
        self.path = (V1 if first else V2) / name
        self.path.mkdir()
        self.limit = self.path / ("memory.limit_in_bytes" if first else "memory.max")
        if not self.limit.exists():  # a tree of groups that does not control memory
            self.path.rmdir()
            raise FileNotFoundError(self.limit)

    def holds(self, size: int) -> None:
        self.limit.write_text(str(size))

    def run(self, *words: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        script = f"echo $$ > {shlex.quote(str(self.path / 'cgroup.procs'))} && exec {shlex.join([MODELKIT, *words])}"
        return _run(script, cwd, env)

    def end(self) -> None:
        for _ in range(100):  # processes that were ended leave in their time
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)


class Limits:
    """The same by `ulimit -d`, for whoever may make no group."""

    def __init__(self) -> None:
        self.size = 0

    def holds(self, size: int) -> None:
        self.size = size

    def run(self, *words: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return _run(f"ulimit -d {self.size // 1024} && exec {shlex.join([MODELKIT, *words])}", cwd, env)

    def end(self) -> None:
        pass


def _run(script: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=cwd, env=env, timeout=300,
                          check=False, stdin=subprocess.DEVNULL)


@pytest.fixture
def small() -> Iterator[Group | Limits]:
    machine: Group | Limits
    try:
        machine = Group(f"modelkit-test-{os.getpid()}")
    except OSError:
        machine = Limits()
    yield machine
    machine.end()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 in bfloat16, so that there is much to choose from."""
    folder = tmp_path_factory.mktemp("base") / "smollm2"
    modelkit("convert", BASE, "--to", "safetensors", "-o", str(folder))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    modelkit("down", str(tmp_path), "--drain", "0", code=None)


def test_what_auto_takes_answers_and_what_it_refuses_is_not_loaded(
        base: Path, folder: Path, small: Group | Limits) -> None:
    taken: dict[tuple[int, int, int], str] = {}
    for context, users, size in GRID:
        (folder / "Modelfile").write_text(TEXT.format(base=base, context=context, users=users))
        (folder / "Modelfile.lock").unlink(missing_ok=True)
        small.holds(size * MIB)
        planned = small.run("plan", "--json", cwd=folder, env=environment())
        assert planned.returncode in (0, 1), planned.stderr
        word = _quantize(json.loads(planned.stdout))
        if word == "auto":
            refused = small.run("up", "-d", "--json", cwd=folder, env=environment())
            assert refused.returncode == 1, refused.stdout
            assert json.loads(refused.stdout)["error"]["code"] == "does-not-fit"
            assert not [one for one in json_of("ps") if one.get("modelfile") == str(folder / "Modelfile")]
            taken[context, users, size] = "refused"
            continue
        taken[context, users, size] = word
        _make(folder, word)
        _serves(folder, context, lambda *words: small.run(*words, cwd=folder, env=environment()))
    assert "refused" in taken.values(), taken
    assert len({*taken.values()}) > 2, taken  # else the grid says little


def _quantize(plan: dict[str, Any]) -> str:
    return next(str(one["value"]) for one in plan["settings"] if one["name"] == "quantize")


def _make(folder: Path, word: str) -> None:
    """The weights are made with all of the machine's memory: what serves is in question."""
    text = (folder / "Modelfile").read_text().replace("QUANTIZE auto", f"QUANTIZE {word}")
    (folder / "made.Modelfile").write_text(text)
    modelkit("build", str(folder / "made.Modelfile"), "-s", "dev")


def _serves(folder: Path, context: int, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """It starts, answers to a prompt that fills the context, and is the same process after it."""
    port = free_port()
    begun = run("up", "-d", "--wait", "--port", str(port))
    assert begun.returncode == 0, begun.stderr
    body = {"model": "bot", "prompt": "word " * (context - 40), "max_tokens": 8, "temperature": 0}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        assert json.load(answer)["usage"]["prompt_tokens"] > context - 60
    status = json_of("ps", cwd=folder)
    mine = next(one for one in status if one.get("modelfile") == str((folder / "Modelfile").resolve()))
    assert all(one.get("restarts", 0) == 0 for one in mine.get("generations", [mine])), mine
    modelkit("down", str(folder), "--drain", "0")
