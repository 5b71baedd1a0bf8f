"""Adapters that come from other places, and stages that run on other machines: a real registry, a hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run, write
from tests.unit.models.docker_registry import DockerRegistry, running
from tests.unit.models.hub import HubServer, ask_only, hub_server
from tests.unit.models.small_model import small_model
from tests.unit.models.test_adapters import QUERIES, peft

FILE = """NAME bot
FROM {base}
ADAPTER {adapter} AS bot-kind
STAGE prod {{
  ENGINE vllm
  PLATFORM {platform}
}}
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRegistry]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    with running(tmp_path / "registry") as one:
        yield one


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server() as server:
        ask_only(server, tmp_path, monkeypatch)
        yield server


@pytest.fixture
def places(run: Run, registry: DockerRegistry) -> tuple[str, str]:
    """A base of safetensors and an adapter for it in the registry, and nowhere else."""
    small_model(Path("made.gguf"))
    assert run("convert", "./made.gguf", "--to", "safetensors", "-o", "folder")[0] == 0
    peft(Path("tone"), QUERIES)
    base, adapter = (f"oci://{registry.host}/team/{name}:1" for name in ("bot", "tone"))
    for folder, place in (("./folder", base), ("./tone", adapter)):
        code, _, err = run("push", folder, place)
        assert code == 0, err
        shutil.rmtree(folder)
    return base, adapter


def planned(run: Run) -> dict[str, Any]:
    code, out, err = run("plan", "-s", "prod", "--json")
    assert code == 0, err
    said: dict[str, Any] = json.loads(out)
    return said


def test_an_adapter_of_a_registry_is_pulled_shown_and_mounted_elsewhere(run: Run, places: tuple[str, str]) -> None:
    base, adapter = places
    code, out, err = run("pull", adapter, "--json")
    (pulled,) = json.loads(out)
    assert code == 0 and pulled["form"] == "adapter" and pulled["resolved"].startswith(f"{adapter}@sha256:"), err
    assert (Path(pulled["path"]) / "adapter_model.safetensors").is_file()
    code, out, _ = run("show", adapter)
    assert code == 0 and "rank" in out and "acme/small" in out
    write(FILE.format(base=base, adapter=adapter, platform="kubernetes"))
    assert run("pull", "-s", "prod")[0] == 0
    (served,) = planned(run)["adapters"]
    assert (served["name"], served["rank"], served["source"]["kind"]) == ("bot-kind", 4, "oci")
    pinned = pulled["resolved"].removeprefix("oci://")
    assert served["source"]["name"] == pinned.replace(":1@", "@")
    assert run("lock", "--check")[0] == 0
    code, out, err = run("rm", adapter)
    assert code == 0 and run("verify")[0] == 0, err


@pytest.mark.parametrize(("platform", "kind"), [("compose", "folder"), ("quadlet", "folder")])
def test_a_container_of_this_machine_mounts_what_is_here(run: Run, places: tuple[str, str], platform: str,
                                                         kind: str) -> None:
    peft(Path("tone"), QUERIES)
    write(FILE.format(base=places[0], adapter="./tone", platform=platform))
    assert run("pull", "-s", "prod")[0] == 0
    (served,) = planned(run)["adapters"]
    assert served["source"] == {"kind": kind, "name": str(Path("tone").absolute()), "revision": ""}


def test_an_adapter_of_this_machine_is_refused_for_others_with_the_fix(run: Run, places: tuple[str, str]) -> None:
    peft(Path("tone"), QUERIES)
    write(FILE.format(base=places[0], adapter="./tone", platform="kubernetes"))
    code, _, err = run("plan", "-s", "prod")
    assert code == 2 and "weights-not-reachable" in err and "modelkit push ./tone oci://" in err


def test_an_adapter_of_the_hub_is_pinned_here_and_refused_where_it_could_not_be(
        run: Run, places: tuple[str, str], hub: HubServer) -> None:
    folder = peft(Path("tone"), QUERIES)
    hub.add("acme/tone-lora", {file.name: file.read_bytes() for file in folder.iterdir()})
    write(FILE.format(base=places[0], adapter="hf.co/acme/tone-lora", platform="process"))
    assert run("pull", "-s", "prod")[0] == 0
    (served,) = planned(run)["adapters"]
    assert served["rank"] == 4 and (Path(served["path"]) / "adapter_config.json").is_file()
    lock = Path("Modelfile.lock").read_text()
    assert "hf://acme/tone-lora@" in lock
    write(FILE.format(base=places[0], adapter="hf.co/acme/tone-lora", platform="kubernetes"))
    code, _, err = run("plan", "-s", "prod")
    assert code == 2 and "adapter-unpinned" in err and "modelkit push hf.co/acme/tone-lora oci://" in err
