"""`modelkit build -o`: whole or not there, the same bytes, nothing without a digest, nothing of others lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.models.sources.manifests import OCI_MANIFEST, digest_of
from modelkit.models.sources.registry import Registry
from modelkit.models.sources.upload import send_bytes
from tests.unit.cli.conftest import Run, write
from tests.unit.models import docker_registry
from tests.unit.models.hub import ask_only, hub_server
from tests.unit.models.small_model import small_model

DIGEST = "sha256:" + "ab" * 32
PINNED = f"registry.example/ai/vllm@{DIGEST}"

FILE = """NAME bot
FROM ./model.gguf
SYSTEM You are terse.
STAGE prod {{
  PLATFORM {platform}
  SERVE image {image}
  {more}
}}
"""


def modelfile(platform: str = "compose", image: str = PINNED, more: str = "") -> None:
    if not Path("model.gguf").exists():
        small_model(Path("model.gguf"))
    write(FILE.format(platform=platform, image=image, more=more))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def push_image(host: str, name: str, tag: str, word: str) -> str:
    """An image of one small layer, other bytes for every word; its digest."""
    registry = Registry(host, name, writing=True)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": [word]}}).encode()
    send_bytes(registry, config, digest_of(config))
    body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(config),
                       "size": len(config)}}
    return registry.write_manifest(tag, json.dumps(body).encode())


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[docker_registry.DockerRegistry]:
    with docker_registry.running(tmp_path / "registry") as found:
        yield found


def test_the_bundle_is_whole_and_says_what_is_in_it(run: Run) -> None:
    modelfile(more="SERVE api_key env:BOT_KEY")
    code, out, err = run("build", "-s", "prod", "-o", "made")
    assert code == 0, err
    said = json.loads(Path("made/bundle.json").read_text())
    assert (said["platform"], said["stage"], said["model"]) == ("compose", "prod", "bot")
    assert said["image"] == PINNED and said["engine"]["name"] == "vllm"
    assert said["lock"].startswith("sha256:")
    there = files_of(Path("made"))
    assert {path: one["sha256"] for path, one in said["files"].items()} == {
        path: digest_of(content).removeprefix("sha256:") for path, content in there.items() if path != "bundle.json"}
    assert "made/compose.yaml" in out.splitlines()
    assert "BOT_KEY" in err  # whoever applies it must set that


def test_twice_gives_the_same_bytes_and_an_older_bundle_is_replaced(run: Run) -> None:
    modelfile()
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    first = files_of(Path("made"))
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    assert files_of(Path("made")) == first
    modelfile("quadlet")
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    assert "compose.yaml" not in files_of(Path("made"))
    assert [p.name for p in Path().glob(".made*")] == []


def test_a_machine_elsewhere_with_another_home_writes_the_same(run: Run, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """And what other machines fetch is not fetched here: headers say enough."""
    with hub_server() as server:
        ask_only(server, tmp_path / "hub", monkeypatch)
        revision = server.add("acme/tiny", {p.name: p.read_bytes() for p in folder(run).iterdir()})[1]
        write(f"NAME bot\nFROM hf.co/acme/tiny\nSTAGE prod {{\n  PLATFORM kubernetes\n  SERVE image {PINNED}\n}}\n")
        code, _, err = run("build", "-s", "prod", "-o", "made")
        assert code == 0, err
        asked = [headers for method, path, headers in server.seen if (method, path[-12:]) == ("GET", ".safetensors")]
        assert asked and all("Range" in headers for headers in asked), "whole files were fetched"
        first = files_of(Path("made"))
        other = tmp_path / "elsewhere"
        other.mkdir()
        for name in ("Modelfile", "Modelfile.lock"):
            shutil.copy(name, other / name)
        monkeypatch.chdir(other)
        monkeypatch.setenv("MODELKIT_HOME", str(other / "home"))
        assert run("build", "-s", "prod", "-o", "made", "--locked")[0] == 0
        assert files_of(other / "made") == first
        assert revision.encode() in b"".join(first.values())


def folder(run: Run) -> Path:
    """A small model as safetensors."""
    small_model(Path("model.gguf"))
    assert run("convert", "./model.gguf", "--to", "safetensors", "-o", "folder")[0] == 0
    return Path("folder")


@pytest.mark.parametrize(("prepare", "code"), [
    (lambda: Path("made/notes.txt").write_text("mine"), "bundle-folder"),
    (lambda: Path("made/bundle.json").write_text("{}"), "bundle-folder"),
], ids=["files", "another-index"])
def test_a_folder_with_something_else_in_it_is_refused(run: Run, prepare: Any, code: str) -> None:
    modelfile()
    Path("made").mkdir()
    prepare()
    before = files_of(Path("made"))
    status, _, err = run("build", "-s", "prod", "-o", "made")
    assert status == 2 and f"error[{code}]" in err
    assert files_of(Path("made")) == before


@pytest.mark.parametrize("name", ["compose.yaml", ".env", "etc/mine.txt"])
def test_what_somebody_changed_in_a_bundle_is_not_lost(run: Run, name: str) -> None:
    modelfile()
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    Path("made", name).write_text("MINE=1\n")
    code, _, err = run("build", "-s", "prod", "-o", "made")
    assert code == 2 and "error[bundle-changed]" in err and name in err
    assert Path("made", name).read_text() == "MINE=1\n"


def test_a_run_that_was_killed_leaves_nothing_in_the_way(run: Run) -> None:
    modelfile()
    for name in (".made.new", ".made.old"):
        Path(name, "etc").mkdir(parents=True)
        Path(name, "half").write_text("half")
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    assert [p.name for p in Path().glob(".made*")] == []


@pytest.mark.parametrize("where", [".", "model.gguf", "link"])
def test_what_is_no_folder_of_its_own_is_refused(run: Run, where: str) -> None:
    modelfile()
    Path("there").mkdir()
    Path("link").symlink_to("there")
    code, _, err = run("build", "-s", "prod", "-o", where)
    assert code == 2 and "error[bundle-folder]" in err


def test_a_tag_becomes_a_digest_that_the_lock_keeps(run: Run, registry: docker_registry.DockerRegistry) -> None:
    first = push_image(registry.host, "ai/vllm", "v0.32.0", "first")
    modelfile(image=f"{registry.host}/ai/vllm:v0.32.0")
    assert run("build", "-s", "prod", "-o", "made")[0] == 0
    assert json.loads(Path("made/bundle.json").read_text())["image"] == f"{registry.host}/ai/vllm@{first}"
    assert f'"{registry.host}/ai/vllm:v0.32.0@{first}"' in Path("Modelfile.lock").read_text()

    second = push_image(registry.host, "ai/vllm", "v0.32.0", "second")
    before = Path("Modelfile.lock").read_bytes()
    assert run("lock")[0] == 0 and Path("Modelfile.lock").read_bytes() == before
    assert run("lock", "--check")[0] == 0
    assert run("lock", "--upgrade")[0] == 0
    assert second in Path("Modelfile.lock").read_text() and first not in Path("Modelfile.lock").read_text()


def test_offline_a_locked_digest_is_enough(run: Run, registry: docker_registry.DockerRegistry) -> None:
    digest = push_image(registry.host, "ai/vllm", "v0.32.0", "first")
    modelfile(image=f"{registry.host}/ai/vllm:v0.32.0")
    assert run("lock")[0] == 0
    registry.process.kill()
    registry.process.wait()
    for mode in ((), ("--locked",), ("--frozen",)):
        code, _, err = run("build", "-s", "prod", "-o", "made", *mode)
        assert code == 0, err
    assert digest in Path("made/compose.yaml").read_text()
    code, _, err = run("lock", "--upgrade")
    assert code == 2 and registry.host in err


def test_a_lock_that_may_not_change_gets_no_new_image(run: Run, registry: docker_registry.DockerRegistry) -> None:
    push_image(registry.host, "ai/vllm", "v0.32.0", "first")
    modelfile(image=f"{registry.host}/ai/vllm@{DIGEST}")
    assert run("lock")[0] == 0
    modelfile(image=f"{registry.host}/ai/vllm:v0.32.0")
    for mode in ("--locked", "--frozen"):
        code, _, err = run("build", "-s", "prod", "-o", "made", mode)
        assert code == 1 and "error[lock-stale]" in err
    assert not Path("made").exists()


def test_an_image_that_is_not_there_is_one_error(run: Run, registry: docker_registry.DockerRegistry) -> None:
    modelfile(image=f"{registry.host}/ai/nothing:v0.32.0")
    code, _, err = run("build", "-s", "prod", "-o", "made")
    assert code == 2 and "error[image-missing]" in err
    assert not Path("made").exists()


def test_several_copies_lock_the_image_in_front_of_them(run: Run, monkeypatch: pytest.MonkeyPatch,
                                                        registry: docker_registry.DockerRegistry) -> None:
    digest = push_image(registry.host, "envoy", "v1", "envoy")
    monkeypatch.setattr("modelkit.platforms.machine.ENVOY", f"{registry.host}/envoy:v1")
    modelfile(more="SERVE replicas 2")
    code, _, err = run("build", "-s", "prod", "-o", "made")
    assert code == 0, err
    assert f"{registry.host}/envoy@{digest}" in Path("made/compose.yaml").read_text()
    assert f"{registry.host}/envoy:v1@{digest}" in Path("Modelfile.lock").read_text()
    assert run("build", "-s", "prod", "-o", "made", "--locked")[0] == 0


def test_a_model_of_this_machine_alone_is_refused_for_others(run: Run) -> None:
    folder(run)
    for reference, rule in (("./model.gguf", "weights-not-made-there"), ("./folder", "weights-not-reachable")):
        write(FILE.replace("./model.gguf", reference).format(platform="kubernetes", image=PINNED, more=""))
        code, _, err = run("build", "-s", "prod", "-o", "made")
        assert code == 2 and f"error[{rule}]" in err and "modelkit push" in err


def test_platform_process_writes_its_launch_down(run: Run) -> None:
    modelfile()
    code, _, err = run("build", "-s", "dev", "-o", "made")
    assert code == 0, err
    assert json.loads(Path("made/launch.json").read_text())["argv"]
    assert Path("made/run/profile.json").is_file()
