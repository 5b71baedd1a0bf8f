"""There and back: what both sides can say is the same afterwards, and what changed was said."""

from __future__ import annotations

import json
import shlex

import pytest
import yaml

from modelkit.engines.flags import table, versions
from modelkit.exchange.flags import read as read_flags
from modelkit.language.layers import Effective, effective
from tests.unit.exchange.exports import give, lost, subject
from tests.unit.exchange.imports import checked, take

FULL = '''\
NAME full
FROM hf.co/org/model-GGUF:Q8_0
TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""
PARAMETER temperature 0.55
PARAMETER top_k 30
PARAMETER top_p 0.8
PARAMETER min_p 0.1
PARAMETER repeat_penalty 1.1
PARAMETER presence_penalty 0.5
PARAMETER frequency_penalty 0.25
PARAMETER num_ctx 1024
PARAMETER num_predict 99
SERVE thinking false
STAGE dev {
  PARAMETER num_gpu 12
  PARAMETER num_thread 4
  PARAMETER num_batch 256
  PARAMETER use_mmap false
  SERVE kv_cache q8_0
  SERVE prefix_caching false
  SERVE max_concurrency 4
  SERVE port 9001
}
STAGE prod {
  FROM hf.co/org/model@0123456789012345678901234567890123456789
  ENGINE vllm
  QUANTIZE fp8
  ADAPTER hf.co/org/a AS kind
  SERVE tensor_parallel 2
  SERVE replicas 3
  SERVE kv_cache fp8
  SERVE gpu_memory 0.8
  SERVE tool_parser hermes
  SERVE reasoning_parser qwen3
  SERVE speculative ngram
  SERVE api_key env:KEY
  SERVE port 9002
  FLAG --enforce-eager
  FLAG --compilation-config {"mode": 3}
}
'''
LMSTUDIO = '''\
NAME org/full
FROM hf.co/org/model-GGUF
SYSTEM """a
b"""
PARAMETER temperature 0.55
PARAMETER top_k 30
PARAMETER top_p 0.8
PARAMETER min_p 0.1
PARAMETER repeat_penalty 1.1
PARAMETER num_ctx 1024
PARAMETER num_predict 99
PARAMETER num_thread 4
PARAMETER num_batch 256
PARAMETER use_mmap false
PARAMETER num_gpu 0
PARAMETER stop "a"
PARAMETER stop " b"
SERVE thinking false
SERVE kv_cache q8_0
'''


def meaning(said: Effective) -> dict[str, object]:
    """What a stage says, without places."""
    scalars = {name: getattr(said, name).value for name in ("base", "quantize", "template", "system", "draft")
               if getattr(said, name) is not None}
    return {**scalars, "stop": [one.value for one in said.stop], "flags": [one.value for one in said.flags],
            "adapters": [one.value for one in said.adapters],
            **{f"serve {key}": one.value for key, one in said.serve.items()},
            **{key: one.value for key, one in said.parameters.items()}}


def both(format: str, text: str, stage: str) -> tuple[dict[str, object], dict[str, object]]:
    """What a stage says, and what it says when it comes back."""
    exported = give(format, text, stage)
    imported = take(format, exported.text)
    modelfile = checked(imported)
    assert modelfile.name.value == subject(text, stage).name
    back = "prod" if "vllm" in (imported.modelfile or "") else "dev"
    return meaning(subject(text, stage).said), meaning(effective(modelfile, back))


@pytest.mark.parametrize(("format", "stage"), [("vllm", "prod"), ("llama-server", "dev"), ("llama-swap", "prod"),
                                               ("llama-swap", "dev"), ("compose", "dev")])
def test_a_command_line_comes_back(format: str, stage: str) -> None:
    there, back = both(format, FULL, stage)
    if format == "compose":
        back |= {"num_ctx": int(str(back["num_ctx"])) // 4} if back["num_ctx"] != 1024 else {}
    ours = {key: value for key, value in there.items() if key not in ("stop",)}
    elsewhere = {"serve port", "serve api_key"} if format in ("llama-swap", "compose") else set()
    missing = {key: (value, back.get(key)) for key, value in ours.items()
               if back.get(key) != value and key not in elsewhere}
    assert missing == {}
    more = set(back) - set(ours) - {"stop", "serve host", "serve max_concurrency", "serve gpu_memory",
                                    "draft_num_predict", "serve api_key"}
    assert more == set()


def test_a_model_yaml_comes_back() -> None:
    there, back = both("lmstudio", LMSTUDIO, "dev")
    assert back == there


def test_a_modelfile_of_ollamas_comes_back() -> None:
    text = ('FROM hf.co/o/m-GGUF:Q8_0\nSYSTEM """a\nb"""\nTEMPLATE """{{ .Prompt }}"""\nMESSAGE user x\n'
            'PARAMETER stop "a "\nPARAMETER top_k 3\nADAPTER ./a.gguf\n')
    imported = take("ollama", text)
    there = subject(imported.modelfile or "", "dev")
    again = take("ollama", give("ollama", imported.modelfile or "").text)
    assert meaning(effective(checked(again), "dev")) == meaning(there.said)


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_every_word_that_is_written_is_one_of_the_engines(stage: str) -> None:
    format = "vllm" if stage == "prod" else "llama-server"
    words = shlex.split(give(format, FULL, stage).text.replace("\\\n", " "), comments=True)
    known = table(format, versions(format)[-1])
    assert known is not None
    flags = read_flags(format, words).flags
    assert [given.word for given in flags if given.word not in known.by_word] == []
    for given in flags:
        assert given.flag is not None
        if given.flag.choices and given.values:
            assert given.values[0] in map(str, given.flag.choices)
        if given.flag.type == "json":
            json.loads(given.value)


def test_what_a_request_has_to_say_is_lost_on_every_engine() -> None:
    text = 'NAME n\nFROM ./m.gguf\nSYSTEM x\nMESSAGE user y\nPARAMETER stop z\n'
    for format in ("llama-server", "compose", "llama-swap"):
        assert {"SYSTEM", "MESSAGE", "PARAMETER stop"} <= {*lost(give(format, text))}


def test_several_models_are_one_config() -> None:
    from modelkit.exchange import write

    texts = [f"NAME {name}\nFROM ./m.gguf\nSERVE api_key env:KEY\nSERVE keep_alive 90s\n" for name in ("a", "b")]
    said = yaml.safe_load(write("llama-swap", [subject(text, "dev") for text in texts]).text)
    assert [*said["models"]] == ["a", "b"] and said["apiKeys"] == ["${env.KEY}"]
    assert said["models"]["a"]["ttl"] == 90 and said["models"]["a"]["cmd"].endswith("--port ${PORT}\n")
    assert [*yaml.safe_load(write("compose", [subject(text, "dev") for text in texts]).text)["models"]] == ["a", "b"]
