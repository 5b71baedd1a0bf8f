"""Signatures of records by OpenSSH."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.release import history, signature
from modelkit.release.verification import verify
from tests.unit.release.told import Story


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people's keys, and a file that allows the first."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ada", "mallory"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(words, check=True)
    public = (folder / "ada.pub").read_text()
    (folder / "allowed").write_text(f'ada@example.org namespaces="{signature.NAMESPACE}" {public}')
    return folder


def kinds(story: Story, keys: Path, *, signed: bool = True) -> set[str]:
    found = verify(history.read(story.store), signature.Signers(keys / "allowed"), signed=signed)
    return {one.kind for one in found.problems}


def test_a_signed_story(tmp_path: Path, keys: Path) -> None:
    story = Story(tmp_path)
    written = [story.tell("promote", "1"), story.tell("approve", "1")]
    for one in written:
        signature.sign(one.path, keys / "ada")
    found = verify(history.read(story.store), signature.Signers(keys / "allowed"), signed=True)
    assert found.problems == ()
    assert found.signed == {one.id: "ada@example.org" for one in written}


def test_what_is_not_signed_counts_only_where_it_is_asked(tmp_path: Path, keys: Path) -> None:
    story = Story(tmp_path)
    story.tell("promote", "1")
    assert kinds(story, keys, signed=False) == set()
    assert kinds(story, keys) == {"signature"}
    assert {one.kind for one in verify(history.read(story.store), None, signed=True).problems} == {"signature"}


def test_another_key_another_record_and_a_changed_signature(tmp_path: Path, keys: Path) -> None:
    story = Story(tmp_path)
    first, second = story.tell("promote", "1"), story.tell("promote", "2")
    signature.sign(first.path, keys / "ada")
    signature.sign(second.path, keys / "mallory")
    assert kinds(story, keys, signed=False) == {"signature"}
    signature.path_of(second.path).write_bytes(signature.path_of(first.path).read_bytes())
    with pytest.raises(Failure, match="does not fit its bytes"):
        signature.Signers(keys / "allowed").signer(second.path)
    path = signature.path_of(second.path)
    path.write_text("nonsense")
    assert kinds(story, keys, signed=False) == {"signature"}


def test_a_signature_for_another_purpose_is_none(tmp_path: Path, keys: Path) -> None:
    story = Story(tmp_path)
    written = story.tell("promote", "1")
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", str(keys / "ada"), "-n", "git", str(written.path)],
                   check=True, capture_output=True)
    assert kinds(story, keys) == {"signature"}


def test_keys_and_signers_that_are_not_there(tmp_path: Path) -> None:
    written = Story(tmp_path).tell("promote", "1")
    with pytest.raises(Failure, match="does not exist"):
        signature.sign(written.path, tmp_path / "none")
    with pytest.raises(Failure, match="does not exist"):
        signature.signers(tmp_path, str(tmp_path / "none"))
    assert signature.signers(tmp_path) is None
    (tmp_path / "nonsense").write_text("no key\n")
    with pytest.raises(Failure) as caught:
        signature.sign(written.path, tmp_path / "nonsense")
    assert caught.value.code == "not-signed"
    assert caught.value.detail
