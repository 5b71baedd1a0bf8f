"""A reranker of 150,000 random numbers in both forms: XLM-RoBERTa with a head of one score, as bge-reranker has it.

It ranks nothing well; that both engines rank alike is what it is for.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.unit.models.gguf_files import TensorOf, gguf, pair

WIDTH, LAYERS, HEADS, INNER, POSITIONS = 64, 2, 2, 128, 128
_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"
_WORDS = ("the", "cat", "sat", "on", "mat", "dog", "stock", "markets", "fell", "today", "paris", "is", "capital", "of",
          "france", "where", "rug")
TOKENS = (*_SPECIAL, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *_WORDS)

QUERY = "where is the cat"
DOCUMENTS = ["the cat sat on the mat", "stock markets fell today", "paris is the capital of france", "x"]

Tensors = dict[str, NDArray[np.float32]]


def tensors(seed: int = 7) -> Tensors:
    """By the names of Hugging Face's checkpoint."""
    draw = np.random.default_rng(seed)

    def random(*shape: int) -> NDArray[np.float32]:
        return (draw.standard_normal(shape) * 0.2).astype(np.float32)

    found: Tensors = {"embeddings.word_embeddings.weight": random(len(TOKENS), WIDTH),
                      "embeddings.position_embeddings.weight": random(POSITIONS + 2, WIDTH),
                      "embeddings.token_type_embeddings.weight": random(1, WIDTH)}
    layers = [f"encoder.layer.{index}." for index in range(LAYERS)]
    for name, rows, columns in (*((f"{layer}attention.self.{part}", WIDTH, WIDTH) for layer in layers
                                  for part in ("query", "key", "value")),
                                *((f"{layer}attention.output.dense", WIDTH, WIDTH) for layer in layers),
                                *((f"{layer}intermediate.dense", INNER, WIDTH) for layer in layers),
                                *((f"{layer}output.dense", WIDTH, INNER) for layer in layers)):
        found |= {f"{name}.weight": random(rows, columns), f"{name}.bias": random(rows)}
    for name in ("embeddings", *(f"{layer}{part}" for layer in layers for part in ("attention.output", "output"))):
        found |= {f"{name}.LayerNorm.weight": 1 + random(WIDTH), f"{name}.LayerNorm.bias": random(WIDTH)}
    return {f"roberta.{name}": value for name, value in found.items()} | {
        "classifier.dense.weight": random(WIDTH, WIDTH), "classifier.dense.bias": random(WIDTH),
        "classifier.out_proj.weight": random(1, WIDTH), "classifier.out_proj.bias": random(1)}


def write_folder(folder: Path) -> Path:
    """As the Hub has such models. Heads of 32 numbers: vLLM on CPUs has no kernel for smaller ones."""
    folder.mkdir()
    config: dict[str, Any] = {
        "model_type": "xlm-roberta", "architectures": ["XLMRobertaForSequenceClassification"], "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": "gelu",
        "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1, "vocab_size": len(TOKENS), "pad_token_id": 1,
        "bos_token_id": 0, "eos_token_id": 2, "layer_norm_eps": 1e-5, "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0}, "torch_dtype": "float32"}
    special = [{"id": number, "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False} for number, word in enumerate(_SPECIAL)]
    begin, end = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [begin, first, end],
                           "pair": [begin, first, end, end, second, end], "special_tokens": {
                               word: {"id": word, "ids": [_SPECIAL.index(word)], "tokens": [word]}
                               for word in ("<s>", "</s>")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: number for number, word in enumerate(TOKENS)}}}
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "sep_token": "</s>",
             "cls_token": "<s>"}
    for name, value in (("config", config), ("tokenizer", tokenizer), ("special_tokens_map", names),
                        ("tokenizer_config", names | {"tokenizer_class": "PreTrainedTokenizerFast"})):
        (folder / f"{name}.json").write_text(json.dumps(value))
    (folder / "model.safetensors").write_bytes(_safetensors(tensors()))
    return folder


def _safetensors(found: Tensors) -> bytes:
    header, body = {}, b""
    for name, value in found.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [len(body), len(body) + value.nbytes]}
        body += value.tobytes()
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


_OF_LAYER = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
             "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
             "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
_OTHERS = {"embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
           "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
           "classifier.dense": "cls", "classifier.out_proj": "cls.output"}


def write_gguf(path: Path, *, token_types: int = 1) -> Path:
    """As llama.cpp's converter writes such models; with two `token_types`, as it writes BERT's own rerankers."""
    texts = [word if word in _SPECIAL else word[2:] if word.startswith("##") else f"▁{word}" for word in TOKENS]
    ids = {"bos": 0, "padding": 1, "eos": 2, "unknown": 3, "seperator": 2, "cls": 0}
    pairs = [
        pair("general.architecture", "string", "bert"), pair("general.name", "string", "tiny reranker"),
        *(pair(f"bert.{key}", "uint32", value) for key, value in (
            ("context_length", POSITIONS), ("embedding_length", WIDTH), ("feed_forward_length", INNER),
            ("block_count", LAYERS), ("attention.head_count", HEADS))),
        pair("bert.attention.layer_norm_epsilon", "float32", 1e-5), pair("bert.attention.causal", "bool", False),
        pair("general.file_type", "uint32", 0), pair("tokenizer.ggml.model", "string", "bert"),
        pair("tokenizer.ggml.pre", "string", "default"), pair("tokenizer.ggml.tokens", "[string]", texts),
        pair("tokenizer.ggml.token_type", "[int32]", [3 if word in _SPECIAL else 1 for word in TOKENS]),
        pair("tokenizer.ggml.token_type_count", "uint32", token_types),
        *(pair(f"tokenizer.ggml.{name}_token_id", "uint32", number) for name, number in ids.items()),
        *(pair(f"tokenizer.ggml.add_{name}_token", "bool", True) for name in ("bos", "eos", "sep"))]
    numbers = tensors()
    places = "roberta.embeddings.position_embeddings.weight"
    numbers[places] = numbers[places][2:]  # it counts from behind the padding token
    types = "roberta.embeddings.token_type_embeddings.weight"
    numbers[types] = np.concatenate([numbers[types]] * token_types)
    found = [TensorOf(_gguf_name(name), tuple(reversed(value.shape)), 0, value.tobytes())
             for name, value in numbers.items()]
    path.write_bytes(gguf(pairs, found))
    return path


def _gguf_name(name: str) -> str:
    stem, _, kind = name.removeprefix("roberta.").rpartition(".")
    if stem.startswith("encoder.layer."):
        index, _, rest = stem.removeprefix("encoder.layer.").partition(".")
        return f"blk.{index}.{_OF_LAYER[rest]}.{kind}"
    return f"{_OTHERS[stem]}.{kind}"
