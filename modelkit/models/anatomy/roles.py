"""What a tensor is for, told by its name as GGUF files and Hugging Face folders spell it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from modelkit.failure import Failure
from modelkit.models.anatomy.anatomy import Layer, Role

_LONGEST_NUMBER = 4  # digits of a layer's number
_LONGEST = 256  # characters of a name that is looked at; published models have less than 120
_MOST_KINDS = 4096
_NUMBER = re.compile(r"\.[0-9]+\.")

_Table = tuple[tuple[re.Pattern[str], Role], ...]


def _table(*rows: tuple[str, Role]) -> _Table:
    """Patterns that match from the start of a name, tried in this order."""
    return tuple((re.compile(pattern), role) for pattern, role in rows)


_GGUF_LAYER = re.compile(rf"^(?:(enc|dec)\.)?blk\.([0-9]{{1,{_LONGEST_NUMBER}}})\.")
_FOLDER_LAYER = re.compile(rf"(?:^|\.)(?:layers|layer|h|blocks|block)\.([0-9]{{1,{_LONGEST_NUMBER}}})\.")

_GGUF_WHOLE = _table(
    (r"token_embd\.|per_layer_token_embd|position_embd|token_types", "embedding"),
    (r"output(\.weight|\.bias|\.scale)", "output"),
    (r".*norm", "norm"),
    (r"altup_|per_layer_", "mlp"),
    (r"(v|mm|a|resampler)\.", "vision"),
    (r"nextn\.", "draft"),
)
_GGUF_PART = _table(
    (r"nextn\.", "draft"),
    (r"ffn_\w+_shexp|ffn_gate_inp_shexp", "shared_experts"),
    (r"ffn_\w+_c?h?exps?\b|ffn_(gate|up|down)\.[0-9]+\.", "experts"),
    (r"ffn_gate_inp|exp_probs_b|ffn_routed", "router"),
    (r"(.*_)?norm(_[0-9q-z]|_exps|_key|_query|_conv)?(\.|$)|.*layer_output_(norm|scale)", "norm"),
    (r"ssm_|shortconv|time_mix", "recurrent"),
    (r"attn_|indexer|cross_attn|attn\.", "attention"),
    (r"ffn|channel_mix|inp_gate|proj\.|altup_|laurel_", "mlp"),
)

_FOLDER_WHOLE = _table(
    (r"(?:.*\.)?(vision_\w+|visual|audio_\w+|multi_modal_projector|mm_projector|mlp1|connector|embed_vision|"
     r"embed_audio|img_projector|image_newline|vpm|resampler|patch_merger|pre_mm_projector_norm)(\.|$)", "vision"),
    (r"(?:.*\.)?(mtp|mtp_block|nextn)\b", "draft"),
    (r"(?:.*\.)?(lm_head|embed_out|output_layer)\b|output\.weight", "output"),
    (r"(?:.*\.)?(embed_tokens\w*|wte|wpe|word_embeddings|tok_embeddings|embedding|embeddings\.\w+_embeddings|"
     r"embeddings?|embed_in|position_embeddings)\.(weight|bias|scales|weight_\w+|qweight)$", "embedding"),
    (r"(?i).*(norm|ln_f|emb_ln|ln_out)", "norm"),
    (r"(?:.*\.)?(altup_|per_layer_)", "mlp"),
)
_FOLDER_PART = _table(
    (r"shared_head|eh_proj|embed_tokens|enorm|hnorm", "draft"),
    (r".*shared_(expert|mlp)", "shared_experts"),
    (r".*(mlp|moe|feed_forward|mixer|ffn)\.(gate|router|gate_inp)\b(?!_proj)|.*\brouter\b|.*e_score_correction_bias|"
     r".*expert_bias", "router"),
    (r".*\bexperts\b|.*\bexpert_\w+|block_sparse_moe\.(input|output)_linear", "experts"),
    (r"(?i).*(norm|ln_[0-9]|ln_attn|ln_mlp)\w*\.(weight|bias)|.*_norm\.|(.*\.)?ln[0-9_]\w*\.|layer_scalar", "norm"),
    (r"(.*\.)?(mamba|linear_attn|short_conv|conv|ssm|time_mix|temporal_block|attention\.time_|mixer|rwkv|ssm_\w+)\.",
     "recurrent"),
    (r"(.*\.)?(self_attn|self_attention|attention|attn|cross_attn|attention\.self|norm_attn_norm)\.(?!output\.LayerN)",
     "attention"),
    (r"(.*\.)?(mlp|feed_forward|ffn|intermediate|output|fc[0-9]|channel_mix|laurel|altup|per_layer_\w+|moe|"
     r"block_sparse_moe|gate_proj|up_proj|down_proj|feed_forward\w*|pre_feedforward)\b", "mlp"),
)


class Place(NamedTuple):
    """Where a tensor belongs: what it is for, and in which layer."""

    role: Role
    layer: int | None


class Names:
    """Places of tensors by their names. Names that differ by numbers alone are of one kind, looked at once.

    Raises Failure `tensor-names` for more kinds than any model has.
    """

    def __init__(self, role_of: Callable[[str], tuple[Role, bool]], layer: re.Pattern[str]) -> None:
        self._role_of, self._layer = role_of, layer
        self._known: dict[str, tuple[Role, bool]] = {}

    def place(self, name: str) -> Place:
        kind = kind_of(name)
        if (known := self._known.get(kind)) is None:
            if len(self._known) >= _MOST_KINDS:
                raise Failure("tensor-names", f"its tensors have more than {_MOST_KINDS:,} kinds of names: this is no "
                              "model", "don't use it", data={"name": name[:80]})
            known = self._known[kind] = self._role_of(kind) if len(name) <= _LONGEST else ("other", False)
        role, inside = known
        found = self._layer.search(name) if inside else None
        return Place(role, int(found[found.lastindex or 0]) if found is not None else None)


def kind_of(name: str) -> str:
    """The name without its numbers.

    >>> kind_of("model.layers.17.mlp.experts.3.up_proj.weight")
    'model.layers.0.mlp.experts.0.up_proj.weight'
    """
    return _NUMBER.sub(".0.", name)


def gguf_names() -> Names:
    """As llama.cpp names tensors (llama-arch.cpp)."""
    return Names(_of_gguf, _GGUF_LAYER)


def folder_names() -> Names:
    """As they are named in Hugging Face folders."""
    return Names(_of_folder, _FOLDER_LAYER)


def _of_gguf(name: str) -> tuple[Role, bool]:
    """The role, and whether it is in a layer: what an encoder has beside the layers of its decoder is in none."""
    found = _GGUF_LAYER.match(name)
    if found is None:
        return _first(_GGUF_WHOLE, name), False
    return _first(_GGUF_PART, name[found.end():]), found[1] != "enc"


def _of_folder(name: str) -> tuple[Role, bool]:
    if (role := _first(_FOLDER_WHOLE[:2], name)) != "other":
        return role, False
    found = _FOLDER_LAYER.search(name)
    if found is None:
        return _first(_FOLDER_WHOLE[2:], name), False
    return _first(_FOLDER_PART, name[found.end():]), True


def settled(place: Place, layers: tuple[Layer, ...]) -> Role:
    """The role, once it is known what its layer does: some names are the same for attention and what stands for it."""
    role, layer = place
    if layer is None:
        return role
    if layer >= len(layers):
        return "draft"
    kind = layers[layer].attention
    if role == "attention" and kind == "recurrent":
        return "recurrent"
    if role == "recurrent" and kind != "recurrent" and not layers[layer].state_bytes:
        return "mlp" if kind == "none" else "attention"
    return role


def _first(table: _Table, name: str) -> Role:
    return next((role for pattern, role in table if pattern.match(name)), "other")
