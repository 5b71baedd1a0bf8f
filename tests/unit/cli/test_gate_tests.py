"""The gate `tests` has every check made that `modelkit test` has, by whom the command line names."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelkit.cli.gate_measures import Measuring
from modelkit.cli.terminal import Terminal
from modelkit.language.check import compile_source
from modelkit.language.source import Source
from modelkit.release.client import Target
from tests.unit.cli.conftest import Run, write
from tests.unit.release.testing.scripted import serving

GOLDEN = f"""schema: modelkit.golden/1
cases:
  - name: examined
    user: greet
    expect:
      - exec: [{sys.executable}, -c, "import sys, json; sys.exit(json.load(sys.stdin)['text'] != 'Hello you')"]
      - similar: {{text: Hi there, at_least: 0.9}}
"""


def measuring(monkeypatch: pytest.MonkeyPatch, url: str, **words: Any) -> Measuring:
    write("NAME m\nFROM ./m.gguf\n")
    write(GOLDEN, "a.golden.yaml")
    modelfile, _ = compile_source(Source.read(Path("Modelfile")))
    stages = SimpleNamespace(modelfile=modelfile, arguments=Namespace(**words), gpu=None)
    bundle = SimpleNamespace(plan=SimpleNamespace(stage="prod", name="m", profile=None, max_concurrency=2))
    found = Measuring(cast(Any, stages), cast(Any, bundle), cast(Any, bundle), {}, live=None, terminal=Terminal())
    monkeypatch.setattr(found, "_engine", lambda: Target(url, "m"))
    return found


def test_what_nobody_was_named_for_is_skipped(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: "Hello you") as server:
        assert measuring(monkeypatch, server.url)._tests().verdict == "inconclusive"


@pytest.mark.parametrize(("said", "verdict"), [("Hello you", "pass"), ("Go away", "fail")])
def test_programs_and_embeddings_are_asked(run: Run, monkeypatch: pytest.MonkeyPatch, said: str, verdict: str) -> None:
    with serving(lambda _: said) as server:
        server.vectors = {"Hi there": [1.0, 0.1], "Hello you": [1.0, 0.0], "Go away": [0.0, 1.0]}
        found = measuring(monkeypatch, server.url, allow_exec=True, embeddings=server.url, embeddings_model="e")
        assert found._tests().verdict == verdict
        alone = measuring(monkeypatch, server.url)
        assert found._examining.conditions and not alone._examining.conditions  # evidence is for its examiners only
