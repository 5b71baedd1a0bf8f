"""`models:` of Compose files, and services that run an engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.exchange import read
from modelkit.exchange.sources import Source
from modelkit.failure import Failure
from tests.unit.exchange.imports import body, checked, losses, reason, take

MODELS = """\
services:
  app:
    image: app
    models:
      llm: {endpoint_var: URL}
models:
  llm:
    model: ai/smollm2:360M
    context_size: ${SIZE:-2048}
    runtime_flags:
      - --temp
      - "0.2"
      - --top-k 20
      - "--a-flag=42"
    x-note: mine
"""
SERVICE = """\
services:
  llm:
    image: vllm/vllm-openai:v0.32.0
    command: >
      --model org/m --max-model-len 4096
      --host 0.0.0.0
    environment: {HF_TOKEN: hf_secret, CUDA_VISIBLE_DEVICES: 0}
    ports: ["9000:8000"]
    ipc: host
  db: {image: postgres}
"""


def test_a_model() -> None:
    found = take("compose", MODELS)
    checked(found)
    assert body(found) == ["NAME llm", "FROM oci://docker.io/ai/smollm2:360M", "PARAMETER temperature 0.2",
                           "PARAMETER top_k 20", "PARAMETER num_ctx 2048", "STAGE dev {", "ENGINE llama.cpp", "}"]
    assert losses(found) == ["--a-flag 42", "x-note: mine"]
    assert losses(found, "approximated") == ["${SIZE:-2048}"]
    assert losses(found, "unneeded") == ["services.app.models.llm"]
    assert reason(found, "x-note").line == 15


def test_a_model_without_flags_has_no_stage() -> None:
    assert body(take("compose", "models: {a: {model: hf.co/o/m-GGUF:Q8_0}}")) == ["NAME a", "FROM hf.co/o/m-GGUF:Q8_0"]


def test_flags_of_vllm_are_vllms() -> None:
    found = take("compose", "models: {a: {model: hf.co/o/m, context_size: 9, runtime_flags: [--max-num-seqs, 3]}}")
    assert {"ENGINE vllm", "STAGE prod {", "SERVE max_concurrency 3", "PARAMETER num_ctx 9"} <= {*body(found)}


def test_a_service() -> None:
    found = take("compose", SERVICE)
    checked(found)
    assert {"NAME llm", "FROM hf.co/org/m", "SERVE port 9000", "PARAMETER num_ctx 4096"} <= {*body(found)}
    assert "hf_secret" not in f"{found}"
    assert "services.llm.ipc" in losses(found, "unneeded")


def test_several_models_are_several() -> None:
    source = Source("compose", "f", "models: {a: {model: x}, b: {}, c: }", Path("/"))
    found = read(source)
    assert [(one.key, one.modelfile is not None) for one in found] == [("a", True), ("b", False), ("c", False)]
    assert found[1].problem is not None and found[1].problem.code == "no-base"


@pytest.mark.parametrize(("text", "message"), [
    ("services: {db: {image: postgres}}", "has no `models:`, and no service of it runs"), ("a: 1", "has no `models:`"),
    ("- 1", "the file is not a mapping"), ("models: 3", "`models` is not a mapping"),
])
def test_other_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(Failure) as refused:
        take("compose", text)
    assert message in refused.value.message
