"""What a GGUF's header asks to be computed: read, or refused by name when a family can't say it elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelkit.failure import Failure
from modelkit.models.convert.families.family import Dimensions, Family
from modelkit.models.formats.gguf import Array, Header, refuse

_MOST_LAYERS, _MOST_EXPERTS = 512, 1024  # llama.cpp's own bounds (src/llama-hparams.h)

UNCOMMON: dict[str, tuple[tuple[Any, ...], str]] = {
    # key: (the values that ask for nothing, what to call any other; its name and value if empty)
    # Families that do not carry one of these to config.json refuse it, also where llama.cpp would ignore it: the two
    # engines would not compute the same, and nothing says which of them was meant.
    "expert_count": ((0,), "a mixture of experts in the architecture `{architecture}`"),
    "attention.causal": ((True,), "attention in both directions"),
    **dict.fromkeys(("rope.freq_base_swa", "rope.dimension_sections", "rope.local.freq_base",
                     "rope.global.freq_base"), ((), "")),
    **dict.fromkeys(("attention.scale", "attention.temperature_scale", "attention.clamp_kqv",
                     "attention.max_alibi_bias", "attention.sliding_window", "attention.sliding_window_pattern",
                     "attn_logit_softcapping", "final_logit_softcapping", "nextn_predict_layers",
                     "expert_shared_count", "expert_group_count", "rope.scaling.yarn_log_multiplier"), ((0,), "")),
    **dict.fromkeys(("logit_scale", "embedding_scale", "residual_scale", "expert_weights_scale",
                     "expert_gating_func", "rope.scaling.alpha"), ((0, 1), "")),
    "rope.scaling.attn_factor": ((1,), ""),
}


def dimensions(header: Header, family: Family) -> Dimensions:
    """The shape of the model, or a Failure when it asks for something that this family can't carry over yet."""
    refuse_uncommon(header, family)
    layers, width, hidden, heads = (whole(header, key) for key in (
        "block_count", "embedding_length", "feed_forward_length", "attention.head_count"))
    kv_heads = whole(header, "attention.head_count_kv", heads)
    head_width = whole(header, "attention.key_length", width // heads)
    for key, what in (("attention.value_length", "keys and values of different widths"),
                      ("rope.dimension_count", "a rotary embedding over a part of each head"),
                      *((f"attention.{part}_length_swa", "heads of another width in sliding windows")
                        for part in ("key", "value")),
                      ("rope.dimension_count_swa", "a rotary embedding over a part of each head")):
        if whole(header, key, head_width) != head_width:
            raise not_yet(header, what)
    if layers > _MOST_LAYERS:
        refuse(header.path, "hyperparameter", 0, f"{layers:,} layers are too many; {_MOST_LAYERS} are llama.cpp's most")
    if heads % kv_heads or head_width % 2:
        refuse(header.path, "heads", 0, f"{heads} heads can't share {kv_heads} key heads of width {head_width}")
    shape = Dimensions(layers, width, hidden, heads, kv_heads, head_width)
    return replace(shape, **_experts(header, hidden)) if "expert_count" in family.reads else shape


def _experts(header: Header, hidden: int) -> dict[str, int]:
    """The experts' numbers and widths; those that are not said are llama.cpp's (src/models/qwen2moe.cpp)."""
    experts, used = whole(header, "expert_count"), whole(header, "expert_used_count")
    if used > experts or experts > _MOST_EXPERTS:
        refuse(header.path, "experts", 0, f"{used:,} of {experts:,} experts can't be used; llama.cpp's most are "
                                          f"{_MOST_EXPERTS}")
    widths = {"expert_hidden": ("expert_feed_forward_length", max(hidden // used, 1)),
              "shared_hidden": ("expert_shared_feed_forward_length", hidden)}
    return {"experts": experts, "experts_used": used, **{
        name: whole(header, key, usual) if header.metadata.get(f"{header.architecture}.{key}") else usual
        for name, (key, usual) in widths.items()}}


def refuse_uncommon(header: Header, family: Family) -> None:
    """Refuse what would be computed otherwise by another engine, by the name of its key."""
    for key, (neutral, words) in UNCOMMON.items():
        value = header.metadata.get(f"{header.architecture}.{key}")
        if value is None or key in family.reads or value in neutral:
            continue
        raise not_yet(header, words.format(architecture=header.architecture)
                      or f"`{header.architecture}.{key}`{'' if isinstance(value, Array) else f' = {value}'}")


def whole(header: Header, key: str, default: int = 0) -> int:
    """A whole number from 1 to 2³¹ under `<architecture>.<key>`; an array of one and the same number is that number."""
    key = f"{header.architecture}.{key}"
    if isinstance(header.metadata.get(key), Array):
        values = set(header.numbers(key))
        if len(values) > 1:
            raise not_yet(header, f"another `{key}` in each layer")
        value: int = int(values.pop()) if values else default
    else:
        value = header.get(key, int, default)
    if not 1 <= value < 1 << 31:
        refuse(header.path, "hyperparameter", 0, f"`{key}` is {value or 'missing'}")
    return value


def sliding_layers(header: Header, layers: int, period: int) -> list[bool]:
    """Which layers look back over a window only: all but the last of every `period`, unless the header says."""
    key = "attention.sliding_window_pattern"
    full = f"{header.architecture}.{key}"
    if isinstance(header.metadata.get(full), Array):
        said = header.numbers(full)
        if len(said) < layers:
            refuse(header.path, "hyperparameter", 0, f"`{full}` speaks of {len(said)} layers; there are {layers}")
        return [bool(one) for one in said[:layers]]
    period = whole(header, key, period)
    return [layer % period < period - 1 for layer in range(layers)]


def number(header: Header, key: str, default: float) -> float:
    """The number under `<architecture>.<key>`, as the shortest decimal of its float32."""
    value: float = header.get(f"{header.architecture}.{key}", float, default)
    return shortest(value)


def shortest(value: float) -> float:
    """The shortest decimal that is this float32: 1e-05, not 9.999999747378752e-06."""
    import numpy as np

    return float(str(np.float32(value)))


def not_yet(header: Header, what: str) -> Failure:
    """The answer to a model that can't be converted exactly."""
    from modelkit.models.convert.families import FAMILIES  # late: the registry is made of what calls this

    return Failure("architecture-not-yet",
                   f"{header.path.name} has {what}, which can't be converted to safetensors yet",
                   f"converted so far: {', '.join(FAMILIES)}; serve this one with `ENGINE llama.cpp`, or name a "
                   f"model in safetensors in the stage's FROM", data={"supported": list(FAMILIES)})
