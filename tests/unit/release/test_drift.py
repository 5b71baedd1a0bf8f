"""In what a deployment differs from its Modelfile."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.contract.effective import Effective
from modelkit.failure import Failure
from modelkit.planning.plan import Engine, Origin, Plan, Setting
from modelkit.release.drift import effective_of, engine_drift, modelfile_drift


def plan(*, engine: str = "0.32.0", **fields: Any) -> Plan:
    base: dict[str, Any] = {
        "name": "tiny", "modelfile": "Modelfile", "stage": "prod", "platform": "process", "engine_name": "vllm",
        "engine": Engine(name="vllm", provider="environment", version=engine, command=("vllm",)), "reference": "none",
        "weights": None, "context_length": 512, "max_concurrency": 4, "profile": {"system": "Be kind."},
        "settings": (Setting(name="temperature", value=0.2, origin=Origin(kind="default")),),
        "template_digest": "sha256:" + "1" * 64}
    return Plan(**{**base, **fields})


def words(drift: Any) -> list[str]:
    return [str(one) for one in drift]


def test_the_same_plan_has_not_drifted() -> None:
    assert words(modelfile_drift(plan(), plan())) == []


def test_the_address_is_no_drift() -> None:
    port = Setting(name="serve.port", value=9, origin=Origin(kind="command line"))
    assert words(modelfile_drift(plan(settings=(port,)), plan(settings=()))) == []


@pytest.mark.parametrize(("fields", "said"), [
    ({"engine": "0.33.0"}, "engine version: 0.33.0 is wanted, 0.32.0 runs"),
    ({"template_digest": None}, "chat template: nothing is wanted, sha256:"),
    ({"settings": (Setting(name="temperature", value=1, origin=Origin(kind="default")),)},
     "temperature: 1 is wanted, 0.2 runs"),
    ({"settings": ()}, "temperature: nothing is wanted, 0.2 runs"),
    ({"flags": ("--enforce-eager",)}, 'flags: ["--enforce-eager"] is wanted, [] runs'),
    ({"profile": {"system": "Be brief."}}, "system: Be brief. is wanted, Be kind. runs"),
    ({"name": "other"}, "model: other is wanted, tiny runs"),
    ({"image": "vllm@sha256:" + "2" * 64}, "image: vllm@sha256:2"),
])
def test_what_the_file_says_by_now(fields: dict[str, Any], said: str) -> None:
    (one,) = words(modelfile_drift(plan(), plan(**fields)))
    assert one.startswith(said)


def test_an_engine_that_has_something_else() -> None:
    (one,) = engine_drift(plan(), Effective(context_length=256, max_concurrency=4))
    assert one.kind == "engine" and str(one) == "context length: 512 is wanted, 256 runs"


@pytest.mark.parametrize("document", [None, {}, [], {"object": "list"}, "text"])
def test_something_else_answers_there(document: Any) -> None:
    with pytest.raises(Failure) as failed:
        effective_of(document)
    assert failed.value.code == "not-effective" and failed.value.hint
