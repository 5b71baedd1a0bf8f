"""What planning wants to know about a model, read from its own files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header
    from modelkit.models.weights import Weights


@dataclass(frozen=True)
class ModelFacts:
    """What a model's files say about it."""

    architecture: str
    context_length: int | None  # tokens it was trained for
    parameters: int
    quantization: str  # `Q4_K_M`, `bfloat16` …, "" when the file does not say
    vocabulary: int
    chat_template: str | None
    bos: str | None  # the tokens' texts
    eos: str | None
    ends: tuple[str, ...] = ()  # every token that ends an answer, eos first
    kv_bytes_per_token: int | None = None  # of the attention cache at 16 bits; None where the shape is not said

    @property
    def has_chat_template(self) -> bool:
        return self.chat_template is not None


def facts(weights: Weights) -> ModelFacts:
    """The facts of weights that are on this machine."""
    path = Path(weights.path)
    if weights.form == "safetensors":
        return _of_folder(path)
    from modelkit.models.formats.splits import read_split

    model = read_split(path)
    return _of_header(model.first, sum(tensor.elements for _, tensor in model.tensors.values()))


def _of_header(header: Header, parameters: int) -> ModelFacts:
    from modelkit.models.convert.tokenizer import chat_template
    from modelkit.models.convert.vocabulary import read_vocabulary
    from modelkit.models.formats.gguf_types import FILE_TYPES

    architecture = header.architecture
    vocabulary = read_vocabulary(header)
    bos, eos = vocabulary.named("bos"), vocabulary.named("eos")
    return ModelFacts(
        architecture=architecture,
        context_length=header.get(f"{architecture}.context_length", int),
        parameters=parameters,
        quantization=FILE_TYPES.get(header.get("general.file_type", int, -1), ""),
        vocabulary=len(vocabulary.tokens),
        chat_template=chat_template(header),
        bos=None if bos is None else vocabulary.tokens[bos],
        eos=None if eos is None else vocabulary.tokens[eos],
        ends=tuple(vocabulary.tokens[number] for number in vocabulary.ends),
        kv_bytes_per_token=_cache_bytes(
            *(header.metadata.get(f"{architecture}.{key}")
              for key in ("block_count", "embedding_length", "attention.head_count", "attention.head_count_kv",
                          "attention.key_length"))),
    )


def _of_folder(folder: Path) -> ModelFacts:
    from modelkit.models.formats.checkpoint import read_checkpoint

    config, tokenizer = _json(folder / "config.json"), _json(folder / "tokenizer_config.json")
    template = folder / "chat_template.jinja"
    text = template.read_text("utf-8") if template.is_file() else tokenizer.get("chat_template")
    return ModelFacts(
        architecture=str(config.get("model_type", "")),
        context_length=config.get("max_position_embeddings"),
        parameters=read_checkpoint(folder).parameters,
        quantization=str((config.get("quantization_config") or {}).get("quant_method")
                         or config.get("torch_dtype") or config.get("dtype") or ""),
        vocabulary=int(config.get("vocab_size", 0)),
        chat_template=text if isinstance(text, str) else None,
        bos=_text(tokenizer.get("bos_token")), eos=_text(tokenizer.get("eos_token")),
        kv_bytes_per_token=_cache_bytes(
            *(config.get(key) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads",
                                          "num_key_value_heads", "head_dim"))),
    )


def _cache_bytes(layers: Any, width: Any, heads: Any, kv_heads: Any, head_width: Any) -> int | None:
    """Keys and values of one token in all layers, two bytes a number.

    Where a file gives a list, one number a layer, the largest that is possible stands in for it.
    """
    if not all(isinstance(value, int) and value > 0 for value in (layers, width, heads)):
        return None
    kv_heads = kv_heads if isinstance(kv_heads, int) and kv_heads > 0 else heads
    head_width = head_width if isinstance(head_width, int) and head_width > 0 else width // heads
    return 2 * 2 * int(layers) * int(kv_heads) * int(head_width)


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure("model-unreadable", f"{path} can't be read: {error}") from None
    return said if isinstance(said, dict) else {}


def _text(token: Any) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
