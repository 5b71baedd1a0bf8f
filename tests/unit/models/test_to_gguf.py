"""A Hugging Face folder to GGUF: what the converter is shown, and what is made of what it leaves."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.convert import to_gguf as room
from modelkit.models.convert.to_gguf import TYPES, gguf_file, locate, recipe
from modelkit.models.convert.tool import Tool
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.small_model import small_model

TOOL = Tool("converter", "fake 1", sys.executable, "/payload")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def source(tmp_path: Path, store: Store) -> Weights:
    return models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)


@pytest.fixture
def folder(source: Weights, tmp_path: Path, store: Store) -> Weights:
    """A user's own folder, with more in it than a model now."""
    place = tmp_path / "mine"
    place.mkdir()
    for file in Path(models.huggingface_folder(source, store).path).iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    found = models.acquire(str(place), tmp_path, store=store)
    for name in ("README.md", "modeling_evil.py", "pytorch_model.bin", "training_args.bin"):
        (place / name).write_bytes(b"x")  # they would be refused before
    return found


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    path = folder / "fake_child.py"
    path.write_text("import os, shutil\n\ndef main(request, say):\n"
                    + textwrap.indent(textwrap.dedent(body), "    ") + "    return {}\n")
    monkeypatch.setattr(room, "_SCRIPT", path)


def test_only_the_model_is_shown_and_no_name(source: Weights, folder: Weights, store: Store, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, f"""
        seen = set(os.listdir(request["source"]))
        assert {{"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}} <= seen, seen
        assert not [name for name in seen if name.endswith((".md", ".py", ".bin"))], seen
        assert os.path.basename(request["source"]) == "model" and request["type"] == "auto"
        assert request["files"] == "/payload"
        shutil.copyfile({source.path!r}, request["target"])
    """)
    assert locate(folder, TOOL, store=store) is None
    made = gguf_file(folder, TOOL, store=store)
    assert (made.form, made.digest, made.reference) == ("gguf", source.digest, folder.reference)
    assert made.recipe == recipe(folder, TOOL) != recipe(folder, TOOL, "F16")
    monkeypatch.setattr(room, "_SCRIPT", tmp_path / "nothing.py")
    assert gguf_file(folder, TOOL, store=store) == made == locate(folder, TOOL, store=store)
    assert gguf_file(source, TOOL, store=store) == source == locate(source, TOOL, store=store)


VICES = {
    "nothing": ("pass\n", "to-gguf-failed"),
    "half a file": ("open(request['target'], 'wb').write(b'GGUF')\n", "to-gguf-failed"),
    "crash": ("open(request['target'], 'wb').write(b'GGUF')\nos.abort()\n", "tool-crashed"),
    "its own word": ("say(failure={'code': 'architecture-not-yet', 'message': 'no'})\nraise SystemExit(1)\n",
                     "architecture-not-yet"),
}


@pytest.mark.parametrize("vice", VICES)
def test_a_converter_with_a_vice_leaves_nothing(folder: Weights, store: Store, tmp_path: Path, vice: str,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    body, code = VICES[vice]
    fake(tmp_path, monkeypatch, body)
    with pytest.raises(Failure) as caught:
        gguf_file(folder, TOOL, store=store)
    assert caught.value.code == code
    assert locate(folder, TOOL, store=store) is None and not list((store.root / "work").iterdir())


def test_a_type_that_it_does_not_write(folder: Weights, store: Store) -> None:
    with pytest.raises(Failure) as caught:
        gguf_file(folder, TOOL, type="Q4_K_M", store=store)
    assert caught.value.code == "to-gguf-type-unknown" and all(name in (caught.value.hint or "") for name in TYPES)
