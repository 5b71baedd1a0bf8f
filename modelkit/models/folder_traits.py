"""The traits of a Hugging Face folder: what its configuration, its tokenizer and its headers say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelkit.failure import Failure
from modelkit.models.formats.access import Access
from modelkit.models.formats.checkpoint import Files, checkpoint
from modelkit.models.formats.json_file import read_json
from modelkit.models.traits import NUMBERS, Scaling, Shape, Traits, divisors, merges

_LARGEST_TOKENIZER = 128 << 20
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_TIED = {"gemma": True, "gemma2": True, "gemma3_text": True, "gemma3": True, "llama": False, "mistral": False,
         "mixtral": False, "qwen2": False, "qwen3": False}  # what transformers takes it for when nothing is said
_THETA = {"gemma3_text": 1e6, "gemma3": 1e6, "mixtral": 1e6, "llama": 1e4, "mistral": 1e4, "qwen2": 1e4, "qwen3": 1e4,
          "gemma": 1e4, "gemma2": 1e4}
_EVEN_HEADS = ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe")  # their heads share the hidden size
_OF_TEXT = ("model.language_model.", "language_model.model.", "language_model.")
_NOT_OF_TEXT = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.",
                "visual.", "model.visual.")
_PACKED = (".qweight", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".scales", ".qzeros", ".g_idx",
           ".weight_shape", ".weight_zero_point", ".input_scale", ".k_scale", ".v_scale", ".weight_g_idx",
           ".weight_scale_2", ".weight_global_scale", ".input_global_scale")


def of_folder(source: Files) -> Traits:
    """The traits of a folder."""
    whole = _object(source.opened("config.json"))
    config = whole["text_config"] if isinstance(whole.get("text_config"), dict) else whole
    said, words = _object(source.opened("tokenizer_config.json")), _object(source.opened("tokenizer.json"),
                                                                           _LARGEST_TOKENIZER)
    generation = _object(source.opened("generation_config.json"))
    stored = {name: tensor.shape for name, (_, tensor) in checkpoint(source).tensors.items()}
    tokens, numbers = _tokens(source, words), _numbers(config)
    model = words.get("model")
    rules = model.get("merges") if isinstance(model, dict) and model.get("type") == "BPE" else None
    return Traits(
        name=source.name.rstrip("/").rpartition("/")[2], form="safetensors",
        architecture=str(config.get("model_type", "")), numbers=numbers, scaling=_scaling(config, numbers),
        tokens=tokens, filling=frozenset(), merges=merges(rules) if isinstance(rules, list) and rules else None,
        special=_special(tokens, said, config, whole, generation),
        begins=_flag(said.get("add_bos_token")), tied=_tied(config, whole, stored),
        templates=_templates(source, said), tensors=dict(_of_text(stored)), stored=stored)


def _numbers(config: Mapping[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {name: _number(config.get(key)) for name, (_, key) in NUMBERS.items()}
    kind, heads, width = config.get("model_type"), found["attention heads"], found["hidden size"]
    if heads and found["key-value heads"] is None and kind in _EVEN_HEADS:
        found["key-value heads"] = heads
    if heads and width and found["head width"] is None and kind in _EVEN_HEADS:
        found["head width"] = width // heads
    experts = next((number for key in _EXPERTS if (number := _number(config.get(key))) is not None), 0)
    used = _number(config.get("num_experts_per_tok"))
    theta = _number(config.get("rope_theta", _rope(config).get("rope_theta")))
    return found | {
        "experts": experts, "experts used": (used if experts else 0),
        "rope theta": _THETA.get(str(kind)) if theta is None else theta,
        "attention softcap": found["attention softcap"] or 0, "output softcap": found["output softcap"] or 0}


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is said about the rotary embedding, of the layers that see everything where there are others."""
    for key in ("rope_parameters", "rope_scaling"):
        if isinstance(said := config.get(key), dict):
            full = said.get("full_attention")
            return full if isinstance(full, dict) else said
    return {}


