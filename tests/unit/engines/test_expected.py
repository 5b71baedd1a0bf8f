"""What a plan expects an engine to say, and how a difference is named."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.contract.effective import Effective, template_digest
from modelkit.engines.expected import differences, expected
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.models.facts import ModelFacts
from modelkit.planning.facts import Facts
from modelkit.planning.plan import Engine, ModelSource, Plan, Weights
from modelkit.planning.resolve import resolve

MODEL = ModelFacts(architecture="llama", context_length=8192, parameters=1, quantization="", vocabulary=1,
                   chat_template="{% own %}", bos=None, eos=None)
WEIGHTS = Weights(reference="./m", form="gguf", path="/m.gguf", digest="sha256:" + "0" * 64, size=1)


def plan(stage: str, text: str = "", **facts: Any) -> Plan:
    modelfile, diagnostics = compile_source(Source("Modelfile", f"NAME tiny\nFROM ./m.gguf\n{text}\n"))
    assert modelfile is not None, diagnostics
    engines = {"llama.cpp": Engine(name="llama.cpp", provider="xllamacpp", version="1", command=("python",)),
               "vllm": Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",))}
    return resolve(modelfile, stage, Facts(engines=engines, model=MODEL, **facts))


def test_llama_server_rounds_the_context_up() -> None:
    said = expected(plan("dev", "PARAMETER num_ctx 1000", gguf=WEIGHTS))
    assert said == {"context_length": 1024, "max_concurrency": 4, "adapters": [], "model": "/m.gguf",
                    "template": template_digest("{% own %}")}


def test_vllm_takes_it_as_it_is() -> None:
    said = expected(plan("prod", "PARAMETER num_ctx 1000\nSERVE tensor_parallel 2"))
    assert (said["context_length"], said["max_concurrency"], said["tensor_parallel"]) == (1000, 16, 2)


def test_the_modelfiles_template_goes_before_the_models() -> None:
    said = expected(plan("prod", 'TEMPLATE """{% for m in messages %}{{ m.content }}{% endfor %}"""'))
    assert said["template"] == template_digest("{% for m in messages %}{{ m.content }}{% endfor %}")


@pytest.mark.parametrize(("source", "model", "revision"), [
    (ModelSource(kind="hub", name="org/repo", revision="a" * 40), "org/repo", "a" * 40),
    (ModelSource(kind="folder", name="/home/me/model"), "/models/base", None),
])
def test_in_a_container_the_model_is_where_the_container_has_it(source: ModelSource, model: str,
                                                                revision: str | None) -> None:
    said = expected(plan("prod", source=source))
    assert said["model"] == model and said.get("revision") == revision


PLANNED = {"context_length": 4096, "adapters": ["a"], "template": "sha256:" + "1" * 64}


def test_as_planned_is_no_difference() -> None:
    assert differences(PLANNED, Effective(context_length=4096, adapters=("a",), template="sha256:" + "1" * 64)) == ()


def test_what_an_engine_does_not_say_cannot_differ() -> None:
    assert differences(PLANNED, Effective()) == ()


def test_each_difference_is_named_with_both_sides() -> None:
    found = Effective(context_length=2048, adapters=(), template="sha256:" + "2" * 64)
    assert [str(one) for one in differences(PLANNED, found)] == [
        "tokens of context: planned 4096, found 2048", "adapters: planned a, found none",
        "chat template: planned sha256:111111111111…, found sha256:222222222222…"]


def test_a_later_releases_field_is_no_error() -> None:
    said = {**Effective(context_length=1, adapters=("a",)).as_json(), "colour": "blue"}
    assert Effective.from_json(said) == Effective(context_length=1, adapters=("a",))


@pytest.mark.parametrize("other", [{}, {"schema": "x"}, {"error": {}}])
def test_another_document_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Effective.from_json(other)
