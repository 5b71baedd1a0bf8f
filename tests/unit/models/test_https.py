"""GGUF files at an address: a real TLS server on loopback whose certificate the environment names."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from modelkit import models
from modelkit.failure import Failure
from modelkit.models.reference import Reference
from modelkit.models.sources import https, source, transport
from modelkit.models.store import Store, quiet
from tests.unit.models.gguf_files import gguf, pair
from tests.unit.models.servers import File, Server, serving, sha256

MODEL = gguf([pair("general.architecture", "string", "llama")])
DIGEST = sha256(MODEL)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transport, "_PAUSE_S", 0.001)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with serving(tls=context) as running:
        running.files["/a/model.gguf"] = File(MODEL)
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def reference(text: str) -> Reference:
    return Reference.parse(text, Path("/"))


def test_an_address_without_a_digest(server: Server, store: Store) -> None:
    wanted = reference(f"{server.url}/a/model.gguf?download=true")
    artifact = source(wanted).resolve(wanted, store, quiet)
    assert (artifact.resolved, artifact.form) == (f"{wanted.text}#sha256={DIGEST[7:]}", "gguf")
    assert [(piece.path, piece.digest, piece.size) for piece in artifact.files] == [("model.gguf", DIGEST, len(MODEL))]
    assert store.blob(DIGEST).exists()  # only so is its digest known
    asked = len(server.seen)
    assert https.fetch(artifact, store, quiet) == artifact
    assert https.resolve(reference(artifact.resolved), store, quiet).files == artifact.files
    assert len(server.seen) == asked


def test_a_pinned_address(server: Server, store: Store) -> None:
    wanted = reference(f"{server.url}/a/model.gguf#sha256={DIGEST[7:].upper()}")
    artifact = https.resolve(wanted, store, quiet)
    assert (artifact.resolved, wanted.pinned) == (wanted.text, True)
    assert not store.blob(DIGEST).exists()
    https.fetch(artifact, store, quiet)
    assert store.blob(DIGEST).read_bytes() == MODEL


def test_it_is_pulled_as_any_model(server: Server, store: Store) -> None:
    weights = models.acquire(f"{server.url}/a/model.gguf", store=store)
    assert (weights.digest, weights.form, Path(weights.path)) == (DIGEST, "gguf", store.blob(DIGEST))
    server.files.clear()
    assert models.acquire(weights.reference, store=store).path == weights.path


def test_a_pinned_file_that_was_replaced(server: Server, store: Store) -> None:
    wanted = reference(f"{server.url}/a/model.gguf#sha256={'0' * 64}")
    with pytest.raises(Failure, match="is not what it should be") as failed:
        models.pull(wanted, store=store)
    assert failed.value.code == "digest-mismatch"
    assert store.artifacts() == []
    assert not (store.root / "blobs").exists()


@pytest.mark.parametrize(("file", "code", "message"), [
    (File(b"<!DOCTYPE html>"), "not-a-gguf", "is a web page"), (File(b"PK\3\4" + MODEL), "not-a-gguf", "not a GGUF"),
    (File(b""), "not-a-gguf", "not a GGUF"), (File(token="x"), "unauthorized", "401"),
    (File(redirect="http://127.0.0.1:9/model.gguf"), "insecure", "leads away from https"),
])
def test_what_is_no_model(file: File, code: str, message: str, server: Server, store: Store) -> None:
    server.files["/x.gguf"] = file
    for pin in ("", f"#sha256={'0' * 64}"):
        with pytest.raises(Failure, match=message) as failed:
            https.resolve(reference(f"{server.url}/x.gguf{pin}"), store, quiet)
        assert failed.value.code == code
    assert not (store.root / "blobs").exists()


def test_a_server_that_nobody_vouches_for(server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Failure, match=r"127\.0\.0\.1 can't be trusted") as failed:
        https.resolve(reference(f"{server.url}/a/model.gguf"), store, quiet)
    assert "SSL_CERT_FILE" in (failed.value.hint or "")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(Failure, match=r"/nowhere\.pem can't be read"):
        https.resolve(reference(f"{server.url}/a/model.gguf"), store, quiet)


@pytest.mark.parametrize(("path", "name"), [
    ("/a/b.gguf", "b.gguf"), ("/a/b", "b.gguf"), ("/a/%2e%2e", "model.gguf"), ("/a/b%20c.gguf", "b c.gguf"),
    ("/a/..%2f..%2fetc", "etc.gguf"), ("/a/c%0ad", "model.gguf"), ("/a/", "a.gguf"),
])
def test_what_the_file_is_called(path: str, name: str, store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(MODEL)
    store.add(tmp_path / "file", DIGEST)
    artifact = https.resolve(reference(f"https://models.invalid{path}#sha256={DIGEST[7:]}"), store, quiet)
    assert artifact.files[0].path == name  # and nobody was asked: the file is here
