"""The Hugging Face folder of a GGUF: made once, whole, and what it promises to engines."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.convert import dequantize, folder
from modelkit.models.digests import digest
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.small_model import small_model

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def source(tmp_path: Path, store: Store) -> Weights:
    return models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)


def test_a_folder_is_made_once(source: Weights, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int | None, str]] = []
    assert models.locate_folder(source, store) is None
    made = models.huggingface_folder(source, store, lambda *said: heard.append(said))
    assert heard[-1][2] == "converting m.gguf to bfloat16"
    monkeypatch.setattr(dequantize, "write", None)
    assert models.huggingface_folder(source, store) == made == models.locate_folder(source, store)
    assert made.form == "safetensors"
    assert made.recipe == {"tool": "modelkit dequantize", "version": 1, "input": source.digest,
                           "arguments": {"dtype": "bfloat16"}}
    assert Path(made.path) == store.derived(digest(made.recipe))


def test_its_manifest_is_true(source: Weights, store: Store) -> None:
    made = models.huggingface_folder(source, store)
    place = Path(made.path)
    manifest = json.loads((place / "manifest.json").read_text())
    assert made.digest == digest(manifest)
    assert {file.name for file in place.iterdir()} == {*manifest["files"], "manifest.json"}
    for name, said in manifest["files"].items():
        data = (place / name).read_bytes()
        assert said == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert made.size == sum(said["size"] for said in manifest["files"].values())
    assert set(manifest["files"]) == {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "chat_template.jinja", "model.safetensors"}
    assert all(file.stat().st_mode & 0o222 == 0 for file in place.iterdir())


def test_the_same_input_gives_the_same_folder(source: Weights, store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    assert models.huggingface_folder(source, store).digest == models.huggingface_folder(source, other).digest


def test_what_the_small_files_say(source: Weights, store: Store) -> None:
    place = Path(models.huggingface_folder(source, store).path)
    said = json.loads((place / "tokenizer_config.json").read_text())
    assert said["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert (said["bos_token"], said["eos_token"], said["unk_token"]) == ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    assert said["added_tokens_decoder"]["3"]["special"] is False
    assert said["added_tokens_decoder"]["2"]["special"] is True
    assert said["model_max_length"] == 128
    assert (place / "chat_template.jinja").read_text() == "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert Tokenizer.from_file(str(place / "tokenizer.json")).encode("<|im_end|>").ids == [2]


def test_facts(source: Weights, store: Store) -> None:
    facts = models.facts(source)
    assert (facts.architecture, facts.context_length, facts.quantization) == ("llama", 128, "Q4_1")
    assert (facts.bos, facts.eos, facts.ends) == ("<|im_start|>", "<|im_end|>", ("<|im_end|>", "<|endoftext|>"))
    assert facts.has_chat_template
    made = models.facts(models.huggingface_folder(source, store))
    assert (made.architecture, made.context_length, made.parameters) == ("llama", 128, facts.parameters)
    assert (made.vocabulary, made.chat_template, made.eos) == (facts.vocabulary, facts.chat_template, facts.eos)
    assert made.quantization == "bfloat16"


def damage_size(place: Path) -> None:
    (place / "config.json").chmod(0o644)
    (place / "config.json").write_text("{}")


def damage_manifest(place: Path) -> None:
    (place / "manifest.json").chmod(0o644)
    (place / "manifest.json").write_text('{"recipe": null, "files": []}')


@pytest.mark.parametrize("damage", [
    damage_size, damage_manifest, lambda place: (place / "model.safetensors").unlink(),
    lambda place: (place / "manifest.json").unlink(),
])
def test_a_damaged_folder_is_made_again(damage: Any, source: Weights, store: Store) -> None:
    made = models.huggingface_folder(source, store)
    damage(Path(made.path))
    assert models.locate_folder(source, store) is None
    assert models.huggingface_folder(source, store) == made
    assert models.locate_folder(source, store, verify=True) == made


def test_verify_reads_every_byte(source: Weights, store: Store) -> None:
    made = models.huggingface_folder(source, store)
    file = Path(made.path) / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    assert models.locate_folder(source, store) == made
    assert models.locate_folder(source, store, verify=True) is None
    models.huggingface_folder(source, store, verify=True)
    assert models.locate_folder(source, store, verify=True) == made


def _convert(source: Weights, root: Path, kill_at: int | None, counter: Any) -> None:
    def listen(done: int, total: int | None, label: str) -> None:
        if label.startswith("converting"):
            counter.value += 1
        if kill_at is not None and counter.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    folder.huggingface_folder(source, Store(root), listen)


@pytest.mark.parametrize("kill_at", [1, 5, 19])
def test_killed_in_the_middle_and_run_again(kill_at: int, source: Weights, store: Store) -> None:
    process = FORK.Process(target=_convert, args=(source, store.root, kill_at, FORK.Value("i", 0)))
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert models.locate_folder(source, store) is None
    models.huggingface_folder(source, store)
    assert models.locate_folder(source, store, verify=True) is not None
    assert list((store.root / "work").iterdir()) == []


def test_two_at_once_convert_once(source: Weights, store: Store) -> None:
    counters = [FORK.Value("i", 0), FORK.Value("i", 0)]
    both = [FORK.Process(target=_convert, args=(source, store.root, None, counter)) for counter in counters]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(counter.value > 0 for counter in counters) == [False, True]


def test_a_source_that_changed_since_is_refused(source: Weights, store: Store) -> None:
    path = Path(source.path)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Failure) as failed:
        models.huggingface_folder(source, store)
    assert failed.value.code == "model-changed"


@pytest.mark.parametrize("model", [{"architecture": "falcon"}, {"pre": "no-such"}])
def test_what_cannot_be_converted_leaves_nothing(model: dict[str, str], tmp_path: Path, store: Store) -> None:
    source = models.acquire(str(small_model(tmp_path / "n.gguf", **model)), tmp_path, store=store)
    with pytest.raises(Failure) as failed:
        models.huggingface_folder(source, store)
    assert failed.value.code in ("architecture-not-yet", "tokenizer-not-yet")
    assert not (store.root / "derived").exists()
    assert list((store.root / "work").iterdir()) == []
