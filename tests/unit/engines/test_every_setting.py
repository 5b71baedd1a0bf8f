"""Nothing is dropped in silence: every parameter and every SERVE key has a verdict on every engine."""

from __future__ import annotations

import pytest

from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.parameters import PARAMETERS
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source
from modelkit.planning.facts import Facts
from modelkit.planning.plan import Engine, Weights
from modelkit.planning.resolve import resolve
from modelkit.platforms import lower

SAMPLES = ("1", "0.5", "true", "2", "auto", "q8_0", "5m", "8000", "127.0.0.1", "env:KEY", "hermes", "chat", "off", "on",
           "x", "0.9", "L4", "ngram")
LLAMA = Engine(name="llama.cpp", provider="llama-cpp-python", version="0.3.36", command=("python",), variant="cpu")
FACTS = Facts(
    engines={"llama.cpp": LLAMA, "llama-server": LLAMA.model_copy(update={"provider": "xllamacpp"}),
             "vllm": Engine(name="vllm", provider="environment", version="0.32.0", command=("vllm",), variant="cpu")},
    reference="r", gguf=Weights(reference="r", form="gguf", path="/m.gguf", digest="sha256:1", size=1),
    safetensors=Weights(reference="r", form="safetensors", path="/f", digest="sha256:2", size=2, recipe={"a": 1}))
STAGING = "STAGE staging EXTENDS dev {\n  ENGINE llama-server\n}\n"
LINES = [*(f"PARAMETER {name}" for name in PARAMETERS), *(f"SERVE {name}" for name in SERVE_KEYS)]


@pytest.mark.parametrize("stage", ["dev", "staging", "prod"])
@pytest.mark.parametrize("line", LINES)
def test_a_setting_has_a_verdict(line: str, stage: str) -> None:
    tried = 0
    for sample in SAMPLES:
        modelfile, _ = compile_source(Source("Modelfile", f"FROM ./m.gguf\n{line} {sample}\n{STAGING}"))
        if modelfile is None:
            continue
        try:
            plan = resolve(modelfile, stage, FACTS)
        except Failure as failure:
            assert failure.code == "unknown-accelerator"  # said, with its place: not dropped in silence
            continue
        tried += 1
        said = {s.name for s in plan.settings if s.origin.kind == "modelfile"}
        verdicts = {item.setting: item for item in lower(plan)}
        assert said <= set(verdicts)
        assert all(verdicts[name].reason for name in said if verdicts[name].verdict in ("approximated", "lost"))
    assert tried, "no sample value fits this setting"
