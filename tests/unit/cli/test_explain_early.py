"""`explain` and `diff` before anything is here: no model, no engine, nobody to ask."""

from __future__ import annotations

import pytest

from modelkit.platforms import PLATFORMS
from tests.unit.cli.conftest import Run, write


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm"])
@pytest.mark.parametrize("platform", sorted(PLATFORMS))
def test_every_flag_is_shown_before_anything_is_here(run: Run, platform: str, engine: str) -> None:
    write(f"NAME bot\nFROM hf.co/acme/tiny\nSTAGE prod {{\n  ENGINE {engine}\n  PLATFORM {platform}\n"
          f"  SERVE image registry.example/ai/engine@sha256:{'ab' * 32}\n}}\n")
    code, out, err = run("explain", "-s", "prod")
    assert code in (0, 2) and "Traceback" not in err, err
    assert ("FLAG" in out and "acme/tiny" in out) if code == 0 else "error[" in err
    code, out, err = run("diff", "dev", "prod")
    assert code in (0, 2) and "Traceback" not in err, err
