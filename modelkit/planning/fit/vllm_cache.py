"""vLLM's attention cache: which layers share a table of blocks, what a block costs, how many a conversation needs.

Rules of vLLM 0.32 (`v1/kv_cache_interface.py`, `v1/core/kv_cache_utils.py`, `platforms/interface.py`): layers that keep
alike form a group; every group draws its blocks from one pool, so all blocks cost the same, what the widest group
needs; a conversation holds blocks of every group. Exact for models of full attention, sliding windows, latents (MLA)
and for hybrids of states and full attention.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from modelkit.models.anatomy import Anatomy, Layer
from modelkit.planning.fit.serving import Serving

Keeps = Literal["tokens", "window", "state"]

WIDTHS = {"auto": 0, "float32": 4, "float16": 2, "half": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1,
          "f16": 2, "bf16": 2, "int8_per_token_head": 1, "fp8_per_token_head": 1}
"""Bytes of one number of the cache by the word of `--kv-cache-dtype`; 0: as the model computes."""

_PER_HEAD = ("int8_per_token_head", "fp8_per_token_head")  # and a float32 scale for each of a head's two vectors

_MAMBA2 = ("falcon_h1", "granitehybrid", "granitemoehybrid", "bamba", "nemotron_h", "nemotron_h_moe", "zamba2")
"""Hybrids whose layers export a state in the middle of a prompt, for which they hold one more (`mamba_mixer2.py`)."""

_PACKED, _PACKED_OF = 656, 576
"""Bytes of a latent of so many numbers where sparse attention reads it in 8 bits (`fp8_ds_mla`)."""

_MLA_ALIGNED = 128  # tokens: hybrids of latents and states have blocks that are a multiple of it


@dataclass(frozen=True)
class Page:
    """One block of one layer. `tokens` that it holds (of a state: any number); `size` in bytes, padding included."""

    keeps: Keeps
    tokens: int
    size: int
    window: int = 0
    alike: str = ""  # what else tells layers apart that cannot share a group


@dataclass(frozen=True)
class Group:
    """Layers that share a table of blocks. `pages` by layer of the model, -n-1 for the state of layer n."""

    pages: tuple[tuple[int, Page], ...]

    @property
    def page(self) -> Page:
        return self.pages[0][1]

    def needs(self, context: int, in_flight: int, states: int) -> int:
        """Blocks of one conversation of so many tokens."""
        return max(_blocks(page, context, in_flight, states) for _, page in self.pages)


@dataclass(frozen=True)
class Cache:
    """How vLLM would divide its pool. Empty where the model keeps nothing of the past."""

    groups: tuple[Group, ...]
    in_flight: int  # tokens that may be computed and not yet settled
    states: int  # that a conversation holds of each recurrent layer
    block_bytes: int  # of one block of the pool, on one GPU

    def blocks(self, room: int) -> int:
        """Blocks that so many bytes hold."""
        return max(0, room) // self.block_bytes if self.block_bytes else 0

    def needs(self, context: int) -> int:
        """Blocks of one conversation of so many tokens."""
        return sum(group.needs(context, self.in_flight, self.states) for group in self.groups)

    def least(self, context: int) -> int:
        """Bytes without which vLLM refuses to start with such a context: one conversation, and a block held back."""
        return (self.needs(context) + 1) * self.block_bytes if self.groups else 0

    def longest(self, room: int, limit: int) -> int:
        """The longest context that so many bytes hold, as vLLM's `--max-model-len -1` finds it; 0: none at all."""
        if not self.groups:
            return limit
        if self.least(1) > room:
            return 0
        low, high = 1, limit
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.least(middle) <= room else (low, middle - 1)
        return low


def cache(anatomy: Anatomy, serving: Serving, in_flight: int, *, layers: range | None = None) -> Cache:
    """The cache of one rank: of all layers, or of those that a stage of a pipeline has."""
    pages = _unified(dict(_pages(anatomy, serving)))
    groups = _groups(pages)
    if layers is not None:
        here = [Group(tuple((at, page) for at, page in group.pages if max(at, -at - 1) in layers)) for group in groups]
        groups = [group for group in here if group.pages]
    widest = max((sum(page.size for _, page in group.pages) for group in groups), default=0)
    return Cache(tuple(groups), in_flight, _states(anatomy, serving), widest)


def _states(anatomy: Anatomy, serving: Serving) -> int:
    """States of each recurrent layer that a conversation holds: with prefix caching, kept ones beside the current."""
    if not serving.prefix_caching or not any(layer.key_width for layer in anatomy.layers):
        return 1
    return 3 if anatomy.architecture.replace("-", "_") in _MAMBA2 else 2


