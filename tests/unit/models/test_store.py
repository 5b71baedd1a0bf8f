"""The store: what is in it is whole, whoever dies or changes things."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.store import Store

FORK = multiprocessing.get_context("fork")
DATA = b"weights" * 1000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
ENTRY = Artifact("pypi://a/m.gguf", "pypi://a==1/m.gguf", "gguf", (Piece("m.gguf", DIGEST, len(DATA)),), "1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def put(store: Store, entry: Artifact = ENTRY, data: bytes = DATA) -> Path:
    with store.workspace(entry.reference) as work:
        (work / "file").write_bytes(data)
        blob = store.add(work / "file", entry.files[0].digest)
        store.remember(entry)
    return blob


def hashed(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which files are read as a whole from now on."""
    from modelkit.models import store as module

    read: list[Path] = []
    real = module.file_digest
    monkeypatch.setattr(module, "file_digest", lambda path, *rest: read.append(path) or real(path, *rest))
    return read


def test_what_is_put_is_found_by_both_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = put(store)
    read = hashed(store, monkeypatch)
    assert store.find("pypi://a/m.gguf") == ENTRY
    assert store.find("pypi://a==1/m.gguf") == replace(ENTRY, reference=ENTRY.resolved)
    assert store.find("pypi://b/m.gguf") is None
    assert blob.stat().st_mode & 0o777 == 0o444
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert not read
    assert list((store.root / "work").iterdir()) == []


def test_a_changed_blob_is_not_found_and_is_replaced(store: Store) -> None:
    blob = put(store)
    stat = blob.stat()
    blob.chmod(0o644)
    blob.write_bytes(b"W" + DATA[1:])
    os.utime(blob, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time
    assert store.find(ENTRY.reference) is None
    put(store)
    assert store.find(ENTRY.reference) == ENTRY
    assert blob.read_bytes() == DATA


def test_a_touched_blob_is_read_once_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = put(store)
    read = hashed(store, monkeypatch)
    os.utime(blob)
    assert store.find(ENTRY.reference) == ENTRY
    assert store.find(ENTRY.reference) == ENTRY
    assert read == [blob]


@pytest.mark.parametrize("damage", [
    b"", b"{", b"[]", b'{"reference": 1}', json.dumps({
        "reference": ENTRY.reference, "resolved": "x", "digest": "sha256:../../../etc/passwd", "size": 1}).encode(),
])
def test_a_damaged_record_counts_as_none(damage: bytes, store: Store) -> None:
    put(store)
    for record in (store.root / "index").iterdir():
        record.write_bytes(damage)
    assert store.find(ENTRY.reference) is None
    for record in (store.root / "seen").iterdir():
        record.write_bytes(damage)
    put(store)
    assert store.find(ENTRY.reference) == ENTRY


def test_a_users_file_is_hashed_once_until_it_changes(store: Store, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(DATA)
    read = hashed(store, monkeypatch)
    assert store.digest(file) == DIGEST
    assert store.digest(file) == DIGEST
    assert len(read) == 1
    assert store.digest(file, verify=True) == DIGEST
    file.write_bytes(DATA[::-1])
    assert store.digest(file) != DIGEST
    assert len(read) == 3


@pytest.mark.parametrize(("size", "told"), [(len(DATA), False), (len(DATA) - 1, True)], ids=["short", "long"])
def test_only_a_read_that_takes_a_while_is_told_of(size: int, told: bool, store: Store, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkit.models.store._LONG", size + 1)
    file, heard = tmp_path / "m.gguf", []
    file.write_bytes(DATA)
    assert store.digest(file, lambda *said: heard.append(said)) == DIGEST
    assert heard == ([(len(DATA), len(DATA), "checking m.gguf")] if told else [])


def test_a_store_that_cannot_be_written_still_hashes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    (tmp_path / "models").write_text("not a folder")
    store = Store(tmp_path / "models")
    assert store.digest(tmp_path / "file") == DIGEST
    with pytest.raises(Failure, match="can't be used"), store.workspace("x"):
        pass


class Death(NamedTuple):
    where: str
    patch: str


def _die_in_the_middle(root: Path, patch: str) -> None:
    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    store = Store(root)
    setattr(store, patch, die)
    put(store)


@pytest.mark.parametrize("patch", ["add", "_rename", "remember", "_write_json", "_saw"])
def test_killed_anywhere_and_run_again(patch: str, store: Store) -> None:
    process = FORK.Process(target=_die_in_the_middle, args=(store.root, patch))
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    put(store)
    assert store.find(ENTRY.reference) == ENTRY
    assert list((store.root / "work").iterdir()) == []


def test_what_a_killed_process_left_is_swept_by_another(store: Store) -> None:
    process = FORK.Process(target=_die_in_the_middle, args=(store.root, "add"))
    process.start()
    process.join(20)
    assert len(list((store.root / "work").iterdir())) == 1
    with store.workspace("something else"):
        assert len(list((store.root / "work").iterdir())) == 1  # ours
    assert list((store.root / "work").iterdir()) == []


def _work_slowly(root: Path, ready: Any, go_on: Any) -> None:
    with Store(root).workspace("key") as work:
        (work / "mine").write_text("x")
        ready.set()
        go_on.wait(20)
        assert (work / "mine").exists()


def test_one_works_the_others_wait(store: Store) -> None:
    ready, go_on, waited = FORK.Event(), FORK.Event(), []
    process = FORK.Process(target=_work_slowly, args=(store.root, ready, go_on))
    process.start()
    assert ready.wait(20)
    with store.workspace("other key"):
        pass  # neither waits for it nor sweeps it
    with store.workspace("key", lambda: (waited.append(1), go_on.set())[0]) as work:
        assert list(work.iterdir()) == []
    process.join(20)
    assert (waited, process.exitcode) == ([1], 0)


def test_a_folder_takes_the_place_of_another(store: Store) -> None:
    for text in ("first", "second"):
        with store.workspace("key") as work:
            (work / "folder").mkdir()
            (work / "folder" / "file").write_text(text)
            place = store.add_folder(work / "folder", DIGEST)
    assert place == store.derived(DIGEST)
    assert (place / "file").read_text() == "second"
    assert list((store.root / "work").iterdir()) == []


def test_too_little_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000_000))
    store.need_space(1_000_000, "this")
    with pytest.raises(Failure, match=r"this needs 5\.0 GB and .* has 100 MB left") as failed:
        store.need_space(5_000_000_000, "this")
    assert failed.value.code == "disk-full"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_and_leaves_nothing(number: int, store: Store) -> None:
    with pytest.raises(Failure) as failed, store.workspace("key") as work:
        (work / "half").write_text("x")
        raise OSError(number, os.strerror(number))
    assert failed.value.code == "disk-full"
    assert list((store.root / "work").iterdir()) == []
    with pytest.raises(Failure, match="input/output error") as failed, store.workspace("key"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert failed.value.code == "store-unusable"
