"""Which type each tensor of a GGUF gets when llama.cpp quantizes it: a word of QUANTIZE is a mixture of types.

The rules are facts of `src/llama-quant.cpp` as llama-cpp-python 0.3.36 builds it, and are tested against that library's
own dry run, tensor by tensor. Pure: names, shapes and a few numbers of the model decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from modelkit.models.anatomy.anatomy import Weight
from modelkit.models.formats.gguf_types import TENSOR_TYPES, TensorType

Kind = Literal["output", "embedding", "values", "keys", "queries", "attention_output", "up", "gate", "down", "other"]

TYPES: dict[str, TensorType] = {row.name: row for row in TENSOR_TYPES.values()}

MOSTLY = {"Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K", "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K",
          "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S"}
"""The type of most tensors, of words that are no type themselves."""

_FLOATS = ("F32", "F16", "BF16")
_LOWEST = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M")
_TWO_BITS = ("IQ2_S", "IQ2_M")

_NAMED: tuple[tuple[str, Kind], ...] = (
    (r"^output\.weight$", "output"), (r"^(per_layer_)?token_embd\.weight$", "embedding"),
    (r"attn_(qkv|kv_b|v)\.weight", "values"), (r"attn_k\.weight", "keys"), (r"attn_q\.weight", "queries"),
    (r"attn_output\.weight", "attention_output"), (r"ffn_up", "up"), (r"ffn_gate", "gate"), (r"ffn_down", "down"))
_KINDS = tuple((re.compile(pattern), kind) for pattern, kind in _NAMED)

_KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj|"
    r"^position_embd\.weight$|^token_types\.weight$|ssm_conv1d|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight|"
    r"time_mix_(first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight|attn_rel_b\.weight|\.position_embd|"
    r"sam\.(pos_embd|neck\.|net_)|\.rel_pos|\.patch_embd|\.patch_merger|a\.rvq\.codebook|mm\.a\.code_embd")
"""Matrices that stay as they are: small ones, routers, positions, convolutions."""
_KEPT_BY = {"glm5-next": re.compile(
    r"hc_|indexer\.attn_q_b|indexer\.attn_k|indexer\.proj|indexer_compressor_(gate|ape)|"
    r"ssm_(f_a|f_b|g_a|g_b|beta)\.weight|attn_kv_a_mqa\.weight|attn_[kv]_b\.weight")}
_AT_LEAST_8_BITS = {"glm5-next": re.compile(r"attn_q_[ab]|nextn\.eh_proj")}

_INSTEAD = {**dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
            **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"), "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""For rows that a type's blocks of 256 do not divide; where blocks of 32 do not either, it is F16."""

_EMBEDDING = {**dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), "Q2_K"),
              **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"), **dict.fromkeys(("TQ1_0", "TQ2_0"), "Q4_K")}
_ATTENTION_OUTPUT = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}
_ATTENTION_OUTPUT_OF_8 = ("Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S",
                          "IQ3_M", "IQ4_XS")  # all become Q5_K beside eight experts
_VALUES_OF_GROUPS = {**dict.fromkeys(("Q2_K", "Q2_K_S", "IQ3_XXS", "IQ3_XS", "IQ3_S"), "Q4_K"),
                     **dict.fromkeys(("IQ4_NL", "IQ4_XS"), "Q5_K")}  # four query heads or more read each
_BLOCK = re.compile(r"^blk\.(\d+)\.")
_NAMES = 1 << 14  # names of tensors to remember the answers for: a ladder asks for the same ones of every word


@dataclass(frozen=True)
class Model:
    """What of a model decides, besides its tensors. `grouping` is the query heads of each key head of the first layer.

    `blocks` counts layers that only draft, too; `of_70b` is what llama.cpp calls so: 80 layers with grouped heads.
    """

    architecture: str
    blocks: int
    experts: int = 0
    grouping: int = 1
    of_70b: bool = False


@lru_cache(_NAMES)
def kind(name: str) -> Kind:
    """What llama.cpp's quantizer takes a tensor for."""
    return next((kind for pattern, kind in _KINDS if pattern.search(name)), "other")


