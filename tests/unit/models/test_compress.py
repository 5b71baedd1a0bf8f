"""safetensors to fewer bits: which words there are, what the compressor is asked for, and what it may see."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.models.convert import compress as room
from modelkit.models.convert.compress import SCHEMES, compress, locate, recipe
from modelkit.models.convert.tool import Tool
from modelkit.models.store import Store
from modelkit.models.weights import Weights
from tests.unit.models.small_model import small_model

TOOL = Tool("compressor", "fake 1", sys.executable)
GOOD = """
    (target / "model.safetensors").write_bytes(b"compressed")
    (target / "config.json").write_text(json.dumps({k: request[k] for k in ("scheme", "algorithm", "texts")}))
    (target / "seen.json").write_text(json.dumps(sorted(file.name for file in source.iterdir())))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def folder(tmp_path: Path, store: Store) -> Weights:
    source = models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)
    return models.huggingface_folder(source, store)


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    path = folder / "fake_child.py"
    path.write_text("import json\nfrom pathlib import Path\n\ndef main(request, say):\n"
                    "    source, target = Path(request['source']), Path(request['target'])\n"
                    + textwrap.indent(textwrap.dedent(body), "    ") + "    return {}\n")
    monkeypatch.setattr(room, "_SCRIPT", path)


def test_every_word_of_quantize_is_known_or_said_to_need_a_gpu(folder: Weights) -> None:
    for name, row in PRECISIONS.items():
        if name in SCHEMES:
            assert row.form == "safetensors" and recipe(folder, name, TOOL)["arguments"]["scheme"]
            continue
        with pytest.raises(Failure) as caught:
            recipe(folder, name, TOOL)
        assert caught.value.code == ("compress-needs-gpu" if name == "nvfp4" else "compress-type-unknown")


def test_it_is_made_once_and_sees_only_the_model(folder: Weights, store: Store, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, GOOD)
    assert locate(folder, "int8", TOOL, store=store) is None
    made = compress(folder, "int8", TOOL, store=store)
    assert json.loads((Path(made.path) / "config.json").read_text()) == {
        "scheme": "W8A8", "algorithm": "rtn", "texts": []}
    seen = json.loads((Path(made.path) / "seen.json").read_text())
    assert "model.safetensors" in seen and "tokenizer.json" in seen and "manifest.json" not in seen
    monkeypatch.setattr(room, "_SCRIPT", tmp_path / "nothing.py")
    assert compress(folder, "int8", TOOL, store=store) == made == locate(folder, "int8", TOOL, store=store)
    assert made.form == "safetensors" and made.recipe == recipe(folder, "int8", TOOL)


def test_other_texts_are_another_recipe_where_texts_count(folder: Weights, store: Store, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "texts.txt"
    own.write_text("one\n\n  two \n")
    assert recipe(folder, "int8", TOOL) == recipe(folder, "int8", TOOL, own)
    assert recipe(folder, "gptq", TOOL) != recipe(folder, "gptq", TOOL, own)
    fake(tmp_path, monkeypatch, GOOD)
    made = compress(folder, "gptq", TOOL, store=store, calibration=own)
    assert json.loads((Path(made.path) / "config.json").read_text())["texts"] == ["one", "two"]
    shipped = compress(folder, "awq", TOOL, store=store)
    texts = json.loads((Path(shipped.path) / "config.json").read_text())["texts"]
    assert len(texts) >= 40 and all(len(text) > 20 for text in texts)


@pytest.mark.parametrize(("content", "code"), [
    (None, "calibration-missing"), (b"", "calibration-invalid"), (b"\xff\xfe", "calibration-invalid"),
    (b"x" * (5 << 20), "calibration-invalid")], ids=["missing", "empty", "no text", "too much"])
def test_texts_that_cannot_be_used(folder: Weights, tmp_path: Path, content: bytes | None, code: str) -> None:
    if content is not None:
        (tmp_path / "texts.txt").write_bytes(content)
    with pytest.raises(Failure) as caught:
        recipe(folder, "awq", TOOL, tmp_path / "texts.txt")
    assert caught.value.code == code


def test_what_is_compressed_already_or_is_a_gguf(folder: Weights, store: Store, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    (other / "model.safetensors").write_bytes(b"x")
    with pytest.raises(Failure, match="already") as caught:
        compress(folder.model_copy(update={"path": str(other)}), "int8", TOOL, store=store)
    assert caught.value.code == "compress-up"
    with pytest.raises(Failure) as caught:
        compress(folder.model_copy(update={"form": "gguf"}), "fp8", TOOL, store=store)
    assert caught.value.code == "compress-form"


def test_a_compressor_that_makes_nothing(folder: Weights, store: Store, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "pass\n")
    with pytest.raises(Failure) as caught:
        compress(folder, "fp8", TOOL, store=store)
    assert caught.value.code == "compress-failed"
    assert locate(folder, "fp8", TOOL, store=store) is None
