"""What planning learns about a model from its files, near and far."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.facts import facts_from, facts_of_folder, text_digest
from modelkit.models.formats.access import LocalFile
from modelkit.models.formats.checkpoint import Files, local_files
from modelkit.models.sources.download import Remote, RemoteFile
from modelkit.models.store import Store
from tests.unit.models.gguf_files import gguf, pair
from tests.unit.models.servers import File, serving
from tests.unit.models.small_model import SAID, TOKENS, pairs, small_model, tensors
from tests.unit.models.test_safetensors import entry, safetensors
from tests.unit.models.test_splits import far, small_split

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path / "m.gguf")


def test_a_far_file_says_what_a_near_one_says(model: Path) -> None:
    with far(model) as (remote, server):
        found = facts_from(remote)
        assert len(server.seen) <= 3
    assert found == facts_from(LocalFile(model))
    assert (found.context_length, found.chat_template, found.eos) == (128, TEMPLATE, "<|im_end|>")


def test_a_split_model(tmp_path: Path, model: Path) -> None:
    first, second = (LocalFile(path) for path in small_split(tmp_path))
    whole, alone, one = facts_from(first, second), facts_from(first), facts_from(LocalFile(model))
    assert whole.parameters == one.parameters > alone.parameters
    assert whole.tokenizer_digest == alone.tokenizer_digest == one.tokenizer_digest
    with pytest.raises(Failure) as failed:
        facts_from(second, first)
    assert failed.value.data["check"] == "split-number"


@pytest.mark.parametrize(("change", "tokenizer", "template"), [
    ([pair("general.file_type", "uint32", 7), pair("llama.context_length", "uint32", 64)], True, True),
    ([pair("tokenizer.chat_template", "string", TEMPLATE + "\n")], True, False),
    ([pair("tokenizer.chat_template.tools", "string", "x")], True, True),
    ([pair("tokenizer.ggml.tokens", "[string]", [*SAID["tokens"][:-1], "<other>"])], False, True),
    ([pair("tokenizer.ggml.merges", "[string]", SAID["merges"][::-1])], False, True),
    ([pair("tokenizer.ggml.token_type", "[int32]", [1] * TOKENS)], False, True),
    ([pair("tokenizer.ggml.eos_token_id", "uint32", 3)], False, True),
    ([pair("tokenizer.ggml.pre", "string", "llama-bpe")], False, True),
    ([pair("tokenizer.ggml.add_bos_token", "bool", True)], False, True),
])
def test_digests_change_with_what_they_are_of(change: list[bytes], tokenizer: bool, template: bool, model: Path,
                                              tmp_path: Path) -> None:
    said = [*change, *pairs()]
    keys = [one[8:8 + int.from_bytes(one[:8], "little")] for one in said]
    other = tmp_path / "other.gguf"
    other.write_bytes(gguf([one for place, one in enumerate(said) if keys[place] not in keys[:place]], tensors()))
    before, after = facts_from(LocalFile(model)), facts_from(LocalFile(other))
    assert (before.tokenizer_digest == after.tokenizer_digest, before.template_digest == after.template_digest) == (
        tokenizer, template)
    assert str(before.tokenizer_digest).startswith("sha256:")
    assert before.template_digest == "sha256:" + hashlib.sha256(TEMPLATE.encode()).hexdigest()


def test_a_folder_near_and_far(model: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    weights = models.huggingface_folder(models.acquire(str(model), tmp_path, store=store), store)
    place = Path(weights.path)
    near = models.facts(weights)
    assert near.tokenizer_digest == "sha256:" + hashlib.sha256((place / "tokenizer.json").read_bytes()).hexdigest()
    assert near.template_digest == text_digest(TEMPLATE)
    names = [file.name for file in place.iterdir()]
    with serving({f"/{name}": File((place / name).read_bytes()) for name in names}) as server:
        assert facts_of_folder(Files("far", lambda name: RemoteFile(Remote(f"{server.url}/{name}", insecure=True))
                                     if name in names else None, ["model.safetensors"])) == near


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "folder"
    place.mkdir()
    (place / "model.safetensors").write_bytes(safetensors({"a": entry()}, bytes(8)))
    return place


CORE = {"max_position_embeddings": 64, "vocab_size": 9, "num_hidden_layers": 2, "hidden_size": 8,
        "num_attention_heads": 2, "dtype": "bfloat16"}


@pytest.mark.parametrize(("said", "expected"), [
    ({"model_type": "x", **CORE}, ("x", 64, 9, "bfloat16", 64)),
    ({"model_type": "seen", "text_config": CORE}, ("seen", 64, 9, "bfloat16", 64)),
    ({**CORE, "quantization_config": {"quant_method": "awq"}}, ("", 64, 9, "awq", 64)),
    ({**CORE, "num_key_value_heads": 1, "head_dim": 16}, ("", 64, 9, "bfloat16", 128)),
    ({"max_position_embeddings": "64", "vocab_size": None, "quantization_config": [1], "text_config": 3},
     ("", None, 0, "", None)),
    ({}, ("", None, 0, "", None)), ([], ("", None, 0, "", None)),
])
def test_what_a_configuration_says(said: Any, expected: tuple[Any, ...], folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(said))
    found = facts_of_folder(local_files(folder))
    assert (found.architecture, found.context_length, found.vocabulary, found.quantization,
            found.kv_bytes_per_token) == expected
    assert (found.parameters, found.tokenizer_digest, found.template_digest) == (2, None, None)


@pytest.mark.parametrize(("template", "expected"), [
    ("{{ x }}", "{{ x }}"), ([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}], "d"),
    ([{"name": "tool_use", "template": "t"}], None), (None, None), (7, None), ([3], None),
])
def test_where_a_chat_template_is(template: Any, expected: str | None, folder: Path) -> None:
    said = {"chat_template": template, "bos_token": {"content": "B"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    found = facts_of_folder(local_files(folder))
    assert (found.chat_template, found.bos) == (expected, "B")
    (folder / "chat_template.jinja").write_text("{{ own }}")
    assert facts_of_folder(local_files(folder)).chat_template == "{{ own }}"


@pytest.mark.parametrize(("name", "data", "code"), [
    ("config.json", b"{", "json-invalid"), ("config.json", b" " * (4 << 20) + b"{}", "json-invalid"),
    ("model.safetensors", b"", "safetensors-invalid"),
    ("chat_template.jinja", bytes((4 << 20) + 1), "model-unreadable"),
    ("model.safetensors.index.json", b"{}", "checkpoint-invalid"),
])
def test_what_can_t_be_read(name: str, data: bytes, code: str, folder: Path) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(Failure) as failed:
        facts_of_folder(local_files(folder))
    assert failed.value.code == code
