"""Tokens of the real model: their probabilities, what a grammar makes of them, and what can be guessed of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest

from tests.live.llamacpp.process import PLACES, ROOT, Process, gguf, python
from tests.live.llamacpp.schemas import SCHEMAS

pytestmark = pytest.mark.live_llamacpp


@pytest.fixture(scope="module")
def drawn() -> Iterator[dict[str, Any]]:
    done = subprocess.run([python(), "-P", "-m", "tests.live.llamacpp.drawn", gguf()], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)


def test_log_probabilities_are_numpys(drawn: dict[str, Any]) -> None:
    ours = drawn["logprobs"]
    assert ours["top"][0] == ours["top"][1]
    assert ours["token"][0] == pytest.approx(ours["token"][1], abs=1e-4)
    assert ours["likeliest"][0] == pytest.approx(ours["likeliest"][1], abs=1e-4)
    assert ours["prompt"][0] == pytest.approx(ours["prompt"][1], abs=1e-4)


def test_grammars_shape_what_the_model_says(drawn: dict[str, Any]) -> None:
    expression, choice, tool = drawn["grammars"]
    assert re.fullmatch(r"[A-Z][a-z]{2,8} [0-9]{2}<\|im_end\|>", expression)
    assert choice in ("maybe<|im_end|>", "é🙂<|im_end|>")
    assert tool == '<tool_call>"a"<|im_start|>x<|im_end|>'


def test_a_draft_that_is_the_model_itself_guesses_right(drawn: dict[str, Any]) -> None:
    guessed = drawn["guesses"]
    assert guessed["draft"]
    assert guessed["draft"] == guessed["said"][: len(guessed["draft"])]
    assert guessed["again"] == guessed["said"][1: 1 + len(guessed["again"])]
    assert guessed["ngram"] == [" Italy", " is", " Rome"]


def answered(engine: Process, name: str) -> tuple[str, str]:
    shape = {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMAS[name]}}
    answer = engine.post("/v1/chat/completions", messages=[{"role": "user", "content": "Give an example."}],
                         temperature=1, seed=len(name), max_tokens=250, response_format=shape)
    choice = answer["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def test_every_schema_gives_what_it_asks_for(engine: Process) -> None:
    with ThreadPoolExecutor(PLACES) as pool:
        answers = dict(zip(SCHEMAS, pool.map(lambda name: answered(engine, name), SCHEMAS), strict=True))
    for name, (text, finish) in answers.items():
        if finish == "stop":
            jsonschema.validate(json.loads(text), SCHEMAS[name])
    # At temperature 1, beside others, a text or a list may be longer than was asked for: most are not.
    assert sum(finish != "stop" for _, finish in answers.values()) <= len(SCHEMAS) // 3, answers


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_grammar_that_is_none_is_a_400_that_names_it(engine: Process, path: str) -> None:
    asked: dict[str, Any] = {"prompt": "x"} if path == "/v1/completions" else \
        {"messages": [{"role": "user", "content": "x"}]}
    for kind, value in (("regex", "("), ("regex", "a(?=b)"), ("grammar", "start: no"), ("json", {"type": "thing"})):
        error = engine.refused(path, **asked, structured_outputs={kind: value})
        assert (error["param"], error["code"]) == (f"structured_outputs.{kind}", "invalid_value")


def test_a_seed_says_the_same_again_whatever_else_is_answered(engine: Process) -> None:
    def say(seed: int) -> str:
        answer = engine.post("/v1/completions", prompt="Once upon a time", temperature=1, seed=seed, max_tokens=24,
                             ignore_eos=True)
        return str(answer["choices"][0]["text"])

    alone = say(7)
    with ThreadPoolExecutor(PLACES) as pool:
        beside = list(pool.map(say, (7, 8, 7, 9)))
    assert say(7) == alone
    assert beside[1] != beside[3]
    assert len(set(beside)) <= 4  # a batch's own rounding may show; the seed's numbers are its own
