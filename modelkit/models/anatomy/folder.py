"""The anatomy of a Hugging Face folder, from its config.json and the headers of its safetensors files."""

from __future__ import annotations

import json
import re

from modelkit.models.anatomy.anatomy import Anatomy, Weight
from modelkit.models.anatomy.config import Config
from modelkit.models.anatomy.config_layers import layers_of
from modelkit.models.anatomy.packed import Packing
from modelkit.models.anatomy.roles import folder_names, settled
from modelkit.models.anatomy.said import MOST_EXPERTS, MOST_TOKENS
from modelkit.models.formats.access import LocalFile
from modelkit.models.formats.checkpoint import Files, checkpoint
from modelkit.models.formats.json_file import read_json

_MERGES = re.compile(r'"merges"\s*:\s*(?=\[)')
_DOWN = re.compile(r"(down_proj|\.w2|\.fc2|\bc_proj|dense_4h_to_h|output\.dense|mlp\.Wo|output_linear)(\.weight)?$")
_PLAIN = {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}
_DENSE = ("intermediate_size_mlp", "intermediate_size", "n_inner", "ffn_dim", "hidden_dim", "d_ff", "block_ff_dim")
_CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
_LARGEST_TOKENIZER = 64 << 20


def anatomy_of_folder(files: Files) -> Anatomy:
    """The anatomy of a Hugging Face folder that is anywhere.

    Raises Failure `config-invalid` where config.json is missing or says what no model can be. `merges` are counted
    where tokenizer.json is on this machine.
    """
    said = files.opened("config.json")
    config = Config(files.name, {} if said is None else read_json(said))
    found = checkpoint(files)
    tensors = {name: tensor for name, (_, tensor) in found.tensors.items()}
    layers, notes = layers_of(config, tensors)
    tied = config.flag("tie_word_embeddings", default=not any("lm_head" in name for name in tensors))
    packing, names = Packing(config.quantization), folder_names()
    weights = tuple(
        Weight(name, settled(place, layers), place.layer, tensor.shape, tensor.dtype, tensor.end - tensor.begin)
        for name, tensor in tensors.items() for place in (names.place(name),)
        if not (tied and place.role == "output"))  # engines do not load a copy of the embedding
    experts = config.experts(MOST_EXPERTS)
    used = config.experts_used(MOST_EXPERTS) if experts else 0
    if used > experts:
        raise config.refusal("num_experts_per_tok", f"is {used:,} of {experts:,} experts")
    return Anatomy(
        architecture=config.model_type, form="safetensors", quantization=packing.method or config.dtype,
        weights=weights, layers=layers, vocabulary=config.number("vocab_size") or _rows(weights),
        width=config.width, feed_forward=_feed_forward(config, weights),
        heads=max((layer.heads for layer in layers), default=0),
        context_length=config.number(*_CONTEXT, most=MOST_TOKENS) or None, tied=tied,
        experts=experts, experts_used=used, merges=_merges(files),
        file_size=sum(header.size for header in found.files.values()),
        parameters=sum(packing.elements(one.name, one.type, one.elements) for one in weights), notes=notes,
        state_type=config.text("mamba_ssm_cache_dtype") or config.text("mamba_ssm_dtype"),
    )


def _rows(weights: tuple[Weight, ...]) -> int:
    return next((one.shape[0] for one in weights if one.role == "embedding" and len(one.shape) == 2), 0)


def _feed_forward(config: Config, weights: tuple[Weight, ...]) -> int:
    """As its tensors have it; as config.json says it where they are packed."""
    for role, names in (("mlp", _DENSE), ("experts", ("moe_intermediate_size", *_DENSE[1:]))):
        found = [one for one in weights if one.role == role]
        if plain := [max(one.shape[-2:], key=lambda size: size != config.width) for one in found
                     if _DOWN.search(one.name) and len(one.shape) > 1 and one.type in _PLAIN]:
            return max(plain)
        if found:
            return config.number(*names) or 4 * config.width
    return 0


def _merges(files: Files) -> int:
    access = files.opened("tokenizer.json")
    if not isinstance(access, LocalFile) or access.size > _LARGEST_TOKENIZER:
        return 0
    text = access.read_at(0, access.size).decode("utf-8", "replace")
    if (found := _MERGES.search(text)) is None:
        return 0
    try:
        return len(json.JSONDecoder().raw_decode(text, found.end())[0])
    except (ValueError, RecursionError):
        return 0
