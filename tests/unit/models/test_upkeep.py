"""What the store holds is listed, checked and cleared, and nothing that is wanted goes."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models import upkeep
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.convert import derived
from modelkit.models.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def put(store: Store, reference: str, *contents: bytes, form: str = "gguf") -> Artifact:
    pieces = []
    for number, data in enumerate(contents):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        with store.workspace(f"{reference} {number}") as work:
            (work / "file").write_bytes(data)
            store.add(work / "file", digest)
        pieces.append(Piece(f"part-{number}.gguf", digest, len(data)))
    artifact = Artifact(reference, f"{reference}@1", form, tuple(pieces), "1")  # type: ignore[arg-type]
    store.remember(artifact)
    return artifact


def make(store: Store, input_: str, name: str = "model.gguf") -> derived.Derived:
    return derived.make({"tool": "t", "version": 1, "input": input_, "arguments": {}}, store,
                        lambda folder: (folder / name).write_bytes(input_.encode()) and None, label="making")


def test_models_are_listed_with_what_was_made_from_them(store: Store) -> None:
    one, two = put(store, "ollama://a:latest", b"a"), put(store, "hf://b/c", b"b", b"c")
    first = make(store, upkeep.identity(one))
    second = make(store, "sha256:" + first.manifest["files"]["model.gguf"]["sha256"])
    held = {holding.artifact.resolved: holding for holding in upkeep.holdings(store)}
    assert set(held) == {one.resolved, two.resolved}
    assert [m.path for m in held[one.resolved].made] == [first.path, second.path]
    assert held[one.resolved].references == (one.reference, one.resolved)
    assert held[two.resolved].size == 2 and held[two.resolved].made == ()
    assert all(holding.whole for holding in held.values())


@pytest.mark.parametrize(("word", "found"), [
    ("ollama://a:latest", "ollama://a:latest@1"), ("ollama://a:latest@1", "ollama://a:latest@1"),
    ("hf://b/c", "hf://b/c@1"), ("c", "hf://b/c@1"), ("b/c", "hf://b/c@1")])
def test_a_word_names_a_model(word: str, found: str, store: Store) -> None:
    put(store, "ollama://a:latest", b"a")
    put(store, "hf://b/c", b"b")
    assert upkeep.find(word, store).artifact.resolved == found


@pytest.mark.parametrize(("word", "code"), [("x", "not-in-store"), ("c", "reference-ambiguous")])
def test_a_word_that_names_none_or_two(word: str, code: str, store: Store) -> None:
    put(store, "hf://a/c", b"a")
    put(store, "hf://b/c", b"b")
    with pytest.raises(Failure) as failed:
        upkeep.find(word, store)
    assert failed.value.code == code and "`" in (failed.value.hint or "")


def test_removing_keeps_what_others_need(store: Store) -> None:
    one, two = put(store, "hf://a/c", b"shared", b"own"), put(store, "hf://b/c", b"shared")
    made, kept = make(store, upkeep.identity(one)), make(store, upkeep.identity(two))
    view = store.folder(one)
    cleared = upkeep.remove(upkeep.find("hf://a/c", store), store)
    assert store.find(one.reference) is None and store.find(one.resolved) is None
    assert store.find(two.reference) == two and kept.path.exists()
    assert not made.path.exists() and not view.exists()
    assert cleared.size == len(b"own") + made.size


def test_removing_one_of_two_names_of_the_same_bytes_keeps_what_was_made(store: Store) -> None:
    one, two = put(store, "hf://a/c", b"same"), put(store, "oci://h/a:1", b"same")
    made = make(store, upkeep.identity(one))
    assert upkeep.remove(upkeep.find(one.reference, store), store).size == 0
    assert made.path.exists() and store.find(two.reference) == two
    assert upkeep.remove(upkeep.find(two.reference, store), store).size == len(b"same") + made.size
    assert not made.path.exists()


def test_removing_a_view_does_not_make_blobs_be_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = put(store, "hf://a/c", b"shared", b"own"), put(store, "hf://b/c", b"shared")
    store.folder(one)
    upkeep.remove(upkeep.find(one.reference, store), store)
    monkeypatch.setattr("modelkit.models.store.file_digest", lambda *_: pytest.fail("read again"))
    assert store.find(two.reference) == two


def test_collecting_clears_orphans_and_what_nobody_used(store: Store) -> None:
    one = put(store, "hf://a/c", b"kept")
    orphan = put(store, "hf://b/c", b"orphan")
    store.forget(orphan.reference)
    store.forget(orphan.resolved)
    fresh, old = make(store, upkeep.identity(one)), make(store, "sha256:" + "0" * 64)
    long_ago = time.time() - 40 * upkeep.DAY
    os.utime(old.path / "manifest.json", (long_ago, long_ago))
    with pytest.raises(RuntimeError), store.partial("a download") as folder:
        (folder / "data").write_bytes(b"half")
        raise RuntimeError
    for path in (folder / "data", folder):
        os.utime(path, (long_ago, long_ago))
    cleared = upkeep.collect(store)
    assert store.find(one.reference) == one and fresh.path.exists()
    assert not old.path.exists() and not folder.exists() and not store.blob(orphan.files[0].digest).exists()
    assert cleared.size == len(b"orphan") + old.size + len(b"half")
    assert upkeep.collect(store).files == 0
    assert upkeep.collect(store, everything_made=True).files == 1 and not fresh.path.exists()


def test_cleaning_waits_for_work_in_progress(store: Store) -> None:
    """A file that is in the store and not yet remembered must survive."""
    order: list[str] = []
    digest = "sha256:" + hashlib.sha256(b"new").hexdigest()
    with store.alone("a pull"):
        with store.workspace("a part") as work:
            (work / "file").write_bytes(b"new")
            store.add(work / "file", digest)
        cleaner = threading.Thread(target=lambda: (upkeep.collect(store), order.append("collected")))
        cleaner.start()
        time.sleep(0.1)
        order.append("remembered")
        artifact = Artifact("hf://a/c", "hf://a/c@1", "gguf", (Piece("m.gguf", digest, 3),))
        store.remember(artifact)
    cleaner.join(10)
    assert order == ["remembered", "collected"] and store.find("hf://a/c") == artifact


@pytest.mark.parametrize("vice", ["changed", "missing", "derived"])
def test_verifying_finds_every_damage(vice: str, store: Store) -> None:
    one = put(store, "hf://a/c", b"data")
    made = make(store, upkeep.identity(one))
    assert upkeep.verify(store) == []
    path = made.path / "model.gguf" if vice == "derived" else store.blob(one.files[0].digest)
    stat = path.stat()
    path.chmod(0o644)
    if vice == "missing":
        path.unlink()
    else:
        path.write_bytes(b"X" * stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (damage,) = upkeep.verify(store)
    assert damage.path == str(path) and damage.reference == one.resolved
    assert ("missing" if vice == "missing" else "content") in damage.why
    if vice != "derived":
        assert store.find(one.reference) is None


def test_a_folder_of_a_damaged_model_is_refused(store: Store) -> None:
    one = put(store, "hf://a/c", b"a", b"b")
    blob = store.blob(one.files[0].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"x")
    with pytest.raises(Failure, match="was changed") as failed:
        store.folder(one)
    assert failed.value.code == "model-changed"
