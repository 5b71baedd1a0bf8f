"""Each family's folder is the model that went into the GGUF: `make_families.py` made both, these tests compare.

That the folders compute what the originals and llama.cpp do is `tests/live/test_families.py`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, quants
from tokenizers import Tokenizer

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.convert.dequantize import bfloat16
from modelkit.models.convert.families import FAMILIES, MIXTURES, dimensions_of, family_of
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.store import Store
from tests.unit.models.gguf_files import TensorOf, gguf, pair
from tests.unit.models.make_families import FOLDER, MODELS, VOCABULARIES, read, texts_of_family
from tests.unit.models.make_token_ids import CHUNK, chunked
from tests.unit.models.test_dequantize import interleaved

EXACT = sorted(name for name, tiny in MODELS.items() if tiny.kind == "bf16")
QUANTIZED = sorted(MODELS.keys() - set(EXACT))


def source_of(name: str, place: Path) -> Path:
    """A family's GGUF."""
    path = place / f"{name}.gguf"
    path.write_bytes(read(name)[1])
    return path


def folder_of(name: str, place: Path) -> Path:
    """The Hugging Face folder that modelkit makes of it."""
    store = Store(place / "models")
    weights = models.acquire(str(source_of(name, place)), place, store=store)
    return Path(models.huggingface_folder(weights, store).path)


def tensors_of(folder: Path) -> dict[str, tuple[list[int], bytes]]:
    """Shapes and bytes of a safetensors file."""
    data = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    said, body = json.loads(data[8:8 + length]), data[8 + length:]
    return {name: (one["shape"], body[slice(*one["data_offsets"])])
            for name, one in said.items() if name != "__metadata__"}


def test_every_family_has_a_model(tmp_path: Path) -> None:
    found = [family_of(read_header(source_of(name, tmp_path))) for name in MODELS]
    assert all(family in found for family in (*FAMILIES.values(), *MIXTURES.values()))


@pytest.mark.parametrize("name", EXACT)
def test_tensors_are_those_of_the_original(name: str, tmp_path: Path) -> None:
    found = tensors_of(folder_of(name, tmp_path))
    assert {key: [shape, hashlib.sha256(data).hexdigest()[:32]] for key, (shape, data) in found.items()} \
        == read(name)[0]["tensors"]


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_tensors_are_what_their_blocks_say(name: str, tmp_path: Path) -> None:
    """By the gguf package; `tests/live/test_families.py` compares that with llama.cpp's own code."""
    header = read_header(source_of(name, tmp_path))
    family, shape = family_of(header), dimensions_of(header)
    data, found = header.path.read_bytes(), tensors_of(folder_of(name, tmp_path))
    assert {key: shape for key, (shape, _) in found.items()} == \
        {key: shape for key, (shape, _) in read(name)[0]["tensors"].items()}
    checked = set()
    for slot in family.slots(shape, read(name)[0]["config"]["vocab_size"]):
        if (tensor := header.tensors.get(slot.source)) is None:
            continue
        raw = np.frombuffer(data[tensor.offset:tensor.offset + tensor.size], np.uint8)
        rows = raw.reshape(*reversed(tensor.shape[1:]), -1)
        expected = bfloat16(quants.dequantize(rows, GGMLQuantizationType[tensor.type.name])).reshape(slot.shape)
        ours = np.frombuffer(found[slot.target][1], "<u2").reshape(slot.shape)
        assert np.array_equal(interleaved(ours, slot.heads) if slot.heads else ours, expected), slot.target
        checked.add(tensor.type.name)
    assert checked == {"Q8_0", "F32"}


SAME = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "bos_token_id",
        "eos_token_id", "pad_token_id")
IF_SAID = ("model_type", "architectures", "head_dim", "hidden_act", "hidden_activation", "attention_bias", "mlp_bias",
           "sliding_window", "layer_types", "query_pre_attn_scalar", "attn_logit_softcapping",
           "final_logit_softcapping", "num_experts", "num_experts_per_tok", "num_local_experts",
           "moe_intermediate_size", "shared_expert_intermediate_size", "norm_topk_prob", "use_sliding_window",
           "decoder_sparse_step", "mlp_only_layers")


