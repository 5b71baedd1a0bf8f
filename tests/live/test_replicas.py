"""Two real vLLMs behind one address: one killed under load, one taken away and another added under load."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelkit.runtime.probe import ask
from tests.live.cli import free_port, json_of, modelkit
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(600)]

MODELFILE = f"""NAME tiny
FROM {BASE}
PARAMETER temperature 0
PARAMETER num_ctx 512
PARAMETER num_predict 24
STAGE prod {{
  SERVE max_concurrency 4
  SERVE replicas %d
}}
"""
CLIENTS = 6
START = 240  # seconds; it only bounds a failing test


class Stage:
    """The stage under test; `scale` is an `up` with another number of replicas."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def scale(self, replicas: int) -> Any:
        (self.folder / "Modelfile").write_text(MODELFILE % replicas, "utf-8")
        return json_of("up", str(self.folder), "-s", "prod", "-d", "--wait", "--port", str(self.port))

    def status(self) -> dict[str, Any]:
        (run,) = [run for run in json_of("ps") if run.get("modelfile") == str((self.folder / "Modelfile").resolve())]
        (generation,) = run["generations"]
        return dict(generation)

    def answered(self) -> dict[int, float]:
        """How many requests each vLLM has answered, as it says itself."""
        found = {}
        for replica in self.status()["replicas"]:
            _, text = asyncio.run(ask(Path(replica["socket"]), "GET", "/metrics"))
            counts = re.findall(rb"^vllm:request_success_total\{.*\} (\S+)$", text, re.M)
            found[replica["replica"]] = sum(map(float, counts))
        return found


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    folder = Path(tempfile.mkdtemp(prefix="modelkit-live-"))
    made = Stage(folder)
    try:
        made.scale(2)
        yield made
    finally:
        modelkit("down", str(folder), "--drain", "2")
        shutil.rmtree(folder)


class Load:
    """What clients got: the whole answers, those that broke after they had begun, and all others."""

    def __init__(self, url: str) -> None:
        self.url, self.ended = url, threading.Event()
        self.whole = 0
        self.broken: list[str] = []
        self.lost: list[str] = []

    def run(self, number: int) -> None:
        with httpx.Client(timeout=120) as client:
            while not self.ended.is_set():
                self._ask(client, stream=number % 2 == 0)

    def _ask(self, client: httpx.Client, *, stream: bool) -> None:
        begun, text = False, ""
        try:
            body = {"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": "Count."}]}
            with client.stream("POST", self.url, json=body) as response:
                begun = stream and response.status_code == 200
                text = response.read().decode()
        except httpx.HTTPError as error:
            text += f" {type(error).__name__}: {error}"
        if "data: [DONE]" in text or (not stream and '"finish_reason":"' in text):
            self.whole += 1
        else:
            (self.broken if begun else self.lost).append(text[-300:])


@contextmanager
def load(stage: Stage) -> Iterator[Load]:
    made = Load(stage.url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(made.run, number) for number in range(CLIENTS)]
        try:
            wait_for(lambda: made.whole >= CLIENTS)
            yield made
        finally:
            made.ended.set()
            for one in asking:
                one.result(120)


def wait_for(holds: Callable[[], Any]) -> None:
    until = time.monotonic() + START
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_both_answer(stage: Stage) -> None:
    before = stage.answered()
    with load(stage) as made:
        wait_for(lambda: made.whole >= 4 * CLIENTS)
    assert (made.lost, made.broken) == ([], [])
    grown = {replica: count - before[replica] for replica, count in stage.answered().items()}
    assert set(grown) == {1, 2} and min(grown.values()) >= CLIENTS, grown


def test_one_is_killed_under_load(stage: Stage) -> None:
    """No request is lost that had not begun to be answered; it comes back by itself and answers again."""
    victim = stage.status()["replicas"][0]
    with load(stage) as made:
        os.kill(victim["pid"], signal.SIGKILL)
        now = made.whole
        wait_for(lambda: made.whole >= now + 4 * CLIENTS)
    assert made.lost == []
    assert len(made.broken) <= CLIENTS // 2, "at most the streams that were open"
    assert all('"engine_stopped"' in text for text in made.broken), made.broken
    wait_for(lambda: stage.status()["ready"] == 2)
    assert stage.status()["replicas"][0]["restarts"] == 1


def test_one_is_swapped_for_another_under_load(stage: Stage) -> None:
    """Out of the balancer, until it has no request, SIGTERM; then another is started, and added when it is ready."""
    wait_for(lambda: stage.status()["ready"] == 2)
    stays = stage.status()["replicas"][0]["pid"]
    with load(stage) as made:
        assert stage.scale(1)["outcome"] == "scaled"
        assert [replica["pid"] for replica in stage.status()["replicas"]] == [stays]
        assert stage.scale(2)["outcome"] == "scaled"
        now = made.whole
        wait_for(lambda: made.whole >= now + 2 * CLIENTS)
    assert (made.lost, made.broken) == ([], [])
    assert stage.status()["replicas"][0]["pid"] == stays
    assert min(stage.answered().values()) >= 1
    assert json.dumps(stage.status()).count('"ready"') >= 4  # the generation, its engines and the balancer
