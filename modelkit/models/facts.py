"""What planning wants to know about a model, read from its own files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.models import beginning
from modelkit.models.digests import digest
from modelkit.models.formats.access import Access
from modelkit.models.formats.checkpoint import Files, checkpoint, local_files
from modelkit.models.formats.gguf import Array
from modelkit.models.formats.json_file import read_json
from modelkit.models.pooling_facts import NOTHING_SAID, PoolingFacts, of_folder, of_header

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header
    from modelkit.models.formats.splits import Split
    from modelkit.models.weights import Weights

_LARGEST_TEMPLATE = 4 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ModelFacts:
    """What a model's files say about it."""

    architecture: str
    context_length: int | None  # tokens it was trained for, or that its maker lets an input have
    parameters: int
    quantization: str  # `Q4_K_M`, `bfloat16` …, "" when the file does not say
    vocabulary: int
    chat_template: str | None
    bos: str | None  # the tokens' texts
    eos: str | None
    ends: tuple[str, ...] = ()  # every token that ends an answer, eos first
    kv_bytes_per_token: int | None = None  # of the attention cache at 16 bits; None where the shape is not said
    tokenizer_digest: str | None = None  # `sha256:…` of all that decides how texts become tokens, in this form
    template_digest: str | None = None  # `sha256:…` of the chat template's text
    layers: int | None = None
    attention_heads: int | None = None  # of the layer that has most
    kv_heads: int | None = None
    pooling: PoolingFacts = NOTHING_SAID
    adds_bos: bool | None = None  # does its tokenizer begin a text with `bos`? None where that is not known
    leaves_bos: bool = False  # a GGUF whose chat template leaves it to llama.cpp to begin a prompt with `bos`

    @property
    def has_chat_template(self) -> bool:
        return self.chat_template is not None


def facts(weights: Weights) -> ModelFacts:
    """The facts of weights that are on this machine."""
    path = Path(weights.path)
    if weights.form == "safetensors":
        return facts_of_folder(local_files(path))
    from modelkit.models.formats.splits import read_split

    return _of_split(read_split(path))


def facts_from(*parts: Access) -> ModelFacts:
    """The facts of a GGUF file that is anywhere, from its header alone; of a split one, its parts in order.

    Of a split model the first part alone is enough for all but the parameters, which are then those of that part.
    """
    from modelkit.models.formats.gguf_reader import read_header_from
    from modelkit.models.formats.together import together

    return facts_of_headers(together(read_header_from, parts))


def facts_of_headers(headers: Sequence[Header]) -> ModelFacts:
    """The facts of a GGUF file by its header, of a split one by those of its parts in order."""
    from modelkit.models.formats.splits import Split, joined

    return _of_split(joined(headers) if len(headers) > 1 else Split(tuple(headers)))


def facts_of_folder(source: Files) -> ModelFacts:
    """The facts of a Hugging Face folder that is anywhere, from its small files and headers."""
    opened = source.opened
    config, tokenizer = _object(opened("config.json")), _object(opened("tokenizer_config.json"))
    core = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    template = read_template(opened("chat_template.jinja"), tokenizer.get("chat_template"))
    quantized = config.get("quantization_config")
    pooling = of_folder(opened, core | {"architectures": config.get("architectures")})
    return ModelFacts(
        architecture=str(config.get("model_type", "")),
        context_length=pooling.max_input,
        parameters=checkpoint(source).parameters,
        quantization=str((quantized.get("quant_method") if isinstance(quantized, dict) else None)
                         or core.get("torch_dtype") or core.get("dtype") or ""),
        vocabulary=_whole(core.get("vocab_size")) or 0,
        chat_template=template,
        bos=_text(tokenizer.get("bos_token")), eos=_text(tokenizer.get("eos_token")),
        kv_bytes_per_token=_cache_bytes(
            *(core.get(key) for key in ("num_hidden_layers", "hidden_size", "num_attention_heads",
                                        "num_key_value_heads", "head_dim"))),
        tokenizer_digest=_digest(opened("tokenizer.json") or opened("tokenizer.model")),
        template_digest=text_digest(template),
        layers=_whole(core.get("num_hidden_layers")), attention_heads=_whole(core.get("num_attention_heads")),
        kv_heads=_whole(core.get("num_key_value_heads", core.get("num_attention_heads"))),
        pooling=pooling,
        adds_bos=beginning.of_folder(tokenizer, _text(tokenizer.get("bos_token")), opened("tokenizer.json")),
    )


