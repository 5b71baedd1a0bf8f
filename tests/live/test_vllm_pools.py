"""The attention cache of models that keep in unlike ways, as the real vLLM makes it and as it was predicted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from modelkit.models.anatomy import Anatomy
from modelkit.models.anatomy.config import Config
from modelkit.models.anatomy.config_layers import layers_of
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.vllm import pool
from modelkit.runtime import environments

MODELS = json.loads(Path(__file__).with_name("vllm_tiny.json").read_text("utf-8"))
"""Sliding windows, a latent (MLA), gated delta nets, Mamba-2 beside attention, Mamba-1: a few layers of each."""

CONTEXT, ROOM = 6000, 60_000_000


@pytest.mark.live_vllm
@pytest.mark.timeout(900)
def test_blocks_and_tokens_are_those_of_vllm(tmp_path: Path) -> None:
    if (found := environments.find("vllm", ">=0.32,<0.33")) is None:
        pytest.fail("vLLM 0.32 is not installed here: run `modelkit engine install vllm`")
    for name, config in MODELS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config), "utf-8")
    child = subprocess.run([str(Path(found.path) / "bin" / "python"), str(Path(__file__).with_name("vllm_pools.py"))],
                           input=json.dumps([(str(tmp_path / name), CONTEXT, ROOM) for name in MODELS]),
                           capture_output=True, text=True, timeout=840, check=False)
    theirs = [json.loads(line.partition(" ")[2]) for line in child.stdout.splitlines() if line.startswith("POOL")]
    assert len(theirs) == len(MODELS), child.stderr[-3000:]
    for (name, config), said in zip(MODELS.items(), theirs, strict=True):
        ours = pool(anatomy(name, config), serving(config), Hardware("here"))
        assert [ours.blocks, ours.tokens, ours.concurrency] == said, name


def anatomy(name: str, config: dict[str, object]) -> Anatomy:
    layers, _ = layers_of(Config(name, config), {})
    return Anatomy(str(config["model_type"]), "safetensors", "bfloat16", (), layers, 1000, 256, 512, 8, 32768, False)


def serving(config: dict[str, object]) -> Serving:
    block = 16 if "kv_lora_rank" in config else 128
    return Serving("vllm", CONTEXT, 4, "auto", kv_cache_bytes=ROOM, block_size=block, batched_tokens=2048, on_cpu=True)
