"""LM Studio's model.yaml."""

from __future__ import annotations

import pytest

from modelkit.failure import Failure
from tests.unit.exchange.imports import body, checked, losses, reason, take

MODEL = """\
model: qwen/qwen3-8b
base:
  - key: lmstudio-community/qwen3-8b-mlx-4bit
    sources: [{type: huggingface, user: lmstudio-community, repo: Qwen3-8B-MLX-4bit}]
  - key: lmstudio-community/qwen3-8b-gguf
    sources: [{type: huggingface, user: lmstudio-community, repo: Qwen3-8B-GGUF}]
metadataOverrides: {domain: llm}
config:
  operation:
    fields:
      - {key: llm.prediction.systemPrompt, value: "Be\\nterse."}
      - {key: llm.prediction.topKSampling, value: 20}
      - {key: llm.prediction.topPSampling, value: {checked: true, value: 0.9}}
      - {key: llm.prediction.minPSampling, value: {checked: false, value: 0.1}}
      - {key: llm.prediction.stopStrings, value: ["<|x|>", b]}
      - {key: llm.prediction.tools, value: {}}
      - key: llm.prediction.promptTemplate
        value: {type: jinja, jinjaPromptTemplate: {template: "{% if a %}x{% endif %}"}}
  load:
    fields:
      - {key: llm.load.contextLength, value: 4096}
      - {key: llm.load.llama.acceleration.offloadRatio, value: 0.5}
      - {key: llm.load.llama.kCacheQuantizationType, value: {checked: true, value: q8_0}}
      - {key: llm.load.llama.vCacheQuantizationType, value: {checked: true, value: q8_0}}
customFields:
  - {key: t, type: boolean, defaultValue: true, effects: [{type: setJinjaVariable, variable: enable_thinking}]}
  - {key: u, type: string, defaultValue: x, effects: [{type: appendSystemPrompt}]}
"""


def test_a_model() -> None:
    found = take("lmstudio", MODEL)
    checked(found)
    assert body(found) == [
        "NAME qwen/qwen3-8b", "FROM hf.co/lmstudio-community/Qwen3-8B-GGUF",
        'TEMPLATE """{% if a %}x{% endif %}"""', 'SYSTEM """Be', 'terse."""', "PARAMETER top_k 20",
        "PARAMETER top_p 0.9", 'PARAMETER stop "<|x|>"', 'PARAMETER stop "b"', "PARAMETER num_ctx 4096", "STAGE dev {",
        "SERVE kv_cache q8_0", "SERVE thinking true", "}"]
    assert losses(found) == ["base lmstudio-community/qwen3-8b-mlx-4bit", "llm.prediction.tools",
                             "llm.load.llama.acceleration.offloadRatio: 0.5", "customFields u"]
    assert losses(found, "unneeded") == ["metadataOverrides"]
    assert reason(found, "metadataOverrides").line == 7


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1", "has no `model: publisher/name`"), ("model: a/b", "names no model"),
    ("model: a/b\nbase: a/b\nconfig: {operation: {fields: 3}}", "`config.operation.fields` is not a list"),
    ("model: a/b\nbase: a/b\nconfig: {load: {fields: [3]}}", "something without a `key`"),
    ("model: a/b\nbase: a/b\nconfig: [1]", "`config` is not a mapping"),
])
def test_other_files_are_refused(text: str, message: str) -> None:
    with pytest.raises(Failure) as refused:
        take("lmstudio", text)
    assert message in refused.value.message


def test_a_virtual_base_is_taken_for_a_repository() -> None:
    found = take("lmstudio", "model: a/b\nbase: org/repo\n")
    assert body(found) == ["NAME a/b", "FROM hf.co/org/repo"]
    assert losses(found, "approximated") == ["base: org/repo"]
