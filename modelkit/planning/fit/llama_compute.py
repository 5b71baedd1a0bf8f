"""How much llama.cpp keeps for computing: the largest graph that a context may have to compute, by formula.

Where llama.cpp can be asked (`modelkit.runtime.llama_probe`) its own answer is better, for what lies beside what in a
graph is an allocator's business. Compared with 1,700 such answers of llama.cpp b11434 (llama-cpp-python 0.3.36) for
Llama, Gemma 3, Mixtral, DeepSeek-V2 and Granite hybrids: half are within 3 %, nine of ten within 8 %, all within 14 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.llama_cache import cells_of
from modelkit.planning.fit.serving import Serving


@dataclass(frozen=True)
class Graph:
    """The peak in bytes, and what makes it."""

    size: int
    how: str


def graph(anatomy: Anatomy, serving: Serving, *, logits: bool = True) -> Graph:
    """Of the device that has the last layer where `logits`, else of another. Floats are 4 bytes for each of the
    physical batch's tokens: three of the feed-forward's width and three of the model's stand beside attention's."""
    tokens, width = _step(serving), anatomy.width
    kinds = {(one.attention in ("sliding", "chunked"), cells_of(serving, one)) for one in anatomy.layers
             if one.key_width}
    mask = sum(cells for _, cells in kinds)
    flash = serving.flash_attention is not False
    wide = _widest(anatomy)
    block = 4 * tokens * (wide + 3 * width) + (2 if flash else 4) * tokens * mask
    states = serving.sequences * max((one.state_bytes for one in anatomy.layers), default=0)
    block += round(1.15 * states)  # a copy of what the recurrent layer in work keeps of each sequence
    found = [Graph(block, f"{tokens} tokens * 4 bytes * ({wide} + 3 * {width}), a mask of {mask} cells"
                   + (", states" if states else ""))]
    if not flash:
        found.append(_scores(anatomy, tokens, max((cells for _, cells in kinds), default=0), mask))
    if logits:
        rows = min(tokens, max(serving.outputs, serving.sequences))
        found.append(Graph(4 * rows * (anatomy.vocabulary + 2 * width),
                           f"{rows} rows of {anatomy.vocabulary} logits"))
    return max(found, key=lambda one: one.size)


def touched(anatomy: Anatomy, serving: Serving) -> int:
    """Bytes of it that answering takes; the rest is for rows of logits that hardly anybody asks for."""
    return graph(anatomy, serving, logits=False).size


def host_side(anatomy: Anatomy, serving: Serving) -> Graph:
    """What stays in RAM where GPUs compute: the embeddings that go in, and masks."""
    tokens = _step(serving)
    mask = max((cells_of(serving, one) for one in anatomy.layers), default=0)
    return Graph(4 * tokens * anatomy.width + 2 * tokens * mask, f"inputs of {tokens} tokens, and a mask")


def _step(serving: Serving) -> int:
    """Tokens of the largest graph: a physical batch, which is not larger than the context, in equal parts for all
    sequences."""
    tokens = max(1, min(serving.batch, -(-max(1, serving.kv_tokens or serving.context_length) // 256) * 256))
    return -(-tokens // max(1, serving.sequences)) * max(1, serving.sequences)


@lru_cache(maxsize=64)
def _widest(anatomy: Anatomy) -> int:
    """Floats of one token in the layer that has most."""
    return max(_widths(anatomy), default=0)


def _widths(anatomy: Anatomy) -> Iterator[int]:
    """Floats of one token in each layer: the feed-forward part with attention's output beside it, or a recurrent
    projection."""
    found = [dict.fromkeys(("attention", "recurrent", "mlp", "experts"), 0) for _ in anatomy.layers]
    for one in anatomy.weights:
        if one.layer is None or one.layer >= len(found) or len(one.shape) < 2 or one.role not in found[one.layer]:
            continue
        rows, columns = one.shape[-2:]
        back = rows == anatomy.width  # it leads back to the model's own width
        if one.role == "recurrent":
            size = 0 if one.type == "F32" else rows
        else:
            size = columns if back else rows if one.role != "attention" else 0
        found[one.layer][one.role] = max(found[one.layer][one.role], size)
    for layer, sizes in zip(anatomy.layers, found, strict=True):
        chosen = anatomy.experts_used if sizes["experts"] else 0
        forward = 3 * max(sizes["mlp"], chosen * sizes["experts"])
        latent = layer.heads * layer.key_width if layer.attention == "mla" and chosen else 0
        yield max(max(forward, 2 * chosen * anatomy.width) + sizes["attention"] + latent,
                  round(3 * sizes["recurrent"] - 1.5 * anatomy.width))


def _scores(anatomy: Anatomy, tokens: int, cells: int, mask: int) -> Graph:
    """Without flash attention: every head's score of every cell."""
    heads = max((one.heads for one in anatomy.layers), default=anatomy.heads)
    keys = max((one.key_width for one in anatomy.layers), default=0)
    floats = cells * heads + mask + 5 * anatomy.width + 2 * keys
    return Graph(4 * tokens * floats, f"{tokens} tokens * 4 bytes * scores of {heads} heads for {cells} cells")