def text_digest(text: str | None) -> str | None:
    return None if text is None else "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _of_split(model: Split) -> ModelFacts:
    from modelkit.models.convert.tokenizer import chat_template
    from modelkit.models.convert.vocabulary import read_vocabulary
    from modelkit.models.formats.gguf_types import FILE_TYPES

    header = model.first
    architecture, template = header.architecture, chat_template(header)
    vocabulary = read_vocabulary(header)
    bos, eos = vocabulary.named("bos"), vocabulary.named("eos")
    return ModelFacts(
        architecture=architecture,
        context_length=header.get(f"{architecture}.context_length", int),
        parameters=sum(tensor.elements for _, tensor in model.tensors.values()),
        quantization=FILE_TYPES.get(header.get("general.file_type", int, -1), ""),
        vocabulary=len(vocabulary.tokens),
        chat_template=template,
        bos=None if bos is None else vocabulary.tokens[bos],
        eos=None if eos is None else vocabulary.tokens[eos],
        ends=tuple(vocabulary.tokens[number] for number in vocabulary.ends),
        kv_bytes_per_token=_cache_bytes(
            *(header.metadata.get(f"{architecture}.{key}")
              for key in ("block_count", "embedding_length", "attention.head_count", "attention.head_count_kv",
                          "attention.key_length"))),
        tokenizer_digest=_tokenizer_digest(header), template_digest=text_digest(template),
        layers=_whole(header.metadata.get(f"{architecture}.block_count")),
        attention_heads=_most(header, "attention.head_count"), kv_heads=_most(header, "attention.head_count_kv"),
        pooling=of_header(header), adds_bos=beginning.of_vocabulary(vocabulary),
        leaves_bos=beginning.left_to_llama_cpp(vocabulary, template),
    )


def _most(header: Header, key: str) -> int | None:
    """A number of the header, of a list (one a layer) the largest."""
    name = f"{header.architecture}.{key}"
    value = header.metadata.get(name)
    if isinstance(value, Array):
        value = max(header.numbers(name), default=None) if value.kind != "string" else None
    return _whole(value)


def _tokenizer_digest(header: Header) -> str:
    """Of everything that the file says about its tokenizer, the chat template apart.

    Arrays (tokens, types, scores, merges) count by their bytes: no string of them has to be looked at.
    """
    said: dict[str, Any] = {}
    for key, value in header.metadata.items():
        if key.startswith("tokenizer.") and not key.startswith("tokenizer.chat_template"):
            said[key] = ([value.kind, value.count, hashlib.sha256(header.body(key)).hexdigest()]
                         if isinstance(value, Array) else value)
    return digest(said)


def _cache_bytes(layers: Any, width: Any, heads: Any, kv_heads: Any, head_width: Any) -> int | None:
    """Keys and values of one token in all layers, two bytes a number.

    Where a file gives a list, one number a layer, the largest that is possible stands in for it.
    """
    if not all(isinstance(value, int) and value > 0 for value in (layers, width, heads)):
        return None
    kv_heads = kv_heads if isinstance(kv_heads, int) and kv_heads > 0 else heads
    head_width = head_width if isinstance(head_width, int) and head_width > 0 else width // heads
    return 2 * 2 * int(layers) * int(kv_heads) * int(head_width)


def _object(access: Access | None) -> dict[str, Any]:
    said = {} if access is None else read_json(access)
    return said if isinstance(said, dict) else {}


def read_template(file: Access | None, said: Any) -> str | None:
    """The chat template: a file of its own, else in the tokenizer's configuration, alone or the default of several."""
    if file is not None:
        if file.size > _LARGEST_TEMPLATE:
            raise Failure("model-unreadable", f"{file.name} has {file.size:,} bytes; a chat template has at most "
                                              f"{_LARGEST_TEMPLATE:,}")
        return file.read_at(0, file.size).decode("utf-8", "replace")
    if isinstance(said, list):
        said = next((one.get("template") for one in said if isinstance(one, dict) and one.get("name") == "default"),
                    None)
    return said if isinstance(said, str) else None


def _digest(access: Access | None) -> str | None:
    if access is None:
        return None
    sha256 = hashlib.sha256()
    for offset in range(0, access.size, _BLOCK):
        sha256.update(access.read_at(offset, _BLOCK))
    return "sha256:" + sha256.hexdigest()


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(token: Any) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
