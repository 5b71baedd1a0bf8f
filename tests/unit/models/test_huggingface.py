"""Models from a Hub: what is promised, what is checked. The real `huggingface_hub` talks to a server on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.artifact import Artifact
from modelkit.models.reference import Reference
from modelkit.models.sources import huggingface, transport
from modelkit.models.store import Store, quiet
from tests.unit.models.gguf_files import gguf, pair
from tests.unit.models.hub import HubServer, ask_only, hub_server
from tests.unit.models.servers import observer, sha256

CONFIG = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}", "tokenizer_config.json": b"{}"}
PLAIN = {**CONFIG, "model.safetensors": b"s" * 3000, "README.md": b"hello", "pytorch_model.bin": b"p" * 3000,
         "modeling.py": b"import os", "onnx/model.onnx": b"o", "LICENSE": b"Apache", "original/consolidated.pth": b"o"}
GGUFS = {"README.md": b"hello",
         "tiny-Q4_K_M.gguf": b"GGUF" + b"4" * 500_000,
         "tiny-Q8_0.gguf": b"GGUF" + b"8" * 900_000}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        ask_only(server, tmp_path, monkeypatch)
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def resolve(text: str, store: Store) -> Artifact:
    return huggingface.resolve(Reference.parse(text, Path("/")), store, quiet)


def test_a_repository_with_safetensors(hub: HubServer, store: Store, tmp_path: Path) -> None:
    _, commit = hub.add("org/plain", PLAIN)
    artifact = resolve("hf.co/org/plain", store)
    assert "model.safetensors" not in hub.fetched()  # digests are known before weights are here
    assert (artifact.resolved, artifact.revision, artifact.form) == (f"hf://org/plain@{commit}", commit, "safetensors")
    assert {piece.path: piece.role for piece in artifact.files} == {
        "model.safetensors": "weights", "config.json": "config", "tokenizer.json": "config",
        "tokenizer_config.json": "config", "LICENSE": "license"}
    assert {piece.path: piece.digest for piece in artifact.files} == {
        piece.path: sha256(PLAIN[piece.path]) for piece in artifact.files}
    seen, on_progress = observer()
    fetched = huggingface.fetch(artifact, store, on_progress)
    assert fetched == artifact
    place = Path(artifact.place or "")
    assert place == tmp_path / "cache" / "models--org--plain" / "snapshots" / commit
    assert sorted(path.name for path in place.iterdir()) == sorted(piece.path for piece in artifact.files)
    assert (artifact.size, artifact.size, "downloading org/plain") in seen
    assert [path for path in hub.fetched() if path == "model.safetensors"] == ["model.safetensors"]
    store.remember(fetched)
    assert store.find("hf://org/plain") is not None
    assert not list((store.root / "blobs").iterdir())  # no second copy


def test_the_library_reads_the_environment(hub: HubServer, tmp_path: Path) -> None:
    """A process of its own, configured as a user would."""
    repository, _ = hub.add("org/private", GGUFS)
    repository.token = "hf_secret"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_secret",
                    "MODELKIT_HOME": str(tmp_path / "modelkit"), "HF_HUB_DISABLE_XET": "1"}
    code = """if True:
        from pathlib import Path
        from modelkit.models import Reference, Store
        from modelkit.models.sources import source
        wanted = Reference.parse("hf.co/org/private:q4_k_m", Path("/"))
        def quiet(*_): pass
        artifact = source(wanted).resolve(wanted, Store(), quiet)
        print(source(wanted).fetch(artifact, Store(), quiet).place)
    """
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    place = Path(done.stdout.strip())
    assert place.is_relative_to(tmp_path / "home" / "hub")
    assert [path.name for path in place.iterdir()] == ["tiny-Q4_K_M.gguf"]


def test_it_is_pulled_as_any_model(hub: HubServer, store: Store) -> None:
    model = gguf([pair("general.architecture", "string", "llama")])
    hub.add("org/tiny", {"tiny-Q4_K_M.gguf": model, "mmproj-F16.gguf": b"GGUF"})
    weights = models.acquire("hf.co/org/tiny", store=store)
    assert (weights.form, weights.digest, Path(weights.path).read_bytes()) == ("gguf", sha256(model), model)
    asked = len(hub.seen)
    assert models.acquire(weights.reference, store=store, offline=True).path == weights.path
    assert len(hub.seen) == asked


def test_a_branch_that_moves(hub: HubServer, store: Store) -> None:
    repository, first = hub.add("org/tiny", GGUFS)
    before = resolve("hf.co/org/tiny", store)
    repository.commit({**GGUFS, "tiny-Q4_K_M.gguf": b"GGUF other"})
    after = resolve("hf.co/org/tiny", store)
    assert before.resolved == f"hf://org/tiny:Q4_K_M@{first}" != after.resolved
    again = resolve(before.resolved, store)
    assert (again.files, again.resolved) == (before.files, before.resolved)
    assert huggingface.fetch(again, store, quiet).files == before.files


def test_altered_bytes_of_a_small_file(hub: HubServer, store: Store) -> None:
    repository, _ = hub.add("org/plain", PLAIN)
    repository.altered["config.json"] = PLAIN["config.json"][:-1] + b"!"
    with pytest.raises(Failure, match=r"config\.json of .*org/plain.* is not what the Hub promises") as failed:
        huggingface.fetch(resolve("hf.co/org/plain", store), store, quiet)
    assert failed.value.code == "digest-mismatch"
    repository.altered.clear()
    path = Path(failed.value.data["path"])
    assert str(path.resolve()) in (failed.value.hint or "")
    path.resolve().unlink()
    path.unlink()
    huggingface.fetch(resolve("hf.co/org/plain", store), store, quiet)


def test_altered_bytes_of_weights_leave_nothing(hub: HubServer, store: Store, tmp_path: Path) -> None:
    repository, _ = hub.add("org/plain", PLAIN)
    repository.altered["model.safetensors"] = PLAIN["model.safetensors"][:-1] + b"!"
    artifact = resolve("hf.co/org/plain", store)
    with pytest.raises(Failure) as failed:
        huggingface.fetch(artifact, store, quiet)
    assert failed.value.code == "digest-mismatch" and "model.safetensors" in failed.value.message
    assert not (Path(artifact.place or "") / "model.safetensors").exists()
    repository.altered.clear()
    assert huggingface.fetch(artifact, store, quiet) == artifact


def test_a_file_of_the_cache_that_was_changed(hub: HubServer, store: Store) -> None:
    hub.add("org/tiny", GGUFS)
    artifact = huggingface.fetch(resolve("hf.co/org/tiny", store), store, quiet)
    store.remember(artifact)
    blob = (Path(artifact.place or "") / "tiny-Q4_K_M.gguf").resolve()
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert store.find("hf://org/tiny") is None
    with pytest.raises(Failure, match=r"tiny-Q4_K_M\.gguf of .* is not what the Hub promises"):
        huggingface.fetch(artifact, store, quiet)


def test_a_cut_is_continued(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_PAUSE_S", 0.001)
    repository, _ = hub.add("org/tiny", GGUFS)
    repository.cut["tiny-Q4_K_M.gguf"] = 200_000
    huggingface.fetch(resolve("hf.co/org/tiny", store), store, quiet)
    asked = [headers.get("Range") for method, path, headers in hub.seen if path.endswith("Q4_K_M.gguf")]
    assert any(one and not one.startswith("bytes=0-") for one in asked)


def test_other_tools_find_what_was_fetched(hub: HubServer, store: Store, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download, scan_cache_dir

    _, commit = hub.add("org/tiny", GGUFS)
    artifact = huggingface.fetch(resolve("hf.co/org/tiny", store), store, quiet)
    asked = len(hub.seen)
    path = hf_hub_download("org/tiny", "tiny-Q4_K_M.gguf", revision=commit, cache_dir=tmp_path / "cache")
    assert Path(path).parent == Path(artifact.place or "") and len(hub.seen) == asked
    (repo,) = scan_cache_dir(tmp_path / "cache").repos
    assert repo.size_on_disk == len(GGUFS["tiny-Q4_K_M.gguf"]) and repo.nb_files == 1
    assert not list((store.root / "blobs").iterdir())  # there is no second copy


def test_a_file_of_another_commit_is_not_fetched_again(hub: HubServer, store: Store) -> None:
    repository, _ = hub.add("org/tiny", GGUFS)
    huggingface.fetch(resolve("hf.co/org/tiny", store), store, quiet)
    repository.commit({**GGUFS, "README.md": b"new"})
    asked = hub.fetched()
    later = huggingface.fetch(resolve("hf.co/org/tiny", store), store, quiet)
    assert hub.fetched() == asked
    assert (Path(later.place or "") / "tiny-Q4_K_M.gguf").read_bytes() == GGUFS["tiny-Q4_K_M.gguf"]


def test_gates_and_secrets(hub: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, _ = hub.add("org/secret", GGUFS)
    repository.token = "hf_x"
    with pytest.raises(Failure, match="or it is private") as failed:
        resolve("hf.co/org/secret", store)
    assert (failed.value.code, "HF_TOKEN" in (failed.value.hint or "")) == ("not-found", True)
    repository.gated = True
    with pytest.raises(Failure, match="is gated") as failed:
        resolve("hf.co/org/secret", store)
    assert (failed.value.code, "hf auth login" in (failed.value.hint or "")) == ("unauthorized", True)
    (tmp_path / "token").write_text("hf_x")  # what `hf auth login` writes
    resolve("hf.co/org/secret", store)
    (tmp_path / "token").unlink()
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    resolve("hf.co/org/secret", store)


@pytest.mark.parametrize(("text", "code", "message"), [
    ("hf.co/org/nothing", "not-found", "there is no model repository org/nothing"),
    ("hf.co/org/tiny@dev", "not-found", "no branch, tag or commit `dev`"),
    ("hf.co/org/tiny:Q5_K_M", "quantization-missing", "has no `Q5_K_M`"),
    (f"hf.co/org/tiny@{'0' * 40}", "not-found", "no branch, tag or commit"),
])
def test_what_is_not_there(text: str, code: str, message: str, hub: HubServer, store: Store) -> None:
    hub.add("org/tiny", GGUFS)
    with pytest.raises(Failure, match=message) as failed:
        resolve(text, store)
    assert failed.value.code == code


def test_no_network_and_no_hub(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    negative = {"id": "a/b", "sha": "0" * 40, "siblings": [{"rfilename": "a.gguf", "size": -1}]}
    for answer in (b"<html>", b"[]", b'{"id": "a/b"}', b'{"id": "a/b", "siblings": [{"x": 1}]}',
                   json.dumps(negative).encode()):
        hub.add("org/tiny", GGUFS)
        hub.answer = answer
        with pytest.raises(Failure) as failed:
            resolve("hf.co/org/tiny", store)
        assert failed.value.code == "server-broken"
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(transport, "_PAUSE_S", 0.001)
    with pytest.raises(Failure, match="connection refused") as failed:
        resolve("hf.co/org/tiny", store)
    assert failed.value.code == "network"


@pytest.mark.parametrize("where", ["/api/", "config.json", "model.safetensors"])
def test_what_never_ends(where: str, hub: HubServer, store: Store) -> None:
    hub.add("org/plain", PLAIN)
    hub.endless = where
    with pytest.raises(Failure) as failed:
        huggingface.fetch(resolve("hf.co/org/plain", store), store, quiet)
    assert failed.value.code in ("size-mismatch", "digest-mismatch")


def test_offline_with_what_is_in_the_cache(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/plain", PLAIN)
    hub.add("org/other", PLAIN)
    online = huggingface.fetch(resolve("hf.co/org/plain", store), store, quiet)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.seen)
    assert resolve(online.resolved, store).files == online.files
    assert huggingface.fetch(online, store, quiet) == online
    with pytest.raises(Failure, match="HF_HUB_OFFLINE") as failed:
        resolve("hf.co/org/other", store)
    assert (failed.value.code, len(hub.seen)) == ("offline", asked)


def test_headers_without_the_file(hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    repository, _ = hub.add("org/tiny", GGUFS)
    repository.token = "hf_x"
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    artifact = resolve("hf.co/org/tiny:Q8_0", store)
    with huggingface.remote_file(artifact, artifact.files[0]) as file:
        assert (file.size, file.read_at(0, 5), file.read_at(899_999, 100)) == (900_004, b"GGUF8", b"88888")
    assert not Path(artifact.place or "").exists()


def test_without_the_library(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Failure, match="huggingface_hub is needed") as failed:
        resolve("hf.co/org/tiny", store)
    assert failed.value.hint == "pip install 'huggingface_hub>=1.0'"


def test_hashes_are_the_hubs(hub: HubServer, store: Store) -> None:
    hub.add("org/tiny", GGUFS)
    (piece,) = resolve("hf.co/org/tiny", store).files
    assert piece.digest == "sha256:" + hashlib.sha256(GGUFS["tiny-Q4_K_M.gguf"]).hexdigest()
    assert hub.fetched() == []
