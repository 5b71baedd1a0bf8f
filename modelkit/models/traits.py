"""What makes a model the one it is, read from headers and small files and said in the same words for both forms.

Facts about what conversion to GGUF keeps and changes are those of llama.cpp's conversion/base.py and gguf-py's
vocab.py. What a form does not say is None, and is never guessed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from modelkit.failure import Failure
from modelkit.models.formats.gguf import Array, Header

if TYPE_CHECKING:
    from modelkit.models.convert.vocabulary import Vocabulary
    from modelkit.models.formats.splits import Split

Shape = tuple[int, ...]
Scaling = tuple[str | float, ...]
"""How positions are stretched: the kind, then its numbers; `("none",)` when they are not."""

_UNUSED = 5  # the type of a token that only fills the vocabulary up

NUMBERS = {
    # ours: (in a GGUF after the architecture, in config.json, what it counts)
    "layers": ("block_count", "num_hidden_layers"), "hidden size": ("embedding_length", "hidden_size"),
    "feed-forward size": ("feed_forward_length", "intermediate_size"),
    "attention heads": ("attention.head_count", "num_attention_heads"),
    "key-value heads": ("attention.head_count_kv", "num_key_value_heads"),
    "head width": ("attention.key_length", "head_dim"), "experts": ("expert_count", ""),
    "experts used": ("expert_used_count", ""), "expert size": ("expert_feed_forward_length", "moe_intermediate_size"),
    "norm epsilon": ("attention.layer_norm_rms_epsilon", "rms_norm_eps"), "rope theta": ("rope.freq_base", ""),
    "attention softcap": ("attn_logit_softcapping", "attn_logit_softcapping"),
    "output softcap": ("final_logit_softcapping", "final_logit_softcapping"),
    "context length": ("context_length", "max_position_embeddings"),
}


@dataclass(frozen=True)
class Traits:
    """A model by what decides its answers. `tensors` are by Hugging Face's names, None when those can't be told."""

    name: str
    form: Literal["gguf", "safetensors"]
    architecture: str
    numbers: Mapping[str, float | None]
    scaling: Scaling | None
    tokens: Mapping[int, str]
    filling: frozenset[int]  # ids that are there to fill the vocabulary up
    merges: list[str] | None
    special: Mapping[str, frozenset[int]]  # role to the ids that may have it; a role is missing when nothing is said
    begins: bool | None  # does a prompt begin with the bos token?
    tied: bool | None  # is the embedding used again as the output?
    templates: tuple[str, ...]  # the chat template, and what it may be spelled as
    tensors: Mapping[str, Shape] | None
    stored: Mapping[str, Shape] = field(default_factory=dict)  # by the names of this form


def of_gguf(model: Split) -> Traits:
    """The traits of a GGUF model."""
    from modelkit.models.convert.tokenizer import chat_template, complete_chat_template
    from modelkit.models.convert.vocabulary import read_vocabulary

    header = model.first
    vocabulary = read_vocabulary(header)
    template = chat_template(header)
    stored = {name: tensor.shape for name, (_, tensor) in model.tensors.items()}
    return Traits(
        name=header.path.name, form="gguf", architecture=header.architecture, numbers=_numbers(header),
        scaling=_scaling(header, model), tokens=dict(enumerate(vocabulary.tokens)),
        filling=frozenset(number for number, kind in enumerate(vocabulary.types) if kind == _UNUSED),
        merges=merges(header.strings("tokenizer.ggml.merges")) or None, special=_special(vocabulary),
        begins=header.get("tokenizer.ggml.add_bos_token", bool), tied="output.weight" not in stored,
        templates=() if template is None else tuple(dict.fromkeys(
            one.strip() for one in (template, _or_none(complete_chat_template, vocabulary)) if one)),
        tensors=_renamed(header, stored, len(vocabulary.tokens)), stored=stored)


def merges(rules: list[Any]) -> list[str]:
    """Merge rules as a GGUF spells them: `"a b"`. The newer spelling, `["a", "b"]`, may have spaces inside."""
    return [rule if isinstance(rule, str) else _spelled(rule) for rule in rules]


def _spelled(rule: Any) -> str:
    try:
        left, right = rule
        return f"{left.replace(' ', 'Ġ')} {right.replace(' ', 'Ġ')}"
    except (TypeError, ValueError, AttributeError):
        return ""  # no rule at all


def _numbers(header: Header) -> dict[str, float | None]:
    said: dict[str, float | None] = {}
    for name, (key, _) in NUMBERS.items():
        value = header.metadata.get(f"{header.architecture}.{key}")
        if isinstance(value, Array):  # one number a layer
            each = set(header.numbers(f"{header.architecture}.{key}")) if value.kind != "string" else set()
            value = each.pop() if len(each) == 1 else None
        said[name] = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    heads, width = said["attention heads"], said["hidden size"]
    if heads and said["key-value heads"] is None:
        said["key-value heads"] = heads
    if heads and width and said["head width"] is None:
        said["head width"] = width // heads
    if said["rope theta"] is None:
        said["rope theta"] = 10000.0
    return said | {name: said[name] or 0 for name in ("experts", "experts used", "attention softcap",
                                                      "output softcap")}


def _scaling(header: Header, model: Split) -> Scaling | None:
    prefix = f"{header.architecture}.rope"
    kind = header.get(f"{prefix}.scaling.type", str, "linear")
    factor = header.get(f"{prefix}.scaling.factor", float, header.get(f"{prefix}.scale_linear", float, 0.0))
    if (found := model.tensors.get("rope_freqs.weight")) is not None:
        part, tensor = found
        if tensor.type.name != "F32" or tensor.elements > 1 << 12:
            return None
        body = part.access.read_at(tensor.offset, tensor.size)
        return ("llama3", *struct.unpack(f"<{len(body) // 4}f", body[:len(body) // 4 * 4]))
    if "rope_factors_long.weight" in model.tensors:
        return ("longrope",)
    if factor in (0.0, 1.0) or kind == "none":
        return ("none",)
    trained = header.get(f"{prefix}.scaling.original_context_length", int)
    return (kind, factor) if kind != "yarn" or trained is None else (kind, factor, float(trained))


def divisors(rule: Mapping[str, Any], theta: float, width: int) -> Scaling | None:
    """Llama 3.1's rule as the factors that conversion to GGUF writes (llama.cpp, conversion/llama.py)."""
    try:
        factor, low, high = (float(rule[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
        trained = float(rule["original_max_position_embeddings"])
        found: list[str | float] = ["llama3"]
        for place in range(0, width, 2):
            turns = trained / (2 * math.pi * theta ** (place / width))
            smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
            found.append(1.0 / ((1.0 - smooth) / factor + smooth))
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return tuple(found)


def _special(vocabulary: Vocabulary) -> dict[str, frozenset[int]]:
    said = {}
    for role, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("eot", "eot"), ("unk", "unknown")):
        number = vocabulary.header.get(f"tokenizer.ggml.{key}_token_id", int)
        if number is not None and 0 <= number < len(vocabulary.tokens):
            said[role] = frozenset((number,))
    return said | {"ends": frozenset(vocabulary.ends)}


def _renamed(header: Header, stored: Mapping[str, Shape], vocabulary: int) -> dict[str, Shape] | None:
    """The tensors as they would be in a Hugging Face folder; those without a name there keep their own."""
    from modelkit.models.convert.families import dimensions_of, family_of

    try:
        family = family_of(header)
        slots = [slot for slot in family.slots(dimensions_of(header), vocabulary) if slot.source in stored]
    except Failure:
        return None
    sources = {slot.source for slot in slots}
    found = {name: tuple(reversed(shape)) for name, shape in stored.items()
             if name not in sources and name not in family.unused}
    for slot in slots:
        shape = tuple(reversed(stored[slot.source]))
        found[slot.target] = slot.shape if plain(shape) == plain(slot.source_shape) else shape
    return found


def plain(shape: Shape) -> Shape:
    """A shape without the ones in front: one row may be stored as a vector."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _or_none(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except Failure:
        return None
