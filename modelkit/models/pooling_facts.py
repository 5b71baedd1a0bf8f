"""What a model's own files say about embeddings and reranking: which vectors count, how long an input may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelkit.models.formats.access import Access
from modelkit.models.formats.json_file import read_json

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header

_OF_GGUF = {1: "mean", 2: "cls", 3: "last"}
"""llama.cpp's numbers (`enum llama_pooling_type`); 0 is none, 4 a reranker's."""

_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
_WORDS = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
"""How sentence-transformers writes it, until its version 4 and since."""

_ENCODERS = ("bert", "camembert", "deberta", "distilbert", "electra", "gte", "modernbert", "mpnet", "new",
             "nomic_bert", "roberta", "snowflake", "xlm-roberta")
_OFFSET_POSITIONS = ("camembert", "roberta", "xlm-roberta")
_CARRIED = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class PoolingFacts:
    """`pooling` is what of a text's vectors becomes its embedding; None where the files do not say.

    `matryoshka` says to which lengths embeddings may be cut: none, any, or the ones that are named. `max_input` is in
    tokens. `modules` are steps after the model that nothing here carries (a dense layer).
    """

    pooling: str | None = None
    encoder: bool = False  # its tokens see those after them
    classifier: bool = False  # it has a head that scores
    matryoshka: bool | tuple[int, ...] = False
    max_input: int | None = None
    modules: tuple[str, ...] = ()


NOTHING_SAID = PoolingFacts()


def of_folder(opened: Callable[[str], Access | None], config: Mapping[str, Any]) -> PoolingFacts:
    """Of a Hugging Face folder, which may be one of sentence-transformers."""
    steps = _json(opened("modules.json"))
    modules = [one for one in steps if isinstance(one, dict)] if isinstance(steps, list) else []
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in modules]
    place = next((str(one.get("path")) for one, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), "")
    said = _json(opened("sentence_bert_config.json"))
    kind, lengths = str(config.get("model_type", "")), config.get("matryoshka_dimensions")
    return PoolingFacts(
        pooling=_pooling(_json(opened(f"{place}/config.json"))) if place else None,
        encoder=kind in _ENCODERS or config.get("is_causal") is False or config.get("use_bidirectional_attention") is
        True, classifier=any(str(one).endswith("ForSequenceClassification") for one in _list(config, "architectures")),
        matryoshka=tuple(one for one in lengths if isinstance(one, int)) if isinstance(lengths, list) and lengths
        else config.get("is_matryoshka") is True,
        max_input=_least(_positions(kind, config), said.get("max_seq_length") if isinstance(said, dict) else None),
        modules=tuple(one for one in kinds if one not in _CARRIED))


def of_header(header: Header) -> PoolingFacts:
    """Of a GGUF file."""
    prefix = header.architecture
    causal = header.metadata.get(f"{prefix}.attention.causal", True)
    return PoolingFacts(pooling=_OF_GGUF.get(header.get(f"{prefix}.pooling_type", int, 0)), encoder=causal is False,
                        classifier="cls.output.weight" in header.tensors)


def _pooling(said: Any) -> str | None:
    if not isinstance(said, dict):
        return None
    for key, word in _MODES.items():
        if said.get(key) is True:
            return word
    return _WORDS.get(str(said.get("pooling_mode")))


def _positions(kind: str, config: Mapping[str, Any]) -> Any:
    """Positions that an input may take: some models count from behind their padding token."""
    most, padding = config.get("max_position_embeddings"), config.get("pad_token_id")
    if kind in _OFFSET_POSITIONS and isinstance(most, int) and isinstance(padding, int):
        return most - padding - 1
    return most


def _least(*lengths: Any) -> int | None:
    return min((one for one in lengths if isinstance(one, int) and not isinstance(one, bool) and one > 0), default=None)


def _list(config: Mapping[str, Any], key: str) -> list[Any]:
    value = config.get(key)
    return value if isinstance(value, list) else []


def _json(access: Access | None) -> Any:
    return None if access is None else read_json(access)
