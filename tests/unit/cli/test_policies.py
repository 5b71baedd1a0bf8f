"""POLICY lines hold a stage, whatever makes it ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from modelkit.cli.policies import offences, presume_policies
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.modelfile import Modelfile
from modelkit.language.policies import POLICIES
from modelkit.language.source import Source
from modelkit.planning.plan import Lowered, Plan


@dataclass
class Weights:
    form: str


@dataclass
class Found:
    base: Weights | None = None
    adapters: tuple[Any, ...] = ()
    reference: Any = None


def modelfile(*policies: str) -> Modelfile:
    lines = "".join(f"  POLICY {one}\n" for one in policies)
    found, _ = compile_source(Source("Modelfile", f"FROM ./m.gguf\nSTAGE prod {{\n{lines}  SERVE port 9000\n}}\n"))
    assert found is not None
    return found


def plan(**more: Any) -> Plan:
    return Plan(**{"name": "m", "modelfile": "Modelfile", "stage": "prod", "platform": "process", "engine": None,
                   "engine_name": "vllm", "reference": "m", "weights": None, "context_length": 1, "max_concurrency": 1,
                   "profile": {}, "settings": (), **more})


@pytest.mark.parametrize(("policy", "good", "bad", "code"), [
    ("api_key", plan(api_key="env:KEY"), plan(), "policy-api-key"),
    ("tls", plan(), plan(host="0.0.0.0"), "policy-tls"),
    ("tls", plan(host="localhost"), plan(host="example.org"), "policy-tls"),
    ("tls", plan(host="::1", platform="systemd"), plan(platform="kubernetes"), "policy-tls"),
    ("strict", plan(), plan(lowered=(Lowered(setting="num_keep", verdict="lost", target="", reason="none"),)),
     "policy-strict"),
])
def test_a_policy_is_kept_or_not(policy: str, good: Plan, bad: Plan, code: str) -> None:
    said = modelfile(policy)
    presume_policies(said, good, Found())  # type: ignore[arg-type]
    with pytest.raises(Failure) as caught:
        presume_policies(said, bad, Found())  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.exit_code) == (code, 1)
    assert caught.value.hint
    presume_policies(modelfile(), bad, Found())  # type: ignore[arg-type]


def test_what_this_release_cannot_judge_is_not_said_to_be_kept() -> None:
    found = offences(modelfile(*POLICIES), plan(api_key="env:KEY"), Found())  # type: ignore[arg-type]
    assert found.keys() == {name for name, row in POLICIES.items() if row.effective}
    assert set(found.values()) == {None}