def quantizable(weight: Weight, architecture: str) -> bool:
    """Does the quantizer touch this tensor? Only matrices, and not all of them."""
    dimensions = len(weight.shape) - next((at for at, one in enumerate(weight.shape) if one > 1), len(weight.shape) - 1)
    return dimensions >= 2 and not _stays(weight.name, architecture)


@lru_cache(_NAMES)
def _stays(name: str, architecture: str) -> bool:
    """Does its name say that a matrix is left as it is?"""
    kept = _KEPT_BY.get(architecture)
    return not name.endswith("weight") or _KEPT.search(name) is not None or (
        kept is not None and kept.search(name) is not None)


def row_bytes(type_: str, columns: int) -> int:
    row = TYPES[type_]
    return columns // row.block * row.bytes


def mixture(weights: Iterable[Weight], model: Model, word: str, *, imatrix: bool = False) -> dict[str, str]:
    """The type of each tensor, by its name, when a GGUF becomes `word`; tensors that stay as they are are left out.

    `imatrix`: with an importance matrix llama.cpp mixes some words otherwise. Raises KeyError for a word that is none
    of llama.cpp's.
    """
    given = sorted(weights, key=lambda one: _order(one.name))
    mix = _Mixture(model, word, imatrix, given)
    return {one.name: mix.type_of(one) for one in given if quantizable(one, model.architecture)}


@lru_cache(_NAMES)
def _order(name: str) -> tuple[int, str]:
    """llama.cpp's own: it counts some kinds as they come."""
    block = _BLOCK.match(name)
    return int(block[1]) if block else -1, name