def positions(config: dict[str, Any]) -> Any:
    """How a configuration stretches positions, in the words of transformers 5."""
    if (said := config.get("rope_parameters")) is None:
        said = {"rope_type": "default", "rope_theta": config["rope_theta"]} | (config.get("rope_scaling") or {})
        if "rope_local_base_freq" in config:
            local = {"rope_type": "default", "rope_theta": config["rope_local_base_freq"]}
            said = {"full_attention": said, "sliding_attention": local}
    usual = {"beta_fast": 32.0, "beta_slow": 1.0} if said.get("rope_type") == "yarn" else {}
    return {key: value for key, value in (usual | said).items() if key != "max_position_embeddings"}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_configuration_says_what_the_original_did(name: str, tmp_path: Path) -> None:
    ours = json.loads((folder_of(name, tmp_path) / "config.json").read_text())
    original = read(name)[0]["config"]
    if name == "qwen3moe":  # transformers 5 renamed it and reads both
        original["num_experts"] = original.pop("num_local_experts")
    if name == "mistral":  # the same model by another name
        original |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        original.pop("sliding_window")
    for key in SAME:
        assert ours[key] == original[key], key
    for key in ours.keys() & original.keys() & set(IF_SAID):
        assert ours[key] == original[key], key
    switched_off = (None, False, ["full_attention"] * ours["num_hidden_layers"])
    missing = {key: original[key] for key in IF_SAID if key in original and key not in ours}
    assert all(value in switched_off for value in missing.values()), missing
    assert positions(ours) == positions(original)


def split(source: Path, place: Path) -> Path:
    """The same model in three files, as llama.cpp splits them: all of the metadata in the first."""
    reader = GGUFReader(source)
    said = [b"".join(part.tobytes() for part in one.parts)
            for key, one in reader.fields.items() if not key.startswith("GGUF.")]
    tensors = [TensorOf(one.name, [int(length) for length in one.shape], int(one.tensor_type), one.data.tobytes())
               for one in reader.tensors]
    paths = [place / f"m-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    for number, path in enumerate(paths):
        counted = [pair("split.no", "uint16", number), pair("split.count", "uint16", 3),
                   pair("split.tensors.count", "int32", len(tensors))]
        path.write_bytes(gguf([*(said if number == 0 else []), *counted], tensors[number::3]))
    return paths[0]


@pytest.mark.parametrize("name", ["llama", "qwen3moe"])
def test_a_model_in_several_files(name: str, tmp_path: Path) -> None:
    one = folder_of(name, tmp_path)
    (tmp_path / "deep").mkdir()
    store = Store(tmp_path / "other")
    weights = models.acquire(str(split(tmp_path / f"{name}.gguf", tmp_path / "deep")), tmp_path, store=store)
    made = Path(models.huggingface_folder(weights, store).path)
    for file in one.iterdir():
        if file.name != "manifest.json":
            assert (made / file.name).read_bytes() == file.read_bytes(), file.name
    (tmp_path / "deep" / "m-00002-of-00003.gguf").write_bytes(
        (tmp_path / "deep" / "m-00002-of-00003.gguf").read_bytes()[:-1] + b"!")
    with pytest.raises(Failure, match="no longer the file"):
        models.huggingface_folder(weights, Store(tmp_path / "third"))


@pytest.mark.parametrize(("name", "config"), [
    ("llama", "41c43bcf"), ("llama-linear", "492dd9fc"), ("mistral", "0b99010e")])
def test_the_first_family_is_written_as_it_always_was(name: str, config: str, tmp_path: Path) -> None:
    """Other bytes would need another `version` in the recipe: folders that are there would count as made by it."""
    folder = folder_of(name, tmp_path)
    recipe = json.loads((folder / "manifest.json").read_text())["recipe"]
    assert (recipe["version"], hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()[:8]) == (1, config)


@pytest.mark.parametrize("name", VOCABULARIES)
def test_token_ids_are_those_of_llama_cpp(name: str, tmp_path: Path) -> None:
    """Gemma's vocabulary has tokens of spaces and lines, and no space before a text."""
    tokenizer = Tokenizer.from_file(str(folder_of(name, tmp_path) / "tokenizer.json"))
    texts = texts_of_family(source_of(name, tmp_path))
    found = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    expected = json.loads((FOLDER / "token_ids.json").read_text())[name]
    for number, (ours, theirs) in enumerate(zip(chunked(found), expected["ids"], strict=True)):
        assert ours == theirs, f"one of {texts[number * CHUNK:(number + 1) * CHUNK]}"
    assert tokenizer.encode("hello").ids == expected["hello"]
