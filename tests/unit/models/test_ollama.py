"""Ollama's models: from its store on this machine, and from a registry that speaks as its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.models import links
from modelkit.models.acquire import acquire, pull
from modelkit.models.reference import Reference
from modelkit.models.sources import ollama
from modelkit.models.store import Store
from tests.unit.models.gguf_files import TensorOf, gguf, pair
from tests.unit.models.registries import Registry, serving
from tests.unit.models.servers import sha256

GGUF = gguf([pair("general.architecture", "string", "llama")], [TensorOf("t", (256,), 0, bytes(1024))])
OTHERS = [gguf([pair("general.architecture", "string", name)]) for name in ("clip", "llama")]
IMAGE = "application/vnd.ollama.image."
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LAYERS = [(IMAGE + "model", GGUF), (IMAGE + "template", b"{{ .Prompt }}"), (IMAGE + "license", b"MIT"),
          (IMAGE + "license", b"Apache"), (IMAGE + "params", b'{"stop": ["x"]}'), (IMAGE + "system", b"Be kind."),
          (IMAGE + "messages", b"[]"), (IMAGE + "projector", OTHERS[0]), (IMAGE + "adapter", OTHERS[1])]
FILES = {"model.gguf": "weights", "template": "template", "license-1": "license", "license-2": "license",
         "params.json": "params", "system": "system", "messages.json": "messages", "projector.gguf": "projector",
         "adapter.gguf": "adapter"}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setattr("modelkit.models.sources.transport._PAUSE_S", 0.001)
    with serving() as one:
        yield one


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def named(registry: Registry, rest: str = "ns/name:tag") -> Reference:
    return Reference.parse(f"ollama://{registry.host}/{rest}", Path("/"))


def publish(registry: Registry, *layers: tuple[str, bytes], name: str = "ns/name:tag") -> str:
    return registry.publish(name, *layers, mediaType=DOCKER)


def kept(root: Path, reference: Reference, *layers: tuple[str, bytes]) -> str:
    """Have a model in a store of Ollama's; the manifest's digest."""
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    for _, data in (*layers, ("", b"{}")):
        (root / "blobs" / sha256(data).replace(":", "-")).write_bytes(data)
    said = {"schemaVersion": 2, "mediaType": DOCKER, "config": {
        "mediaType": "application/vnd.docker.container.image.v1+json", "digest": sha256(b"{}"), "size": 2},
        "layers": [{"mediaType": kind, "digest": sha256(data), "size": len(data)} for kind, data in layers]}
    file = root / "manifests" / reference.host / reference.name / reference.tag
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(said))
    return sha256(file.read_bytes())


def blob(root: Path, data: bytes) -> Path:
    return root / "blobs" / sha256(data).replace(":", "-")


def test_from_a_registry(registry: Registry, store: Store) -> None:
    digest = publish(registry, *LAYERS)
    found = pull(named(registry), store=store)
    assert {piece.path: piece.role for piece in found.files} == FILES
    assert found.resolved == f"ollama://{registry.host}/ns/name:tag@{digest}" and found.revision == digest
    assert {store.path(found, piece).read_bytes() for piece in found.files} == {data for _, data in LAYERS}
    weights = acquire(found.resolved, store=store)
    assert weights.path == str(store.blob(sha256(GGUF))) and weights.digest == sha256(GGUF)


def test_a_pin_that_the_registry_has_moved_away_from(registry: Registry, store: Store) -> None:
    old = publish(registry, *LAYERS[:2])
    new = publish(registry, *LAYERS[:3])
    pinned = named(registry, f"ns/name:tag@{old}")
    assert len(pull(pinned, store=store).files) == 2  # this registry still has it under its digest
    store.forget(pinned.text)
    registry.manifests.pop(f"ns/name@{old}")  # Ollama's own does not
    with pytest.raises(Failure) as failed:
        pull(pinned, store=store)
    assert failed.value.code == "digest-mismatch"
    assert failed.value.data == {"expected": old, "found": new}


@pytest.mark.parametrize(("layers", "code", "words"), [
    ([], "model-missing", "cloud"), (LAYERS[1:4], "model-missing", "cloud"),
    ([(IMAGE + "tensor", b"t"), (IMAGE + "json", b"{}")], "model-unsupported", "MLX"),
])
def test_what_can_t_run_here(registry: Registry, store: Store, layers: list[tuple[str, bytes]], code: str,
                             words: str) -> None:
    publish(registry, *layers)
    with pytest.raises(Failure) as failed:
        pull(named(registry), store=store)
    assert failed.value.code == code and words in failed.value.message


def test_no_such_model(registry: Registry, store: Store) -> None:
    with pytest.raises(Failure) as failed:
        pull(named(registry), store=store)
    assert failed.value.code == "model-missing"


def test_what_ollama_has_is_not_fetched(registry: Registry, store: Store, tmp_path: Path) -> None:
    digest = kept(tmp_path / "ollama", named(registry), *LAYERS)
    found = pull(named(registry), store=store)
    assert not registry.seen
    assert {piece.path: piece.role for piece in found.files} == FILES and found.revision == digest
    assert store.blob(sha256(GGUF)).samefile(blob(tmp_path / "ollama", GGUF))
    assert not store.blob(sha256(GGUF)).is_symlink()
    store.forget(found.reference)
    assert pull(named(registry, f"ns/name:tag@{digest}"), store=store).files == found.files
    assert not registry.seen


def test_the_usual_places(registry: Registry, store: Store, home: Path, tmp_path: Path,
                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLLAMA_MODELS")
    service = tmp_path / "service"
    monkeypatch.setattr(ollama, "_SERVICES", (str(service),))
    kept(service, named(registry), *LAYERS[:1])
    assert len(pull(named(registry), store=store).files) == 1
    kept(home / ".ollama/models", named(registry, "ns/name:other"), *LAYERS[:2])
    assert len(pull(named(registry, "ns/name:other"), store=store).files) == 2
    assert not registry.seen


def test_where_links_are_not_possible_it_is_used_in_place(registry: Registry, store: Store, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def not_allowed(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", not_allowed)
    monkeypatch.setattr(links, "_reflink", lambda *_: False)
    kept(tmp_path / "ollama", named(registry), *LAYERS)
    publish(registry, *LAYERS)
    pull(named(registry), store=store)
    here = store.blob(sha256(GGUF))
    assert here.readlink() == blob(tmp_path / "ollama", GGUF)
    assert Path(acquire(named(registry), store=store).path).read_bytes() == GGUF
    blob(tmp_path / "ollama", GGUF).unlink()  # as `ollama rm` does
    assert store.find(named(registry).text) is None
    assert Path(acquire(named(registry), store=store).path).read_bytes() == GGUF
    assert not here.is_symlink()


@pytest.mark.parametrize("damage", ["no blob", "short blob", "other blob", "a pipe", "no json", "empty", "a folder"])
def test_a_broken_store_of_ollama_s(registry: Registry, store: Store, tmp_path: Path, damage: str) -> None:
    root, reference = tmp_path / "ollama", named(registry)
    kept(root, reference, *LAYERS)
    digest = publish(registry, *LAYERS)
    weights, manifest = blob(root, GGUF), root / "manifests" / reference.host / reference.name / reference.tag
    match damage:
        case "no blob":
            weights.unlink()
        case "short blob":
            weights.write_bytes(GGUF[:-1])
        case "other blob":
            weights.write_bytes(GGUF[::-1])
        case "no json":
            manifest.write_text("{")
        case "empty":
            manifest.write_text("")
        case "a folder":
            manifest.unlink()
            manifest.mkdir()
        case "a pipe":
            weights.unlink()
            os.mkfifo(weights)
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    found = pull(reference, store=store)
    assert {store.path(found, piece).read_bytes() for piece in found.files} == {data for _, data in LAYERS}
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before
    fetched = {path.rpartition("/")[2] for _, path, _ in registry.seen if "/blobs/" in path}
    broken_blob = damage in ("no blob", "short blob", "other blob", "a pipe")
    assert fetched == ({sha256(GGUF)} if broken_blob else set())  # what is whole is taken from there
    assert damage == "other blob" or found.revision == digest


def test_a_model_made_here_and_then_damaged(registry: Registry, store: Store, tmp_path: Path) -> None:
    kept(tmp_path / "ollama", named(registry), *LAYERS[:1])
    blob(tmp_path / "ollama", GGUF).write_bytes(GGUF[::-1])
    with pytest.raises(Failure) as failed:
        pull(named(registry), store=store)
    assert failed.value.code == "model-missing" and "model.gguf" in failed.value.message
