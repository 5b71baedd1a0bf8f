"""llama.cpp's memory as it is predicted, beside what it really allocates and what its process really has."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modelkit.llamacpp.config import Config
from modelkit.llamacpp.room import chat_room
from modelkit.models.anatomy import Anatomy, anatomy_of_header
from modelkit.models.formats.gguf_reader import read_header
from modelkit.planning.fit import llama_cpp, llama_log
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.llama_sizes import Sizes
from modelkit.planning.fit.serving import Serving
from modelkit.planning.forms import OWN
from modelkit.runtime.llama_probe import probe, setting
from tests.live.llamacpp.process import ROOT, gguf, python, running
from tests.unit.fit import shapes
from tests.unit.fit.llama_grid import SETTINGS

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(600)]

SHAPES = {"llama-8b": partial(shapes.llama_8b, layers=2), "gemma3-4b": partial(shapes.gemma3_4b, layers=6),
          "deepseek-v2-lite": partial(shapes.deepseek_v2_lite, layers=2), "mixtral": partial(shapes.mixtral, layers=1),
          "granite-hybrid": partial(shapes.granite_hybrid, layers=6)}
"""With fewer layers than the models have: a layer more or less adds to the cache, and not to a graph."""

ROUNDING = 3 * 0.005 * 2**20
"""Bytes: the log has two decimals of MiB, in as many as three lines."""

REALLY = """
import json, sys
from pathlib import Path
from modelkit.llamacpp import probe
from modelkit.llamacpp.library import low
asked, log = json.load(sys.stdin), probe.Log(low)
params = low.llama_model_default_params()
model = low.llama_model_load_from_file(asked["model"].encode(), params)
print(json.dumps({"log": log.text}))
for one in asked["settings"]:
    print(json.dumps(probe.size(low, model, probe.Setting(**one), log)))
"""


def really(path: Path) -> list[str]:
    """What llama.cpp logs where it allocates: of the model, then of a context for each setting."""
    asked = {"model": str(path), "settings": [asdict(setting(one)) for one in SETTINGS]}
    done = subprocess.run([python(), "-P", "-c", REALLY], input=json.dumps(asked), capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=300, check=True)
    return [json.loads(line)["log"] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module", params=["smollm2", *SHAPES])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if request.param == "smollm2":
        yield Path(gguf())
        return
    path = SHAPES[request.param](tmp_path_factory.mktemp("shape") / "model.gguf")
    yield path
    path.unlink()  # its pages leave the cache


def test_sizes_are_those_of_its_log(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MODELKIT_HOME", raising=False)
    header = read_header(model)
    anatomy, (loaded, *logs) = anatomy_of_header([header]), really(model)
    said = probe([python()], [header], SETTINGS, seconds=120)
    assert sum(llama_log.read(loaded).values()) == pytest.approx(anatomy.weight_bytes, rel=0.001)
    assert len(logs) == len(said) == len(SETTINGS)
    for serving, log, sizes in zip(SETTINGS, logs, said, strict=True):
        compare(anatomy, serving, log, sizes)


def compare(anatomy: Anatomy, serving: Serving, log: str, said: Sizes) -> None:
    found = {kind: size for (_, kind), size in llama_log.read(log).items()}
    near = partial(pytest.approx, rel=0.01, abs=ROUNDING)
    assert not said.problem
    assert found["compute"] == near(said.compute["ram"]), serving
    assert found["output"] == near(said.output), serving
    assert found["KV"] == near(said.kv), serving
    assert found.get("RS", 0) == near(said.recurrent), serving
    budget = llama_cpp.budget(anatomy, serving, Hardware("this machine"), asked=said)
    for begin, kind in (("attention cache", "KV"), ("state cache", "RS"), ("compute", "compute"), ("output", "output")):
        assert sum(line.size for line in budget.lines if line.name.startswith(begin)) == near(found.get(kind, 0)), kind


@pytest.mark.parametrize("said", [
    {"context_length": 1024, "max_concurrency": 1}, {"context_length": 2048, "max_concurrency": 1},
    {"context_length": 8192, "max_concurrency": 1}, {"context_length": 2048, "max_concurrency": 4},
    {"context_length": 8192, "max_concurrency": 1, "kv_cache": "q8_0"},
    {"context_length": 2048, "max_concurrency": 1, "use_mmap": False},
    {"context_length": 2048, "max_concurrency": 2, "batch_tokens": 256}],
    ids=lambda said: " ".join(map(str, said.values())))
def test_the_process_has_what_is_predicted(said: dict[str, Any]) -> None:
    """Within 3 %, after a prompt that fills a step."""
    config = Config(model=gguf(), socket="", profile="", fingerprint="", **said)
    room = chat_room(config)
    serving = Serving("llama.cpp", config.context_length, config.max_concurrency, config.kv_cache, provider=OWN,
                      kv_tokens=room.tokens, sequences=room.sequences, batch=room.physical, outputs=room.outputs,
                      full_windows=True, mmap=config.use_mmap)
    predicted = llama_cpp.resident(anatomy_of_header([read_header(gguf())]), serving)
    with running(**said) as engine:
        engine.ready().post("/v1/completions", prompt="the sea is blue and " * 110, max_tokens=4)
        assert resident(engine.process.pid) == pytest.approx(predicted, rel=0.03)


def resident(process: int) -> int:
    """VmRSS, in bytes."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
