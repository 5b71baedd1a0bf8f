"""`SERVE task`: what a stage that embeds or reranks is, and what its engine is told."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from modelkit import engines
from modelkit.contract.profile import Profile
from modelkit.engines.word import argv
from modelkit.failure import Failure
from modelkit.models.facts import ModelFacts
from modelkit.models.pooling_facts import PoolingFacts
from modelkit.planning.facts import Facts
from modelkit.planning.plan import Engine, Plan
from tests.unit.planning.test_resolve import facts, plan

EMBED, RERANK = "FROM ./m.gguf\nSERVE task embed\n", "FROM ./m.gguf\nSERVE task rerank\n"
OWN = Engine(name="llama.cpp", provider="llama-cpp-python", version="0.3.36", command=("python",))
SERVER = OWN.model_copy(update={"provider": "xllamacpp"})


def known(engine: Engine = OWN, **pooling: Any) -> Facts:
    model = ModelFacts(architecture="bert", context_length=256, parameters=1, quantization="F16", vocabulary=1,
                       chat_template=None, bos=None, eos=None, pooling=PoolingFacts(**pooling))
    made = facts(model=model)
    return replace(made, engines={**made.engines, "llama.cpp": engine})


def words(made: Plan) -> dict[str, str]:
    said = argv(engines.words(made))
    return dict(pairwise(said))


def profile(made: Plan) -> Profile:
    return Profile.from_json(made.profile)


@pytest.mark.parametrize(("said", "pooling", "expected", "origin"), [
    ("", {"pooling": "mean"}, "mean", "model"), ("SERVE pooling auto", {"pooling": "mean"}, "mean", "model"),
    ("SERVE pooling cls", {"pooling": "mean"}, "cls", "modelfile"), ("", {"encoder": True}, "cls", "family"),
    ("", {}, "last", "default")])
def test_the_pooling_is_said_to_both_engines(said: str, pooling: Any, expected: str, origin: str) -> None:
    for stage in ("dev", "prod"):
        made = plan(EMBED + said + "\n", stage, known(**pooling))
        setting = made.setting("serve.pooling")
        assert setting is not None and (setting.value, setting.origin.kind) == (expected, origin)
        if stage == "dev":
            assert (words(made)["--pooling"], words(made)["--task"]) == (expected, "embed")
        else:
            assert json.loads(words(made)["--pooler-config"]) == {"pooling_type": expected.upper(),
                                                                  "use_activation": True}
            assert (words(made)["--runner"], words(made)["--convert"]) == ("pooling", "embed")


def test_vllm_scores_by_a_sigmoid_whatever_a_models_files_say() -> None:
    said = words(plan(RERANK, "prod", known(classifier=True)))
    assert (said["--runner"], said["--convert"]) == ("pooling", "classify")
    assert json.loads(said["--hf-overrides"]) == {"problem_type": "multi_label_classification"}
    assert json.loads(said["--pooler-config"]) == {"use_activation": True}


def test_vllm_computes_vectors_as_precisely_as_it_can_on_cpus() -> None:
    assert words(plan(EMBED, "prod", known()))["--dtype"] == "float32"


def test_nothing_of_a_conversation_is_left() -> None:
    text = EMBED + 'SYSTEM You are terse.\nPARAMETER temperature 0.3\nPARAMETER stop x\nSERVE max_concurrency 3\n'
    for stage in ("dev", "prod"):
        made = plan(text, stage, known())
        assert profile(made).system is None and not profile(made).stop and not profile(made).defaults
        lost = {one.setting: one.reason for one in engines.lower(made) if one.verdict == "lost"}
        assert lost["temperature"] == "nothing is generated"
        assert "--tool-call-parser" not in words(made) and "--enable-auto-tool-choice" not in words(made)
        assert made.template_digest is None and made.max_concurrency == 3


@pytest.mark.parametrize(("said", "files", "expected"), [
    ("", False, False), ("", (64, 128), (64, 128)), ("", True, True), ("SERVE matryoshka true", False, True),
    ("SERVE matryoshka false", True, False)])
def test_embeddings_may_be_cut_where_somebody_says_so(said: str, files: Any, expected: Any) -> None:
    made = plan(EMBED + said + "\n", "prod", known(matryoshka=files))
    assert profile(made).matryoshka == expected
    overrides = json.loads(words(made).get("--hf-overrides", "{}"))
    assert overrides == ({"is_matryoshka": True} if expected is True else {})


@pytest.mark.parametrize(("text", "pooling", "code"), [
    (EMBED, {"modules": ("Dense",)}, "embedding-modules"), (RERANK, {"classifier": False}, "not-a-reranker")])
def test_a_model_that_cannot_do_it_is_refused(text: str, pooling: Any, code: str) -> None:
    with pytest.raises(Failure) as caught:
        plan(text, "dev", known(**pooling))
    assert caught.value.code == code


def test_an_adapter_is_not_for_these_tasks() -> None:
    with pytest.raises(Failure) as caught:
        plan(EMBED + "ADAPTER ./tone\n", "dev", known())
    assert caught.value.code == "adapter-not-for-task"


def test_classify_is_not_yet() -> None:
    from modelkit.language.check import compile_source
    from modelkit.language.source import Source

    modelfile, diagnostics = compile_source(Source("Modelfile", "FROM ./m.gguf\nSERVE task classify\n"))
    assert [one.rule.id for one in diagnostics if one.rule.id == "needs-later-release"], diagnostics
    assert modelfile is None


def test_an_engine_that_would_answer_something_else_is_not_started() -> None:
    made = plan(EMBED, "dev", known(SERVER))
    assert {one.verdict for one in engines.lower(made) if one.setting == "serve.task"} == {"lost"}
    with pytest.raises(Failure) as caught:
        engines.launch(made)
    assert caught.value.code == "task-not-on-engine"


def test_ready_asks_for_no_log_probabilities_of_what_has_none() -> None:
    assert not engines.launch(plan(EMBED, "prod", known())).ready_logprobs
