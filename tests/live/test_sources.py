"""A real model from a hub, an OCI registry and Ollama's own store, served: each FROM does what it says."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelkit import models
from tests.live.cli import environment, free_port, modelkit
from tests.live.engines import BASE
from tests.unit.models.docker_registry import running
from tests.unit.models.hub import hub_server

pytestmark = [pytest.mark.live_llamacpp, pytest.mark.timeout(300)]

QUESTION = "What is the capital of France?"
REST = "NAME tiny\nSYSTEM You answer in one short sentence.\nPARAMETER temperature 0\nPARAMETER num_ctx 1024\n"


@pytest.fixture(scope="module")
def gguf() -> Path:
    return Path(models.acquire(BASE, Path.cwd()).path)


@pytest.fixture
def home(tmp_path: Path) -> str:
    """A home of its own: what another test pulled is not here."""
    return str(tmp_path / "home")


@pytest.fixture
def project(tmp_path: Path, home: str) -> Iterator[Path]:
    folder = tmp_path / "app"
    folder.mkdir()
    yield folder
    modelkit("down", str(folder), code=None, env=environment(MODELKIT_HOME=home))


def served(project: Path, base: str, env: dict[str, str]) -> dict[str, str]:
    """Run the dev stage on `base`, ask it, run it again under its lock; what the lock says of the model."""
    (project / "Modelfile").write_text(f"FROM {base}\n{REST}")
    port = str(free_port())
    modelkit("up", str(project), "-d", "--wait", "--port", port, env=env)
    assert "Paris" in modelkit("chat", "-f", str(project), QUESTION, env=env).stdout
    modelkit("up", str(project), "-d", "--wait", "--locked", "--port", port, env=env)
    modelkit("down", str(project), env=env)
    (artifact,) = tomllib.loads((project / "Modelfile.lock").read_text())["artifact"]
    return dict(artifact)


def test_from_a_hub(project: Path, gguf: Path, tmp_path: Path, home: str) -> None:
    with hub_server() as hub:
        _, commit = hub.add("org/tiny-GGUF", {"tiny-Q4_1.gguf": gguf.read_bytes(), "README.md": b"tiny"})
        env = environment(MODELKIT_HOME=home, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "hf"))
        locked = served(project, "hf.co/org/tiny-GGUF:q4_1", env)
        assert locked["resolved"] == f"hf://org/tiny-GGUF:Q4_1@{commit}" and locked["revision"] == commit
        blobs = list((tmp_path / "hf" / "hub").rglob("blobs/*"))
        assert [blob.stat().st_size for blob in blobs] == [gguf.stat().st_size]
        hub.add("org/tiny-GGUF", {"tiny-Q4_1.gguf": b"GGUF another", "README.md": b"tiny"})
        modelkit("lock", str(project), "--check", env=env)
        modelkit("rm", f"hf://org/tiny-GGUF:Q4_1@{commit}", env=env)


def test_from_an_oci_registry(project: Path, gguf: Path, tmp_path: Path, home: str) -> None:
    with running(tmp_path / "registry") as registry:
        env = environment(MODELKIT_HOME=home, DOCKER_CONFIG=str(tmp_path))
        place = f"oci://{registry.host}/team/tiny:1"
        (tmp_path / "m.gguf").symlink_to(gguf)
        pushed = json.loads(modelkit("push", str(tmp_path / "m.gguf"), place, "--json", env=env).stdout)
        assert served(project, place, env)["resolved"] == pushed["resolved"]
        modelkit("rm", place, env=env)


def test_from_the_ollama_on_this_machine(project: Path, gguf: Path, tmp_path: Path, home: str) -> None:
    """A store as Ollama keeps it; its system prompt and parameters count."""
    root = tmp_path / "ollama"
    layers = []

    def layer(kind: str, data: bytes | Path) -> None:
        content = data if isinstance(data, bytes) else data.read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        (root / "blobs").mkdir(parents=True, exist_ok=True)
        (root / "blobs" / digest.replace(":", "-")).write_bytes(content)
        layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": len(content)})

    layer("model", gguf)
    layer("system", b"You answer in one short sentence.")
    layer("params", b'{"temperature": 0, "stop": ["<|im_end|>"]}')
    config = b"{}"
    layer("config", config)
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                           "digest": layers[-1]["digest"], "size": len(config)}, "layers": layers[:-1]}
    place = root / "manifests" / "registry.ollama.ai" / "library" / "tiny"
    place.mkdir(parents=True)
    (place / "latest").write_text(json.dumps(manifest))
    env = environment(MODELKIT_HOME=home, OLLAMA_MODELS=str(root))
    (project / "Modelfile").write_text("FROM tiny\nNAME tiny\nPARAMETER num_ctx 1024\n")
    modelkit("up", str(project), "-d", "--wait", "--port", str(free_port()), env=env)
    assert "Paris" in modelkit("chat", "-f", str(project), QUESTION, env=env).stdout
    plan = json.loads(modelkit("plan", str(project), "--json", env=env).stdout)
    inherited = {one["name"]: one["value"] for one in plan["settings"] if one["origin"]["kind"] == "model"}
    assert inherited == {"system": "You answer in one short sentence.", "temperature": 0, "stop": ["<|im_end|>"]}
    modelkit("rm", "ollama://tiny:latest", env=env)
