"""What llama.cpp keeps of the past: cells of the attention cache, and the states of recurrent layers."""

from __future__ import annotations

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.budget import Line
from modelkit.planning.fit.serving import Serving

BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
         "q4_0": 18 / 32, "iq4_nl": 18 / 32}
"""Of one number of the attention cache, by its type: blocks of 32 numbers have a scale (ggml-common.h, b11434)."""


def cache_lines(anatomy: Anatomy, serving: Serving) -> list[Line]:
    cells = serving.kv_tokens or serving.context_length * serving.concurrency
    width = sum(one.key_width + one.value_width for one in anatomy.layers)
    return [Line("attention cache", "ram", int(cells * width * BYTES.get(serving.kv_type, 2.0)),
                 f"{cells} cells of {width} numbers")]
