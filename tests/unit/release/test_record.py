"""Promotion records: canonical bytes, a chain, and a HEAD that conflicts on purpose."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.release import record as records


def make(prev: str | None = None, at: str = "2026-01-02T03:04:05Z") -> records.Record:
    return records.Record.model_validate({
        "kind": "promote", "model": "org/bot", "from": "dev", "to": "prod",
        "subject": {"modelfile": "sha256:1", "ir": "sha256:2", "artifacts": (),
                    "engine": {"name": "vllm", "version": "0.32.0", "argv": "sha256:3"}},
        "gates": (), "actor": {"name": "a", "source": "env"}, "git": None, "prev": prev, "at": at,
        "tool": "modelkit x"})


def test_an_id_is_the_digest_of_the_bytes(tmp_path: Path) -> None:
    written = records.Records(tmp_path / "Modelfile", "org/bot", "prod").append(make())
    assert written.id == "sha256:" + hashlib.sha256(written.path.read_bytes()).hexdigest()
    assert written.path.name == f"20260102T030405Z-{written.id[7:15]}.json"
    assert written.path.parent == tmp_path / "promotions" / "org--bot" / "prod"


def test_bytes_are_canonical_and_carry_the_schema() -> None:
    data = make().encode()
    value = json.loads(data)
    assert value["schema"] == "modelkit.promotion/1"
    assert value["from"] == "dev"
    assert data == (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()
    assert records.Record.model_validate(value).encode() == data


def test_head_names_the_last_record(tmp_path: Path) -> None:
    store = records.Records(tmp_path / "Modelfile", "bot", "prod")
    assert store.head() is None
    first = store.append(make())
    assert store.head() == first.id
    second = store.append(make(prev=first.id, at="2026-01-02T03:04:06Z"))
    assert store.head() == second.id
    assert json.loads(second.path.read_bytes())["prev"] == first.id
    assert first.path.exists()


def test_a_merge_conflict_in_head_is_said(tmp_path: Path) -> None:
    store = records.Records(tmp_path / "Modelfile", "bot", "prod")
    store.append(make())
    (store.folder / "HEAD").write_text("<<<<<<< ours\nsha256:a b\n=======\nsha256:c d\n>>>>>>> theirs\n")
    with pytest.raises(Failure) as caught:
        store.head()
    assert caught.value.code == "record-head"


def test_an_unwritable_folder_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "promotions").write_text("a file is in the way")
    with pytest.raises(Failure) as caught:
        records.Records(tmp_path / "Modelfile", "bot", "prod").append(make())
    assert caught.value.code == "record-not-written"


def test_actor_and_commit_come_from_git(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    git("init", "-q")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada@example.org")
    (tmp_path / "Modelfile").write_text("FROM x\n")
    git("add", "Modelfile")
    git("commit", "-qm", "one")
    actor, state = records.actor_and_git(tmp_path, {})
    assert (actor.name, actor.email, actor.source) == ("Ada", "ada@example.org", "git")
    assert state is not None
    assert state.commit is not None
    assert len(state.commit) == 40
    assert not state.dirty
    (tmp_path / "Modelfile").write_text("FROM y\n")
    assert records.actor_and_git(tmp_path, {})[1] == records.Git(commit=state.commit, dirty=True)
