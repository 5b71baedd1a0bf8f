"""What our engine makes of prompts with images is what mtmd itself makes of them: in every kind of attention and
position, in steps, and where a beginning was seen before. `seen` makes the numbers.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.llamacpp.process import ROOT, gguf, python
from tests.live.llamacpp.projector_file import WIDTH, Kind, png, write
from tests.unit.models import small_model

pytestmark = pytest.mark.live_llamacpp

NEAR = 0.05
"""Nats: what steps of other sizes may change on another processor. The numbers were the same where this was written."""


def in_two_dimensions(path: Path) -> Path:
    """A small model that places images as Qwen2-VL does (M-RoPE)."""
    sizes = {"q": small_model.HEADS * small_model.HEAD, "k": small_model.KV_HEADS * small_model.HEAD,
             "v": small_model.KV_HEADS * small_model.HEAD}
    biases = {f"blk__{layer}__attn_{name}__bias": (size,) for layer in range(small_model.LAYERS)
              for name, size in sizes.items()}
    return small_model.small_model(path, architecture="qwen2vl", more=biases, rope__dimension_sections=[2, 3, 3, 0])


@pytest.mark.parametrize(("kind", "batch"), [("janus_pro", 24), ("gemma3", 24), ("qwen2vl", 512)])
def test_prompts_with_images_are_computed_as_mtmd_does(kind: Kind, batch: int, tmp_path: Path) -> None:
    flat = kind != "qwen2vl"
    model = gguf() if flat else str(in_two_dimensions(tmp_path / "model.gguf"))
    projector = write(tmp_path / "mmproj.gguf", kind, width=WIDTH if flat else small_model.WIDTH)
    images = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, (path, size) in enumerate(zip(images, ((40, 30), (64, 96), (200, 120)), strict=True)):
        path.write_bytes(png(seed, *size))
    done = subprocess.run(
        [python(), str(Path(__file__).with_name("seen.py")), str(batch), model, str(projector), *map(str, images)],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert max(one["apart"] for one in found) < NEAR, found
    cached = [one["cached"] for one in found]
    assert cached[0] == cached[4] == 0 and cached[1] == found[1]["prompt"] - 1
    assert 0 < cached[2] < cached[3] and cached[5] > found[4]["prompt"] // 2  # the first image alone, then two