def _blocks(page: Page, context: int, in_flight: int, states: int) -> int:
    if page.keeps == "state":
        return states
    if page.keeps == "window":  # it may begin within a block, hence one more
        return math.ceil(min(page.window - 1 + in_flight, context) / page.tokens) + 1
    return math.ceil(context / page.tokens)


def _pages(anatomy: Anatomy, serving: Serving) -> Iterator[tuple[int, Page]]:
    """Each layer's page before any is made to match others. A layer with attention and a state has two, at n and -n-1.

    With chunked attention vLLM gives every layer room for the whole conversation: its hybrid manager is off there.
    """
    width = WIDTHS.get(serving.kv_type, 0) or _compute_width(serving.dtype)
    chunked = any(layer.attention == "chunked" for layer in anatomy.layers)
    tokens = _block_tokens(anatomy, serving, width)
    for at, layer in enumerate(anatomy.layers):
        if layer.key_width:
            size = tokens * _token_bytes(layer, serving, width)
            window = layer.window if layer.attention == "sliding" and not chunked else 0
            yield at, Page("window" if window else "tokens", tokens, size, window,
                           "mla" if layer.attention == "mla" else "")
        if layer.state_bytes:
            yield -at - 1, Page("state", 0, state_bytes(layer, anatomy, serving))


def _token_bytes(layer: Layer, serving: Serving, width: int) -> int:
    """Bytes that a token adds to one layer on one rank. Latents are on every rank; heads at least one."""
    if layer.attention == "mla":
        packed = layer.index_width and width == 1 and layer.key_width == _PACKED_OF
        return (_PACKED if packed else layer.key_width * width) + _indexed(layer)
    heads = max(1, layer.kv_heads)
    here = max(1, heads // serving.tensor_parallel)
    scales = 2 * 4 * here if serving.kv_type in _PER_HEAD else 0
    return (layer.key_width + layer.value_width) // heads * here * width + scales


def _indexed(layer: Layer) -> int:
    """Bytes that a token adds for sparse attention to choose by: 8 bits a number, and a scale for each 128."""
    return layer.index_width + math.ceil(layer.index_width / 128) * 4


def state_bytes(layer: Layer, anatomy: Anatomy, serving: Serving) -> int:
    """A recurrent layer's state of one sequence on one rank, as vLLM keeps it.

    Its convolution's part is in the precision that the model computes with, the rest in what its config says.
    """
    width = _compute_width(serving.dtype)
    states = (layer.state_bytes - layer.conv_bytes) // 4 * (_compute_width(anatomy.state_type or serving.dtype))
    return (layer.conv_bytes // 4 * width + states) // serving.tensor_parallel


def _compute_width(dtype: str) -> int:
    return 4 if dtype in ("float32", "float") else 2


def _block_tokens(anatomy: Anatomy, serving: Serving, width: int) -> int:
    """Tokens of a block. Hybrids get blocks so long that a page of attention is not smaller than one of a state."""
    state = max((state_bytes(layer, anatomy, serving) for layer in anatomy.layers if layer.state_bytes), default=0)
    attention = [layer for layer in anatomy.layers if layer.key_width]
    if not state or not attention:
        return serving.block_size
    one = max(_token_bytes(layer, serving, width) for layer in attention)
    step = max(serving.block_size, _MLA_ALIGNED) if attention[0].attention == "mla" else serving.block_size
    return max(serving.block_size, step * math.ceil(state / (step * one)))


def _unified(pages: dict[int, Page]) -> dict[int, Page]:
    """Pages of one size where layers keep differently: longer blocks where that divides, padding where not."""
    kinds = {(page.keeps, page.window) for page in pages.values()}
    largest = max((page.size for page in pages.values()), default=0)
    if len(kinds) <= 1:
        return pages

    def grown(page: Page) -> Page:
        if page.size == largest or page.keeps == "state" or largest % page.size:
            return replace(page, size=largest)
        return replace(page, size=largest, tokens=page.tokens * (largest // page.size))

    return {at: grown(page) for at, page in pages.items()}


def _groups(pages: dict[int, Page]) -> list[Group]:
    """Layers that keep alike, in groups of the same length; what does not divide is padded."""
    kinds = {(page.keeps, page.window) for page in pages.values()}
    if len(kinds) <= 1:
        return [Group(tuple(pages.items()))] if pages else []
    counts = Counter(pages.values())
    length = max(counts.values()) if max(counts.values()) < 1.5 * min(counts.values()) else min(counts.values())
    groups: list[Group] = []
    for kind in counts:
        alike: Sequence[tuple[int, Page]] = [(at, page) for at, page in pages.items() if page == kind]
        number = math.ceil(len(alike) / length)
        groups += [Group(tuple(alike[start::number])) for start in range(number)]
    return groups
