"""Settings of llama.cpp for which its own sizes are known: the formulas' test has them recorded, the live test asks.

`python -m tests.unit.fit.llama_grid` records them anew, with the llama-cpp-python of that Python.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from modelkit.models.formats.gguf_reader import read_header
from modelkit.planning.fit.serving import Serving
from modelkit.runtime.llama_probe import probe
from tests.unit.fit.shapes import SHAPES

RECORDED = Path(__file__).with_name("llama_sizes.json")
VERSION = "0.3.36"


def serving(tokens: int, users: int = 1, batch: int = 512, kv_type: str = "f16", *, unified: bool = True,
            full: bool = True, flash: bool | None = None, outputs: int = 0) -> Serving:
    return Serving("llama.cpp", tokens // users, users, kv_type, kv_tokens=tokens, sequences=users, unified=unified,
                   batch=batch, full_windows=full, flash_attention=flash, outputs=outputs or users)


SETTINGS = (
    serving(2048), serving(32768), serving(8192, 4), serving(8192, 4, unified=False), serving(8192, batch=128),
    serving(8192, batch=2048), serving(8192, kv_type="q8_0"), serving(32768, 4, kv_type="q4_0"),
    serving(8192, kv_type="f32"), serving(32768, full=False), serving(32768, 4, full=False),
    serving(32768, 4, unified=False, full=False), serving(8192, flash=False), serving(8192, 3, outputs=129),
    serving(16384, 2, kv_type="bf16", full=False))
"""For every shape."""


def record() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in SHAPES.items():
            header = read_header(make(Path(folder) / f"{name}.gguf"))
            said = probe([sys.executable], [header], SETTINGS, version=VERSION, seconds=120)
            found[name] = [asdict(one) for one in said]
    text = ",\n".join(f" {json.dumps(name)}: [\n" + ",\n".join(f"  {json.dumps(one)}" for one in sizes) + "]"
                      for name, sizes in found.items())
    RECORDED.write_text("{\n" + text + "}\n")


if __name__ == "__main__":
    record()
