"""One life of a model under constant load: dev, prod, a worse candidate, a better one, and back; nobody's stream is
cut, and the records tell the whole story."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from openai import OpenAI

from tests.live.cli import exported, free_port, json_of, modelkit
from tests.live.engines import BASE

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]

TEXT = f"""NAME bot
FROM {BASE}
SYSTEM You answer in one short sentence.
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 48
SERVE max_concurrency 4
STAGE dev {{
  ENGINE llama.cpp
}}
STAGE prod {{
  ENGINE vllm
}}
TEST "names the capital" {{
  USER What is the capital of France?
  EXPECT contains "Paris"
}}
"""
QUESTIONS = ("What is the capital of France?", "Name a colour.", "What is two plus two?")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "Modelfile").write_text(TEXT)
    yield tmp_path
    modelkit("down", str(tmp_path), "--drain", "0", code=None)


class Load:
    """Clients that stream without a pause and without a second try."""

    def __init__(self, base_url: str, key: str) -> None:
        self.whole, self.wrong = 0, list[str]()
        self._url, self._key, self._ended = base_url, key, threading.Event()

    @contextmanager
    def running(self) -> Iterator[Load]:
        with ThreadPoolExecutor(len(QUESTIONS)) as pool:
            clients = [pool.submit(self._client, number) for number in range(len(QUESTIONS))]
            try:
                yield self
            finally:
                self._ended.set()
            for client in clients:
                client.result(120)

    def _client(self, number: int) -> None:
        client = OpenAI(base_url=self._url, api_key=self._key, max_retries=0, timeout=120)
        for turn in count():
            if self._ended.wait(0.5):
                return
            try:
                stream = client.chat.completions.create(
                    model="bot", stream=True, messages=[{"role": "user", "content": QUESTIONS[number]}], max_tokens=12,
                    extra_headers={"X-Session-Id": f"client {number}, conversation {turn}"})
                finish = [choice.finish_reason for chunk in stream for choice in chunk.choices if choice.finish_reason]
                self.whole += bool(finish)
                if not finish:
                    self.wrong.append("a stream without an end")
            except Exception as error:
                self.wrong.append(f"{type(error).__name__}: {error}")


def say(folder: Path, before: str, after: str) -> None:
    """The author changes the Modelfile."""
    text = (folder / "Modelfile").read_text()
    assert before in text
    (folder / "Modelfile").write_text(text.replace(before, after))


def served(folder: Path) -> str:
    """The digest of what has the address."""
    modelfile = str((folder / "Modelfile").resolve())
    run = next(one for one in json_of("ps") if one.get("modelfile") == modelfile)
    return str(next(one["digest"] for one in run["generations"] if one["routed"]))


def test_a_whole_life_under_load(folder: Path) -> None:
    modelkit("up", str(folder), "-s", "dev", "-d", "--wait", "--port", str(free_port()))
    said = exported(modelkit("env", str(folder)).stdout)
    with Load(said["OPENAI_BASE_URL"], said["OPENAI_API_KEY"]).running() as load:
        first = json_of("promote", "dev", "prod", str(folder))
        assert first["outcome"] == "promoted" and first["base_url"] == said["OPENAI_BASE_URL"]
        good = served(folder)

        say(folder, "num_predict 48", "num_predict 1")
        refused = json.loads(modelkit("promote", "dev", "prod", str(folder), "--json", code=1).stdout)
        assert [one["id"] for one in refused["error"]["gates"] if one["verdict"] != "pass"] == ["tests"]
        assert served(folder) == good

        say(folder, "num_predict 1", "num_predict 40")
        second = json_of("promote", "dev", "prod", str(folder), "--canary", "50,100", "--each", "10s",
                         "--min-requests", "3", "--max-ratio", "20")
        assert second["gates"][-1]["id"] == "canary"
        assert served(folder) != good

        back = json_of("rollback", "prod", str(folder), "--reason", "the short answers were missed")
        assert back["warm"] and served(folder) == good
        held = modelkit("promote", "dev", "prod", str(folder), code=1)
        assert "error[held]" in held.stderr and "the short answers were missed" in held.stderr
        before = load.whole
        time.sleep(3)
        assert load.whole > before
    assert load.wrong == [] and load.whole > 20
    the_story_is_whole(folder)


def the_story_is_whole(folder: Path) -> None:
    (stage,) = (folder / "promotions" / "bot").iterdir()
    told = [json.loads(path.read_bytes()) for path in sorted(stage.glob("*.json"))]
    assert [one["kind"] for one in told] == ["promote", "refuse", "promote", "rollback"]
    assert told[3]["subject"]["ir"] == told[0]["subject"]["ir"] and told[3]["about"] == told[2]["subject"]["ir"]
    modelkit("history", "verify", "-s", "prod", "-f", str(folder))
    changed = min(stage.glob("*.json"))
    changed.write_bytes(changed.read_bytes().replace(b"Paris", b"Pariz").replace(b'"total": "1"', b'"total": "2"'))
    done = modelkit("history", "verify", "-s", "prod", "-f", str(folder), code=1)
    assert changed.name in done.stdout + done.stderr
