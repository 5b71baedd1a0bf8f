"""What a family of models is, to the conversion: which tensors it has, and what its header and config.json say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from modelkit.models.formats.gguf import Header


@dataclass(frozen=True)
class Dimensions:
    """What the header says about the model's shape. Without experts their numbers are 0."""

    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    experts: int = 0
    experts_used: int = 0
    expert_hidden: int = 0
    shared_hidden: int = 0

    def axis(self, name: str) -> int:
        """The length of an axis that a `Row` names."""
        match name:
            case "query":
                return self.heads * self.head_width
            case "key":
                return self.kv_heads * self.head_width
            case "one":
                return 1
        length: int = getattr(self, name)
        return length


Bias = Literal["none", "optional", "always"]


@dataclass(frozen=True)
class Row:
    """One tensor of a block, or of what is around the blocks, in both worlds.

    `axes` are in Hugging Face's order, rows first. `heads` names the number of heads inside which conversion to GGUF
    interleaved the rows, `shift` is what it added to each weight. A row with `experts` is one tensor in the GGUF and
    one for each expert in Hugging Face's folder, `{}` in `target` being its number.
    """

    source: str
    target: str
    axes: str
    heads: str = ""
    shift: float = 0.0
    bias: Bias = "none"
    optional: bool = False
    experts: bool = False


@dataclass(frozen=True)
class Slot:
    """A tensor of the Hugging Face folder and where in the GGUF it is found: `shape` from the row `begin` on."""

    target: str
    shape: tuple[int, ...]
    source: str
    source_shape: tuple[int, ...]  # rows first, as `shape`
    begin: int = 0
    heads: int = 0
    shift: float = 0.0
    optional: bool = False


EMBEDDING = Row("token_embd", "model.embed_tokens", "vocabulary width")
NORM = Row("output_norm", "model.norm", "width")
OUTPUT = Row("output", "lm_head", "vocabulary width", optional=True)  # without it the embedding is used again


@dataclass(frozen=True)
class Family:
    """A row of the registry: an architecture in llama.cpp's words and what it is called and computes elsewhere.

    `block` are the tensors of each layer, `before` and `after` those around the layers. `settings` are entries of
    `config.json` beyond the common ones. `reads` are the keys of `header.UNCOMMON` that `settings` takes care of;
    `unused` are tensors that say nothing which `config.json` does not.
    """

    architecture: str
    model: str
    model_type: str
    block: tuple[Row, ...]
    settings: Callable[[Header, Dimensions], dict[str, Any]]
    before: tuple[Row, ...] = (EMBEDDING,)
    after: tuple[Row, ...] = (NORM, OUTPUT)
    activation: str = "silu"
    reads: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()

    def slots(self, shape: Dimensions, vocabulary: int) -> Iterator[Slot]:
        """Every tensor that a model of this shape can have, in the order in which they are written."""
        for row in self.before:
            yield from _slots(row, "", "", shape, vocabulary)
        for layer in range(shape.layers):
            for row in self.block:
                yield from _slots(row, f"blk.{layer}.", f"model.layers.{layer}.", shape, vocabulary)
        for row in self.after:
            yield from _slots(row, "", "", shape, vocabulary)


def _slots(row: Row, source: str, target: str, shape: Dimensions, vocabulary: int) -> Iterator[Slot]:
    axes = tuple(vocabulary if axis == "vocabulary" else shape.axis(axis) for axis in row.axes.split())
    source, heads = source + row.source, shape.axis(row.heads) if row.heads else 0
    if row.experts:
        for expert in range(shape.experts):
            yield Slot(f"{target}{row.target.format(expert)}.weight", axes, f"{source}.weight",
                       (shape.experts, *axes), expert * axes[0])
        return
    yield Slot(f"{target}{row.target}.weight", axes, f"{source}.weight", axes, 0, heads, row.shift, row.optional)
    if row.bias != "none":
        yield Slot(f"{target}{row.target}.bias", axes[:1], f"{source}.bias", axes[:1], 0, heads, 0.0,
                   row.bias == "optional")
