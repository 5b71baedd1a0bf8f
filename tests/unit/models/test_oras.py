"""Another client of OCI registries, oras-py, reads what we write, and we read what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from modelkit.models.acquire import pull
from modelkit.models.reference import Reference
from modelkit.models.sources import oci
from modelkit.models.store import Store
from tests.unit.models.docker_registry import DockerRegistry, running
from tests.unit.models.test_oci import CONFIG, GGUF, held


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRegistry]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with running(tmp_path / "registry") as one:
        yield one


def test_there_and_back(registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = import_module("oras.client").OrasClient(hostname=registry.host, insecure=True)
    store = Store(tmp_path / "models")
    there = Reference.parse(f"oci://{registry.host}/ns/ours:t", Path("/"))
    oci.push(held(store, model_gguf=GGUF, deep__config_json=CONFIG), there, store)
    folder = tmp_path / "pulled"
    client.pull(target=f"{registry.host}/ns/ours:t", outdir=str(folder))
    assert (folder / "model.gguf").read_bytes() == GGUF
    assert (folder / "deep/config.json").read_bytes() == CONFIG
    monkeypatch.chdir(folder)
    client.push(target=f"{registry.host}/ns/theirs:t", files=["model.gguf", "deep"], disable_path_validation=True)
    back = pull(Reference.parse(f"oci://{registry.host}/ns/theirs:t", Path("/")), store=Store(tmp_path / "back"))
    sizes = {piece.path: piece.size for piece in back.files}
    assert sizes == {"model.gguf": len(GGUF), "deep/config.json": len(CONFIG)}
