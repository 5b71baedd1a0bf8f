"""One random adapter on both real engines: the base is the base, the adapter is another model, the same on both."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.live.cli import free_port, json_of, modelkit, parity_of
from tests.live.engines import BASE
from tests.live.lora_adapter import random_adapter

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]

FILE = f"""NAME tiny
FROM {BASE}
@ADAPTERS@SYSTEM You are a helpful assistant.
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 12
PARAMETER stop "."
SERVE max_concurrency 2
STAGE prod {{
  ENGINE vllm
}}
"""
QUESTIONS = ("What is the capital of France?", "Write one sentence about the sea.", "Name a colour.",
             "How many legs does a spider have?", "Who wrote Hamlet?", "What do bees make?",
             "Say hello in Spanish.", "What is 2 plus 2?")


def with_adapters(lines: str) -> str:
    return FILE.replace("@ADAPTERS@", lines)


@dataclass
class Heard:
    """What one engine answered: by model name and question, the text and the first token's log-probabilities."""

    texts: dict[tuple[str, str], str]
    first: dict[tuple[str, str], dict[str, float]]

    def likeliest(self, model: str, question: str) -> str:
        """The first token of the greedy answer."""
        first = self.first[model, question]
        return max(first, key=first.__getitem__)

    def distance(self, other: Heard, mine: str, its: str) -> float:
        """How far the first tokens' probabilities are from another model's: 0 the same, 1 nothing in common."""
        total = 0.0
        for question in QUESTIONS:
            one, two = self.first[mine, question], other.first[its, question]
            total += sum(abs(exp(one.get(t, -99)) - exp(two.get(t, -99))) for t in {*one, *two}) / 2
        return total / len(QUESTIONS)


def listen(url: str, *models: str) -> Heard:
    client, heard = openai.OpenAI(base_url=url, api_key="none"), Heard({}, {})
    for model in models:
        for question in QUESTIONS:
            answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}],
                                                    max_tokens=8, logprobs=True, top_logprobs=20)
            assert answer.model == model
            choice = answer.choices[0]
            assert choice.logprobs is not None and choice.logprobs.content is not None
            heard.texts[model, question] = choice.message.content or ""
            heard.first[model, question] = {t.token: t.logprob for t in choice.logprobs.content[0].top_logprobs}
    return heard


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("lora")
    random_adapter(folder / "kind", seed=1)
    yield folder
    modelkit("down", str(folder), "--drain", "1", code=None)


@dataclass
class Stages:
    """The same Modelfile without its adapter, then with it on each engine, one after the other behind one address."""

    url: str
    bare: Heard
    dev: Heard
    prod: Heard
    promoted: dict[str, Any]
    lock: dict[str, Any]


@pytest.fixture(scope="module")
def stages(folder: Path) -> Stages:
    file, port = folder / "Modelfile", str(free_port())
    url = f"http://127.0.0.1:{port}/v1"
    file.write_text(with_adapters(""))
    modelkit("up", str(folder), "-d", "--wait", "--port", port)
    bare = listen(url, "tiny")
    file.write_text(with_adapters("ADAPTER ./kind AS org/kind\n"))
    modelkit("up", str(folder), "-d", "--wait", "--port", port)
    dev = listen(url, "tiny", "org/kind")
    promoted = json_of("promote", "dev", "prod", str(folder), "--port", port)
    return Stages(url, bare, dev, listen(url, "tiny", "org/kind"), promoted,
                  tomllib.loads((folder / "Modelfile.lock").read_text()))


def test_the_base_is_as_without_the_adapter(stages: Stages) -> None:
    for question in QUESTIONS:
        assert stages.dev.texts["tiny", question] == stages.bare.texts["tiny", question]
    assert stages.dev.distance(stages.bare, "tiny", "tiny") < 1e-3
    assert stages.prod.distance(stages.bare, "tiny", "tiny") < 0.15
    assert "Paris" in stages.prod.texts["tiny", QUESTIONS[0]]


def test_the_adapter_is_another_model_and_the_same_on_both_engines(stages: Stages) -> None:
    between = stages.dev.distance(stages.prod, "org/kind", "org/kind")
    for heard in (stages.dev, stages.prod):
        assert heard.distance(heard, "org/kind", "tiny") > max(0.2, 3 * between)
    same = [stages.dev.likeliest("org/kind", q) == stages.prod.likeliest("org/kind", q) for q in QUESTIONS]
    assert sum(same) >= len(QUESTIONS) - 2


def test_promotion_says_which_adapter_and_the_lock_has_it(stages: Stages, folder: Path) -> None:
    assert parity_of(stages.promoted)["differences"] == "0"
    (record,) = (folder / "promotions").glob("*/prod/*.json")
    artifacts = json.loads(record.read_text())["subject"]["artifacts"]
    assert [(one["id"], one["uri"]) for one in artifacts] == [("weights", BASE), ("adapter org/kind", "./kind")]
    by_name = {stage["name"]: stage["adapters"] for stage in stages.lock["stage"] if "adapters" in stage}
    (dev,), (prod,) = by_name["dev"], by_name["prod"]
    assert dev["name"] == prod["name"] == "org/kind" and dev["artifact"] == prod["artifact"] == "./kind"
    assert dev["tool"] and dev["output"].startswith("sha256:") and "tool" not in prod
    modelkit("lock", str(folder), "--check")


def test_both_names_are_listed_and_no_other_is_served(stages: Stages) -> None:
    listed = httpx.get(f"{stages.url}/models").json()["data"]
    assert [(one["id"], one.get("parent")) for one in listed] == [("tiny", None), ("org/kind", "tiny")]
    for name in ("kind", "tiny@base"):
        refused = httpx.post(f"{stages.url}/chat/completions", json={
            "model": name, "messages": [{"role": "user", "content": "Hi"}]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")


def test_an_adapter_streams_with_the_modelfiles_defaults(stages: Stages) -> None:
    client = openai.OpenAI(base_url=stages.url, api_key="none")
    ask: Any = {"model": "org/kind", "messages": [{"role": "user", "content": QUESTIONS[0]}]}
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True))
    assert {chunk.model for chunk in chunks} == {"org/kind"}
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole.choices[0].message.content
    assert whole.usage is not None and whole.usage.completion_tokens <= 12
    assert "." not in (whole.choices[0].message.content or "")
    written = client.chat.completions.create(**{**ask, "messages": [
        {"role": "system", "content": "You are a helpful assistant."}, *ask["messages"]]})
    assert written.usage == whole.usage


def test_an_adapter_without_a_name_is_part_of_the_model(stages: Stages, folder: Path, tmp_path: Path) -> None:
    """On llama.cpp alone: to vLLM it is the same flag with another name in it."""
    (tmp_path / "Modelfile").write_text(with_adapters(f"ADAPTER {folder / 'kind'}\n"))
    port = str(free_port())
    try:
        modelkit("up", str(tmp_path), "-d", "--wait", "--port", port)
        url = f"http://127.0.0.1:{port}/v1"
        assert [one["id"] for one in httpx.get(f"{url}/models").json()["data"]] == ["tiny"]
        assert listen(url, "tiny").distance(stages.dev, "tiny", "org/kind") < 1e-3
    finally:
        modelkit("down", str(tmp_path), "--drain", "1")
