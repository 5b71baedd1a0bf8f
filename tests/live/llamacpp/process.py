"""The dev engine's process with the real model: started as modelkit starts it, spoken to over its socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import openai

from modelkit import models
from modelkit.contract.profile import Profile
from modelkit.llamacpp.config import Config
from modelkit.runtime.environments import find_tool
from tests.live.engines import BASE

ROOT = Path(__file__).parents[3]
NAME, CONTEXT, PLACES = "tiny", 512, 4
STARTED = "modelkit: llama.cpp: ready"
PROGRAM = ("-m", "modelkit.llamacpp")


@cache
def python() -> str:
    """A Python that has llama-cpp-python and what the engine needs beside it."""
    tool = find_tool("quantizer")
    assert tool is not None, "llama-cpp-python is not here: modelkit engine install llama.cpp"
    return tool.python


@cache
def gguf() -> str:
    return str(models.acquire(BASE).path)


class Process:
    """One process, and clients of it."""

    def __init__(self, folder: Path, profile: Profile | None = None, program: tuple[str, ...] = PROGRAM,
                 **config: Any) -> None:
        self.folder, self.socket = folder, folder / "s"
        given = profile or Profile(NAME, "llamacpp", CONTEXT, defaults={"temperature": 0})
        (folder / "profile.json").write_text(json.dumps(given.as_json()))
        said: dict[str, Any] = {
            "model": gguf(), "socket": str(self.socket), "profile": str(folder / "profile.json"), "fingerprint": "test",
            "context_length": CONTEXT, "max_concurrency": PLACES, "threads": 1, **config}
        (folder / "config.json").write_text(json.dumps(Config(**said).as_json()))
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [python(), "-P", *program, "--config", str(folder / "config.json")], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def ready(self) -> Process:
        eventually(lambda: STARTED in self.said or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.said
        self.http = httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://engine",
                                 timeout=120)
        self.openai = openai.OpenAI(base_url="http://engine/v1", api_key="none", http_client=self.http, max_retries=0)
        return self

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    def post(self, path: str, **fields: Any) -> dict[str, Any]:
        answer = self.http.post(path, json={"model": NAME, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, path: str, status: int = 400, **fields: Any) -> dict[str, Any]:
        answer = self.http.post(path, json={"model": NAME, **fields})
        assert answer.status_code == status, answer.text
        return answer.json()["error"]

    def metric(self, name: str) -> float:
        """The sample of a metric that has one; labels may follow its name."""
        found = [line for line in self.http.get("/metrics").text.splitlines() if line.startswith(f"vllm:{name}")]
        assert len(found) == 1, found
        return float(found[0].rpartition(" ")[2])

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running(profile: Profile | None = None, program: tuple[str, ...] = PROGRAM, **config: Any) -> Iterator[Process]:
    """A process that is not yet ready; it is gone afterwards, however it went."""
    folder = tempfile.mkdtemp(prefix="mk-")  # short: a socket's path has a hundred bytes
    process = Process(Path(folder), profile, program, **config)
    try:
        yield process
    finally:
        process.end()
        shutil.rmtree(folder)


def eventually(true: Callable[[], Any], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)
