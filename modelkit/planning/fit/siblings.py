"""Which of a base's quantized checkpoints an engine can serve on some hardware, and why not the others. Pure.

A repository's name says nothing for sure: what it is made of decides, as its headers show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from modelkit.models.anatomy.anatomy import Anatomy
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.servable import LEAST, on
from modelkit.planning.fit.sizes import spelled

VLLM_METHODS = frozenset((
    "awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "gptq_marlin", "fp8", "fbgemm_fp8", "fp_quant", "modelopt",
    "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed", "humming", "compressed-tensors", "experts_int8", "quark",
    "moe_wna16", "torchao", "inc", "auto-round", "mxfp4"))
"""Methods of `quantization_config` that vLLM 0.32 loads (`QuantizationMethods`; auto-round is its `inc`)."""

_PLAIN = ("", "bfloat16", "float16", "float32")
_TOLERANCE = 0.01  # of the number of parameters, and of the vocabulary, which some makers pad
_WITHOUT_HEADERS = {"gguf": "GGUF", "mlx": "MLX, which runs on Apple's machines only", "exl2": "EXL2", "exl3": "EXL3",
                    "bitsandbytes": "bitsandbytes", "onnx": "ONNX", "openvino": "OpenVINO"}


@dataclass(frozen=True)
class Sibling:
    """One checkpoint: what it turned out to be, and whether it can stand in; `refused` says why not, "" if it can.

    `bits` are of all its weights on average, the embedding that most leave alone among them.
    """

    repo: str
    precision: str
    size: int = 0  # bytes of all weights
    bits: float = 0.0
    downloads: int = 0
    official: bool = False  # of the base's own makers
    how: str = ""  # as the hardware computes it
    refused: str = ""
    anatomy: Anatomy | None = field(default=None, repr=False, compare=False)

    @property
    def write(self) -> str:
        """For a Modelfile."""
        gguf = self.anatomy is not None and self.anatomy.form == "gguf"
        return f"FROM hf.co/{self.repo}{f':{self.precision}' if gguf else ''}"

    def as_json(self) -> dict[str, Any]:
        return {"repo": self.repo, "write": self.write, "precision": self.precision, "size": self.size,
                "bits": round(self.bits, 2), "downloads": self.downloads, "official": self.official, "how": self.how,
                "refused": self.refused or None}


@dataclass(frozen=True)
class Siblings:
    """All that were looked at: those that can be served, best first, then the others."""

    base: str
    found: tuple[Sibling, ...]

    @property
    def servable(self) -> tuple[Sibling, ...]:
        return tuple(one for one in self.found if not one.refused)

    def as_json(self) -> dict[str, Any]:
        return {"base": self.base, "siblings": [one.as_json() for one in self.found]}

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """For a table: repository, precision, size, bits a weight, and how it is computed or why it is refused."""
        return [(one.repo, one.precision or "?", spelled(one.size) if one.size else "", f"{one.bits:.2f}" if one.bits
                 else "", f"refused: {one.refused}" if one.refused else one.how) for one in self.found]

    def __str__(self) -> str:
        if not self.found:
            return f"nobody says on the Hub that a checkpoint is {self.base}, quantized"
        widths = [max(len(row[at]) for row in self.rows()) for at in range(4)]
        lines = ("  ".join((f"{row[0]:{widths[0]}}", f"{row[1]:{widths[1]}}", f"{row[2]:>{widths[2]}}",
                            f"{row[3]:>{widths[3]}}", row[4])).rstrip() for row in self.rows())
        return "\n".join((f"made of {self.base}, as its tags say:", *lines))


def refused_by_tags(tags: Iterable[str], engine: str) -> str:
    """Why a repository need not be looked into at all; "" where it has to be."""
    known = {tag.lower() for tag in tags}
    if engine == "llama.cpp":
        return "" if "gguf" in known else "it has no GGUF"
    return next((f"it is {words}: {engine} loads none" for tag, words in _WITHOUT_HEADERS.items() if tag in known), "")


def judged(repo: str, anatomy: Anatomy, base: Anatomy | None, hardware: Hardware, engine: str = "vllm", *,
           downloads: int = 0, official: bool = False) -> Sibling:
    """A checkpoint as its headers show it, beside its base's (None: that one's could not be read)."""
    word = word_of(anatomy)
    numbers = anatomy.parameters or 1
    refused = (unlike(base, anatomy) if base is not None else "") or _unloadable(anatomy, word, engine)
    how = "" if base is not None else "not compared with its base, which can't be read; "
    if not refused and engine == "vllm" and word != "none":
        found = on(word if word in LEAST else "compressed-tensors", hardware)
        refused, how = found.refused, how + found.how
    return Sibling(repo, word, anatomy.weight_bytes, 8 * anatomy.weight_bytes / numbers, downloads, official,
                   "" if refused else how, refused, anatomy)


def ranked(base: str, found: Iterable[Sibling]) -> Siblings:
    """Those that can be served before the others; more bits first, then those of the base's makers, then downloads.

    Bits order them, not quality: one method may cost less than another of as many bits, and nobody measured all.
    """
    return Siblings(base, tuple(sorted(found, key=lambda one: (
        bool(one.refused), -round(one.bits, 1), not one.official, -one.downloads, one.repo))))


def word_of(anatomy: Anatomy) -> str:
    """The precision that a checkpoint has: a word of QUANTIZE where there is one, `none` for plain weights."""
    if anatomy.form == "gguf":
        return anatomy.quantization
    method = anatomy.quantization.lower()
    elements: Counter[str] = Counter()
    for one in anatomy.weights:
        if one.role in ("attention", "mlp", "experts", "shared_experts"):
            elements[one.type] += one.size
    most = elements.most_common(1)[0][0] if elements else ""
    if most == "U32":
        return "MLX"
    if method in _PLAIN:
        return "none"
    if most.startswith("F8_"):
        return "fp8"
    if most == "I8":
        return "int8"
    if most == "U8":
        return "nvfp4" if any(one.type == "F8_E4M3" for one in anatomy.weights) else "mxfp4" \
            if "bitsandbytes" not in method else method
    if method == "compressed-tensors":
        return "w4a16" if 8 * anatomy.weight_bytes / max(1, anatomy.parameters) < 8 else "w8a16"
    return method.removeprefix("auto_")


def unlike(base: Anatomy, other: Anatomy) -> str:
    """In what a checkpoint is not its base, quantized; "" where shapes and the number of parameters agree."""
    for what, ours, theirs in (("layers", len(base.layers), len(other.layers)), ("width", base.width, other.width),
                               ("attention heads", base.heads, other.heads), ("experts", base.experts, other.experts),
                               ("numbers cached for a token", _cached(base), _cached(other))):
        if ours != theirs:
            return f"it is another model: {what} {theirs:,}, and the base has {ours:,}"
    for what, ours, theirs in (("tokens in the vocabulary", base.vocabulary, other.vocabulary),
                               ("parameters", _numbers(base), _numbers(other))):
        if abs(ours - theirs) > _TOLERANCE * max(ours, 1):
            return f"it is another model: {theirs:,} {what}, and the base has {ours:,}"
    return ""


def _cached(anatomy: Anatomy) -> int:
    return sum(layer.key_width + layer.value_width for layer in anatomy.layers)


def _numbers(anatomy: Anatomy) -> int:
    """Parameters without what only some forms keep: parts that see or draft."""
    return anatomy.parameters - sum(one.elements for one in anatomy.weights if one.role in ("vision", "draft"))


def _unloadable(anatomy: Anatomy, word: str, engine: str) -> str:
    if engine == "llama.cpp":
        return "" if anatomy.form == "gguf" else "it has no GGUF"
    if anatomy.form == "gguf":
        return f"it is GGUF: {engine} loads none"
    if word == "MLX":
        return f"it is {_WITHOUT_HEADERS['mlx']}"
    method = anatomy.quantization.lower()
    if engine == "vllm" and method not in _PLAIN and method not in VLLM_METHODS:
        return f"vLLM 0.32 has no method `{method}`"
    return ""