class _Mixture:
    """The rules of one word, and the counts on which some of them depend."""

    def __init__(self, model: Model, word: str, imatrix: bool, weights: list[Weight]) -> None:
        self.model, self.word, self.imatrix = model, word, imatrix
        self.most = TYPES[MOSTLY.get(word, word)].name
        self.tied = not any(one.name == "output.weight" for one in weights)
        self.of_values = sum(kind(one.name) == "values" for one in weights)
        self.values = self.down = self.gate = self.up = 0  # seen so far

    def type_of(self, weight: Weight) -> str:
        if self.most in _FLOATS:
            return self.most
        return fitting(self.preferred(weight), weight.shape[-1])

    def preferred(self, weight: Weight) -> str:
        """What the rules say, whether or not its blocks divide the rows."""
        what = kind(weight.name)
        careful = _AT_LEAST_8_BITS.get(self.model.architecture)
        if careful is not None and careful.search(weight.name):
            return "Q8_0"
        if what == "output" or (what == "embedding" and self.tied):
            return self._output(weight.shape[-1])
        if self.word == "MXFP4":
            return "MXFP4" if self._is_stack(weight, what) else "Q8_0"
        if what == "embedding":
            return _EMBEDDING.get(self.word, self.most)
        if self.word in _LOWEST:
            return self._lowest(what)
        match what:
            case "values":
                return self._values()
            case "keys":
                return "Q8_0" if self.model.experts == 8 else self._queries("IQ3_XXS", "IQ2_S")
            case "queries":
                return self._queries("IQ3_XXS", "IQ2_S")
            case "down":
                return self._down(weight)
            case "attention_output":
                return self._attention_output()
            case "gate":
                self.gate += 1
                return self._middle(self._layer(weight, self.gate - 1))
            case "up":
                self.up += 1
                return self._middle(self._layer(weight, self.up - 1))
        return self.most

    def _is_stack(self, weight: Weight, what: Kind) -> bool:
        """Is it the matrices of several experts in one?"""
        stacked = len(weight.shape) > 2 and weight.shape[-3] > 1
        return stacked and (self.model.architecture != "bailingmoe3" or what in ("up", "gate", "down"))

    def _output(self, columns: int) -> str:
        if self.word == "MXFP4" or self.model.architecture == "falcon" or columns % TYPES[self.most].block:
            return "Q8_0"
        if self.word in (*_LOWEST, "IQ3_XXS"):
            return "Q5_K"
        return "Q8_0" if self.most == "Q8_0" else "Q6_K"

    def _lowest(self, what: Kind) -> str:
        """Words of one and two bits have rules of their own."""
        better = "IQ3_S" if self.word in _TWO_BITS else "Q2_K"
        match what:
            case "values":
                return "Q4_K" if self.model.grouping >= 4 or self.model.experts >= 4 else better
            case "keys" if self.model.experts == 8:
                return "Q4_K"
            case "down":
                self.down += 1
                return better if self.down <= self.model.blocks // 8 else self.most
            case "attention_output":
                of_few = {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}
                return "Q5_K" if self.model.experts == 8 else of_few.get(self.word, self.most)
        return self.most

    def _values(self) -> str:
        at, self.values = self.values, self.values + 1
        if self.model.experts == 8:
            return "Q8_0"
        found = self._values_at(at)
        return "Q5_K" if self.model.of_70b and found in ("Q3_K", "Q4_K") else found

    def _values_at(self, at: int) -> str:
        if self.model.grouping >= 4 and self.word in _VALUES_OF_GROUPS:
            return _VALUES_OF_GROUPS[self.word]
        match self.word:
            case "Q2_K":
                return "Q3_K"
            case "IQ3_XXS":
                return "IQ3_XXS" if self.imatrix else "IQ3_S"
            case "IQ3_M":
                return "Q4_K"
            case "Q3_K_M":
                return "Q5_K" if at < 2 else "Q4_K"
            case "Q3_K_L":
                return "Q5_K"
            case "Q4_K_M" | "Q5_K_M" if more_bits(at, self.of_values):
                return "Q6_K"
            case "Q4_K_S" if at < 4:
                return "Q5_K"
        return self.most

    def _queries(self, of_xs: str, of_xxs: str) -> str:
        return {"IQ3_XS": of_xs, "IQ3_XXS": of_xxs}.get(self.word, self.most)

    def _down(self, weight: Weight) -> str:
        at, blocks, falcon = self._layer(weight, self.down), self.model.blocks, self.model.architecture == "falcon"
        self.down += 1
        first, more = at < blocks // 8, more_bits(at, blocks)
        match self.word:
            case "Q2_K":
                return "Q3_K"
            case "Q2_K_S" if first:
                return "Q4_K"
            case "IQ3_XXS" if not self.imatrix:
                return "Q4_K" if first else "Q3_K"
            case "Q3_K_M":
                return "Q5_K" if at < blocks // 16 else "Q4_K" if not falcon or more else "Q3_K"
            case "IQ3_M" if first or (self.model.experts == 8 and more):
                return "Q4_K"
            case "Q3_K_L":
                return "Q4_K" if falcon else "Q5_K"
            case "Q4_K_M" if falcon:
                return "Q6_K" if at < blocks // 16 else "Q5_K" if more else "Q4_K"
            case "Q4_K_M" | "Q5_K_M" if more:
                return "Q6_K"
            case "IQ4_NL" | "IQ4_XS" if first and not self.imatrix:
                return "Q5_K"
            case "Q4_K_S" if first and not falcon:
                return "Q5_K"
            case "Q4_0" | "Q5_0" if first and self.imatrix:
                return "Q4_1" if self.word == "Q4_0" else "Q5_1"
        return self.most

    def _attention_output(self) -> str:
        if self.model.architecture == "falcon":
            return "Q4_K" if self.word == "Q3_K_L" else self.most
        if self.model.experts == 8:
            return "Q5_K" if self.word in _ATTENTION_OUTPUT_OF_8 else self.most
        return _ATTENTION_OUTPUT.get(self.word, self.most)

    def _middle(self, at: int) -> str:
        blocks = self.model.blocks
        return "IQ3_XXS" if self.word == "IQ3_XS" and blocks // 8 <= at < 7 * blocks // 8 else self.most

    def _layer(self, weight: Weight, counted: int) -> int:
        """The layer that a tensor counts for: beside experts its name says it, else how many came before."""
        block = _BLOCK.match(weight.name) if self.model.experts > 1 else None
        return int(block[1]) if block else counted


def more_bits(at: int, count: int) -> bool:
    """Is this one of those that get more bits: the first and the last eighth, and every third between?"""
    return at < count // 8 or at >= 7 * count // 8 or (at - count // 8) % 3 == 2


def fitting(type_: str, columns: int) -> str:
    """The type, or what llama.cpp takes instead where its blocks do not divide the rows."""
    if columns % TYPES[type_].block == 0:
        return type_
    instead = _INSTEAD.get(type_, type_)
    return instead if columns % TYPES[instead].block == 0 else "F16"
