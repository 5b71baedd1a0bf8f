"""Two stages side by side: what each difference is for those who use them."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit import platforms
from modelkit.language.check import compile_source
from modelkit.language.parameters import DEPRECATED, PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source
from modelkit.models.facts import ModelFacts
from modelkit.planning.difference import KINDS, RULES, Difference, differences
from modelkit.planning.facts import Facts
from modelkit.planning.plan import Engine, Plan, Weights
from modelkit.planning.resolve import resolve

MODEL = ModelFacts(architecture="llama", context_length=8192, parameters=1, quantization="Q4_K_M", vocabulary=9,
                   chat_template="{% for m in messages %}{{ m.content }}{% endfor %}", bos=None, eos="</s>")
FACTS = Facts(
    engines={"llama.cpp": Engine(name="llama.cpp", provider="xllamacpp", version="2026.10.11549", command=("python",)),
             "vllm": Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",), variant="cuda")},
    reference="r", gguf=Weights(reference="r", form="gguf", path="/m.gguf", digest="sha256:1", size=1), model=MODEL,
    safetensors=Weights(reference="r", form="safetensors", path="/f", digest="sha256:2", size=2, recipe={"a": 1}))


def stage(name: str, text: str) -> Plan:
    modelfile, diagnostics = compile_source(Source("Modelfile", f"FROM ./m.gguf\n{text}\n"))
    assert modelfile is not None, diagnostics
    plan = resolve(modelfile, name, FACTS)
    return plan.model_copy(update={"lowered": platforms.lower(plan)})


def found(both: str = "", dev: str = "", prod: str = "") -> dict[str, Difference]:
    text = f"SERVE max_concurrency 4\n{both}\nSTAGE dev {{\n{dev}\n}}\nSTAGE prod {{\nENGINE llama.cpp\n{prod}\n}}"
    return {one.setting: one for one in differences(stage("dev", text), stage("prod", text))}


def test_every_setting_of_the_language_has_a_rule() -> None:
    language = {*PARAMETERS, *DEPRECATED, *(f"serve.{key}" for key in SERVE_KEYS), "system", "messages", "template",
                "stop", "quantize", "engine", "platform", "adapters", "draft",
                "projector"}
    assert set(RULES) == language | {"model", "weights"}
    for rule in RULES.values():
        assert rule.why and all(rule.of(left, right) in KINDS for left, right in ((None, 1), (1, None), (1, 2))
                                if rule is not RULES["adapters"])


@pytest.mark.parametrize(("dev", "prod", "setting", "kind"), [
    ("PARAMETER temperature 0.2", "", "temperature", "quality"),
    ("", "SYSTEM You are terse.", "system", "quality"),
    ('PARAMETER stop "x"', 'PARAMETER stop "y"', "stop", "quality"),
    ("PARAMETER num_ctx 4096", "PARAMETER num_ctx 8192", "num_ctx", "capacity"),
    ("PARAMETER num_ctx 8192", "PARAMETER num_ctx 4096", "num_ctx", "breaking"),
    ("", "SERVE max_concurrency 8", "serve.max_concurrency", "capacity"),
    ("", "SERVE replicas 3", "serve.replicas", "capacity"),
    ("", "SERVE api_key env:KEY", "serve.api_key", "breaking"),
    ("SERVE api_key env:A", "SERVE api_key env:B", "serve.api_key", "safe"),
    ("", "SERVE tool_parser hermes", "serve.tool_parser", "breaking"),
    ("SERVE tool_parser hermes", "SERVE tool_parser qwen3_xml", "serve.tool_parser", "safe"),
    ("", "SERVE port 9000", "serve.port", "breaking"),
    ("MESSAGE user Hi", "MESSAGE user Ho", "messages", "quality"),
    ("", 'TEMPLATE "{% for m in messages %}x{% endfor %}"', "template", "quality"),
    ("", "PARAMETER use_mmap false", "use_mmap", "safe"),
])
def test_what_a_difference_is(dev: str, prod: str, setting: str, kind: str) -> None:
    differing = found(dev=dev, prod=prod)
    assert list(differing) == [setting] and differing[setting].kind == kind
    assert differing[setting].why


def test_equal_stages_do_not_differ() -> None:
    assert found(both="PARAMETER temperature 0.2\nSYSTEM Hi.") == {}
    assert found(both="SERVE replicas 1") == {}, "a default that is written out is no difference"


def test_two_engines_side_by_side() -> None:
    text = "PARAMETER typical_p 0.5\nPARAMETER num_gpu 12\nPARAMETER repeat_last_n 64"
    differing = differences(stage("dev", text), stage("prod", text))
    by_name = {one.setting: one for one in differing}
    assert {"engine", "weights"} <= set(by_name)
    layers = by_name["num_gpu"]  # equal on llama.cpp, lost on vLLM, of the same value
    assert (layers.left_verdict, layers.right_verdict) == ("equal", "lost") and layers.left == layers.right == 12
    assert layers.kind == "capacity" and "whole models" in layers.why
    assert "typical_p" not in by_name and "repeat_last_n" not in by_name, "honoured alike on both"


def test_the_gravest_comes_first() -> None:
    kinds = [KINDS.index(one.kind) for one in found(prod="SERVE api_key env:K\nSERVE replicas 2\nSYSTEM Hi.").values()]
    assert kinds == sorted(kinds, reverse=True) and len(kinds) == 3


def test_adapters_by_their_names() -> None:
    rule: Any = RULES["adapters"]
    assert rule.of(None, ["./a AS tone"]) == "breaking"
    assert rule.of(["./a AS tone"], ["./b AS tone"]) == "quality"
