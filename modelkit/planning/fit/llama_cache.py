"""What llama.cpp keeps of the past: cells of the attention cache, and the states of recurrent layers.

Rules of llama.cpp b11434: `llama-context.cpp` (rounding), `llama-kv-cache.cpp`, `llama-kv-cache-iswa.cpp` (windows),
`llama-memory-recurrent.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from modelkit.models.anatomy import Anatomy, Layer
from modelkit.planning.fit.budget import Line
from modelkit.planning.fit.serving import Serving

BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
         "q4_0": 18 / 32, "iq4_nl": 18 / 32}
"""Of one number of the attention cache, by its type: blocks of 32 numbers have a scale (ggml-common.h)."""

_STEP = 256
"""Contexts and windows are rounded up to this many cells."""


def cells_of(serving: Serving, layer: Layer) -> int:
    """Cells of one sequence's part of the cache, or of the whole where all share it."""
    asked = _padded(serving.kv_tokens or serving.context_length * serving.concurrency)
    whole = asked if serving.unified else _padded(asked // max(1, serving.sequences))
    if layer.attention not in ("sliding", "chunked") or serving.full_windows:
        return whole
    seen = layer.window * (serving.sequences if serving.unified else 1) + min(serving.batch, asked)
    return _padded(min(whole, seen))


def cache_lines(anatomy: Anatomy, serving: Serving, places: Sequence[str]) -> Iterator[Line]:
    """`places` says where each layer is. One line for each place and kind of layer."""
    parts = 1 if serving.unified else max(1, serving.sequences)
    each = BYTES.get(serving.kv_type, 2.0)
    kept = [(place, layer) for place, layer in zip(places, anatomy.layers, strict=True) if layer.key_width]
    for (place, kind, cells), group in groupby(sorted(kept, key=_order(serving)), key=_order(serving)):
        layers = [layer for _, layer in group]
        numbers = sum(one.key_width + one.value_width + one.index_width for one in layers)
        what = {"sliding": ", windows", "chunked": ", chunks"}.get(kind, "")
        yield Line(f"attention cache{what}", place, round(parts * cells * numbers * each),
                   f"{parts * cells} cells * {numbers} numbers of {len(layers)} layers * {each:g} bytes "
                   f"({serving.kv_type})" + (", kept whole for prefixes" if what and serving.full_windows else ""))


def state_lines(anatomy: Anatomy, serving: Serving, places: Sequence[str]) -> Iterator[Line]:
    """States of fixed size, one for each sequence."""
    for place in dict.fromkeys(places):
        states = [layer.state_bytes for at, layer in zip(places, anatomy.layers, strict=True) if at == place]
        if size := sum(states) * max(1, serving.sequences):
            yield Line("state cache", place, size, f"{sum(one > 0 for one in states)} recurrent layers * "
                       f"{max(1, serving.sequences)} sequences, as float32")


def _order(serving: Serving) -> Callable[[tuple[str, Layer]], tuple[str, str, int]]:
    """By place, kind and cells."""
    def key(one: tuple[str, Layer]) -> tuple[str, str, int]:
        place, layer = one
        windowed = layer.attention in ("sliding", "chunked")
        return place, layer.attention if windowed else "full", cells_of(serving, layer)

    return key


def _padded(tokens: int) -> int:
    return -(-max(1, tokens) // _STEP) * _STEP
