"""Configs of llama-swap."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.exchange import read
from modelkit.exchange.sources import Source
from modelkit.failure import Failure
from tests.unit.exchange.imports import body, checked, losses, reason, take

CONFIG = """\
globalTTL: 300
apiKeys: [sk-hunter2]
macros:
  latest: >
    /opt/llama-server
    --port ${PORT}
  ctx: 4096
  args: --ctx-size ${ctx}
models:
  big:
    macros: {ctx: 16384}
    cmd: |
      # a comment
      ${latest} --model ${env.HOME}/m/x.gguf
      ${args} -ot "blk\\\\.(0|1)=CPU"
    ttl: 60
    env: ["CUDA_VISIBLE_DEVICES=0"]
    aliases: [gpt-4o, {id: y}]
    description: the big one
    checkEndpoint: /health
    filters:
      stripParams: top_k
      setParams: {temperature: 0.5, stop: [a, b], chat_template_kwargs: {reasoning_effort: high}, foo: 1}
hooks: {on_startup: {preload: [big]}}
"""


def test_a_model() -> None:
    found = take("llama-swap", CONFIG)
    checked(found)
    assert body(found) == [
        "NAME big", "FROM ~/m/x.gguf", "PARAMETER num_ctx 16384", "PARAMETER temperature 0.5", 'PARAMETER stop "a"',
        'PARAMETER stop "b"', "STAGE dev {", "ENGINE llama-server", "SERVE keep_alive 60s", "SERVE thinking high",
        "SERVE api_key env:MODELKIT_API_KEY", "FLAG --override-tensor blk\\.(0|1)=CPU", "}"]
    assert losses(found) == ["CUDA_VISIBLE_DEVICES=…", "aliases: gpt-4o, y", "description: the big one",
                             "filters.stripParams", "setParams.foo 1", "hooks"]
    assert reason(found, "hooks").line == 24
    assert "hunter2" not in f"{found}"


def test_the_environment_is_read_but_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "/srv/models")
    monkeypatch.setenv("MY_KEY", "sk-1")
    text = "models: {a: {cmd: 'llama-server -m ${env.MODELS}/a.gguf --api-key ${env.MY_KEY} --port ${PORT}'}}"
    found = take("llama-swap", text)
    assert {"FROM /srv/models/a.gguf", "SERVE api_key env:MY_KEY"} <= {*body(found)}
    assert "sk-1" not in f"{found}"
    assert losses(found, "approximated") == ["${env.MODELS}"]


def test_each_model_stands_alone() -> None:
    text = "models: {a: {cmd: python x.py}, b: {cmd: 'vllm serve o/m --port ${PORT}'}, c: {}, d: {cmd: \"x 'y\"}}"
    found = read(Source("llama-swap", "f.yaml", text, Path("/")))
    assert [one.problem.message if one.problem else "" for one in found] == [
        "f.yaml:1: `models.a.cmd` starts neither vLLM nor llama-server; it starts with `python`", "",
        "f.yaml:1: `models.c.cmd` is missing",
        "f.yaml:1: `models.d.cmd` cannot be split into words: no closing quotation"]


@pytest.mark.parametrize("macros", ["{a: '${b}', b: '${a}'}", "{a: '${a}${a}'}"])
def test_macros_without_an_end_are_refused(macros: str) -> None:
    with pytest.raises(Failure, match=r"hold each other|longer than"):
        found = take("llama-swap", f"macros: {macros}\nmodels: {{m: {{cmd: '${{a}}'}}}}")
        assert found.problem is not None
        raise found.problem


def test_another_file_is_refused() -> None:
    with pytest.raises(Failure, match="has no `models:`"):
        take("llama-swap", "a: 1")