def _scaling(config: Mapping[str, Any], numbers: Mapping[str, float | None]) -> Scaling | None:
    rule = _rope(config)
    kind, factor = rule.get("rope_type", rule.get("type", "default")), _number(rule.get("factor"))
    if kind in ("default", "mrope"):
        return ("none",)
    if kind == "llama3":
        theta, width = numbers["rope theta"], numbers["head width"]
        return divisors(rule, theta, int(width)) if theta and width else None
    if kind in ("longrope", "su"):
        return ("longrope",)
    if factor is None:
        return None
    if kind == "linear" and factor == 1.0:
        return ("none",)
    trained = _number(rule.get("original_max_position_embeddings", config.get("max_position_embeddings")))
    return (str(kind), factor) if kind != "yarn" or trained is None else (str(kind), factor, trained)


def _tokens(source: Files, words: Mapping[str, Any]) -> dict[int, str]:
    """Texts by id: the vocabulary, and the added tokens over it."""
    model = words.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        found = {number: text for text, number in vocabulary.items() if isinstance(number, int)}
    elif isinstance(vocabulary, list):  # a unigram model: pieces with their scores
        found = {number: str(piece[0]) for number, piece in enumerate(vocabulary) if isinstance(piece, list) and piece}
    else:
        raise Failure("tokenizer-unknown", f"{source.name} has no tokenizer.json with a vocabulary in it",
                      "name the folder of a model with a fast tokenizer", data={"path": source.name})
    added = words.get("added_tokens")
    for token in added if isinstance(added, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int) and isinstance(token.get("content"), str):
            found[token["id"]] = token["content"]
    return found


def _special(tokens: Mapping[int, str], said: Mapping[str, Any], *configs: Mapping[str, Any],
             ) -> dict[str, frozenset[int]]:
    ids, found = {text: number for number, text in tokens.items()}, dict[str, frozenset[int]]()
    for role in ("bos", "eos", "pad", "unk"):
        token = said.get(f"{role}_token")
        text = token.get("content") if isinstance(token, dict) else token
        numbers = {ids[text]} if isinstance(text, str) and text in ids else set()
        for config in configs:
            given = config.get(f"{role}_token_id")
            numbers |= {one for one in (given if isinstance(given, list) else [given]) if isinstance(one, int)}
        if numbers:
            found[role] = frozenset(numbers)
    return found | ({"ends": found["eos"]} if "eos" in found else {})


def _tied(config: Mapping[str, Any], whole: Mapping[str, Any], stored: Mapping[str, Shape]) -> bool | None:
    """A folder that has an output and says that it is the embedding may mean either."""
    apart = any(name.endswith("lm_head.weight") for name in stored)
    said = _flag(config.get("tie_word_embeddings", whole.get("tie_word_embeddings")))
    said = _TIED.get(str(config.get("model_type"))) if said is None else said
    return None if apart and said is not False else not apart


def _templates(source: Files, said: Mapping[str, Any]) -> tuple[str, ...]:
    from modelkit.models.facts import read_template

    template = read_template(source.opened("chat_template.jinja"), said.get("chat_template"))
    return () if template is None else (template.strip(),)


def _of_text(stored: Mapping[str, Shape]) -> Iterator[tuple[str, Shape]]:
    """The tensors of the language model by their plain names. A packed one is there, of a shape that says nothing."""
    for name, shape in stored.items():
        if name.startswith(_NOT_OF_TEXT):
            continue
        plain = _plain_name(name)
        packed = next((end for end in _PACKED if name.endswith(end)), None)
        if packed is None:
            yield plain, shape
        elif packed in (".qweight", ".weight_packed"):
            yield plain.removesuffix(packed) + ".weight", ()


def _plain_name(name: str) -> str:
    prefix = next((one for one in _OF_TEXT if name.startswith(one)), None)
    rest = name if prefix is None else name.removeprefix(prefix)
    return rest if prefix is None or rest.startswith("lm_head") else f"model.{rest}"


def _object(access: Access | None, most: int = 4 << 20) -> dict[str, Any]:
    said = {} if access is None else read_json(access, most)
    return said if isinstance(said, dict) else {}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
